# SPDX-License-Identifier: Apache-2.0
"""Tasks that Airflow's executor has lost before their start are tried again: a job's, a Strike process's, a
clock's."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.engine import lost_tasks
from scale_airflow.engine.lost_tasks import LostTask
from scale_airflow.services import repairs
from scale_airflow.services.locks import latest_execution, try_lock_job
from scale_airflow.store.models import Job

log = logging.getLogger(__name__)

_TEXT = "Airflow's executor lost its task before it started, as when a worker process is killed."


def retry_lost_tasks(session: Session, limit: int) -> int:
    """Have the lost tasks tried again, in one transaction; what somebody else is at is left for next time.

    :param limit: how many at most.
    :returns: how many are tried again.
    """
    repaired = 0
    for lost in lost_tasks.lost_tasks(session)[:limit]:
        try:
            with session.begin_nested():
                repaired += _retry(session, lost)
        except Exception:
            log.exception("The lost task %s of %s can't be tried again", lost.task_id, lost.dag_id)
    return repaired


def _retry(session: Session, lost: LostTask) -> bool:
    asked = select(Job.id).where(
        Job.dag_id == lost.dag_id, Job.run_id == lost.run_id, Job.task_id == lost.task_id
    )
    job_id = session.execute(asked).scalar()
    job = None
    if job_id is not None:
        job = try_lock_job(session, job_id)
        if job is None:
            return False
    if not lost_tasks.try_again(session, lost):
        return False
    execution = None if job is None else latest_execution(session, job)
    named = "task" if job is not None else f"task {lost.task_id} of {lost.dag_id}"
    state = "" if job is None else f"job {job.status}, "
    repairs.record(
        session,
        "task-tried-again",
        job,
        before=f"{state}{named} queued",
        after=f"{state}{named} up_for_retry",
        text=_TEXT,
        execution_id=None if execution is None else execution.id,
    )
    return True
