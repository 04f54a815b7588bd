# SPDX-License-Identifier: Apache-2.0
"""Daily metrics on a running installation: Airflow runs the clock rule, a job of Scale's works a day out."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import create_engine, text

from tests.e2e.system import Scale, eventually

#: A job of one of Scale's own types, which nobody else looks at, that ended at a given moment.
_ENDED_JOB = """
WITH type AS (
    SELECT t.id, r.id AS revision FROM scale_job_type t JOIN scale_job_type_revision r ON r.job_type_id = t.id
    WHERE t.name = 'scale-cleanup'
), event AS (
    INSERT INTO scale_trigger_event (type, occurred, description)
    VALUES ('CLEANUP', :ended, '{}') RETURNING id
)
INSERT INTO scale_job (
    job_type_id, job_type_rev_id, event_id, status, priority, num_exes, timeout, max_tries, cpus_required,
    mem_required, disk_in_required, disk_out_required, data, results, dag_id, task_id, created, ended,
    last_status_change, last_modified
)
SELECT type.id, type.revision, event.id, 'FAILED', 2, 0, 600, 1, 1, 1, 0, 0, '{}', '{}', 'none', 'none',
    :ended, :ended, :ended, :ended
FROM type, event
"""


def test_a_day_is_worked_out_by_a_run_of_the_clock_rule(scale: Scale) -> None:
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    engine = create_engine(scale.installation.database.url)
    with engine.begin() as connection:
        connection.execute(text(_ENDED_JOB), {"ended": yesterday})
    engine.dispose()

    def dag() -> str | None:
        pattern = {"dag_id_pattern": "scale_clock.scale-daily-metrics."}
        for found in scale.client.airflow("GET", "dags", params=pattern)["dags"]:
            return str(found["dag_id"])
        return None

    dag_id = eventually(dag, "DAG of the daily metrics")
    body: dict[str, Any] = {"logical_date": None}
    run_id = scale.client.airflow("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"]

    def state() -> str | None:
        found = scale.client.airflow("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"]
        return str(found) if found in ("success", "failed") else None

    assert eventually(state, "end of the run of daily metrics", 300) == "success"
    jobs = list(scale.client.everything("jobs/", job_type_name="scale-daily-metrics"))
    assert {(job["status"], job["event"]["type"]) for job in jobs} == {("COMPLETED", "DAILY_METRICS")}
    found = scale.client.get("metrics/job-types/plot-data/", column="failed_count")["results"]
    values = {value["date"]: value["value"] for value in found[0]["values"]}
    day = yesterday.date().isoformat()
    assert values[day] >= 1
    # Once more by hand, with the same result.
    (again,) = json.loads(scale.command("metrics", day, "-o", "json"))
    assert again["day"] == day
    assert scale.client.get("metrics/job-types/plot-data/", column="failed_count")["results"] == found
