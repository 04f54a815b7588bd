# SPDX-License-Identifier: Apache-2.0
"""Tasks that Airflow's executor has lost before their start are tried again: a job's, a Strike process's, a
clock's."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.engine import lost_tasks
from scale_airflow.engine.lost_tasks import LostTask
from scale_airflow.services import repairs
from scale_airflow.services.locks import latest_execution, try_lock_job
from scale_airflow.store.models import Job

_TEXT = "Airflow's executor lost its task before it started, as when a worker process is killed."


def retry_lost_task(session: Session, lost: LostTask) -> bool:
    """Have a lost task tried again; False if somebody else is at its job, or it is lost no more."""
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
