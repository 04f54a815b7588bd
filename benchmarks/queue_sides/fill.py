# SPDX-License-Identifier: Apache-2.0
"""Puts many jobs, or runs, on a queue in one transaction, in a process of the installation that is measured.

``fill.py scale JOB_TYPE_ID COUNT``: one job is queued by the service that also answers the REST API; the
others are copies of its rows (job, execution, queue entry), made by one statement. ``fill.py airflow DAG_ID
COUNT``: runs of a DAG, made as Airflow's REST API makes each one.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timezone
from typing import Any

from scale_airflow.store.session import transaction


def main() -> None:
    """Fill, and print when it was committed and which ids are new."""
    kind, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with transaction() as session:
        made = _jobs(session, int(target), count) if kind == "scale" else _runs(session, target, count)
    print(json.dumps({"committed": time.time(), **made}))


def _jobs(session: Any, job_type_id: int, count: int) -> dict[str, Any]:
    from sqlalchemy import text

    from scale_airflow.services.queue import queue_job, user_event
    from scale_airflow.store.models import Job, JobExecution, JobType, QueueEntry

    job_type = session.get_one(JobType, job_type_id)
    data = {"version": "1.0", "input_data": [], "output_data": []}
    event = user_event(session, "benchmark")
    first = queue_job(session, job_type=job_type, data=data, event=event)
    jobs, executions, entries = (
        ", ".join(
            column.name
            for column in model.__table__.columns
            if column.name not in ("id", "job_id") and column.computed is None
        )
        for model in (Job, JobExecution, QueueEntry)
    )
    session.execute(
        text(
            f"""
            WITH made AS (
                INSERT INTO scale_job ({jobs})
                SELECT {jobs} FROM scale_job, generate_series(2, :count) WHERE id = :first RETURNING id
            ), executions AS (
                INSERT INTO scale_job_execution (job_id, {executions})
                SELECT made.id, {_of("x", executions)}
                FROM made, scale_job_execution x WHERE x.job_id = :first
            )
            INSERT INTO scale_queue_entry (job_id, {entries})
            SELECT made.id, {_of("x", entries)} FROM made, scale_queue_entry x WHERE x.job_id = :first
            """
        ),
        {"first": first.id, "count": count},
    )
    return {"first": first.id}


def _of(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.split(", "))


def _runs(session: Any, dag_id: str, count: int) -> dict[str, Any]:
    from airflow.models.dagbag import DBDagBag
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
    assert dag is not None
    prefix = f"fill-{time.time_ns()}"
    for number in range(count):
        dag.create_dagrun(
            run_id=f"{prefix}-{number}",
            run_after=datetime.now(timezone.utc),
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.REST_API,
            conf={},
            state=DagRunState.QUEUED,
            session=session,
        )
    return {"prefix": prefix}


if __name__ == "__main__":
    main()
