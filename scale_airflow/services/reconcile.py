# SPDX-License-Identifier: Apache-2.0
"""What Airflow did without us reaches Scale's rows: a killed worker, a click on "mark failed", a deleted run.

One SQL join compares the unfinished executions with Airflow's task instances and their history.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.engine import tasks
from scale_airflow.engine.tasks import ExecutionTaskState
from scale_airflow.services.executions import lose_execution
from scale_airflow.services.jobs import cancel_locked
from scale_airflow.services.locks import lock_job
from scale_airflow.store.models import Job, JobExecution, JobType, Scheduler, utcnow

log = logging.getLogger(__name__)

#: What was claimed or dispatched a moment ago may be in a transaction of Airflow's that we don't see yet.
_GRACE = timedelta(seconds=5)
_COMING = frozenset(
    {"scheduled", "queued", "running", "restarting", "up_for_retry", "deferred", "up_for_reschedule"}
)


def reconcile(session: Session) -> int:
    """Compare and repair; one transaction.

    :returns: how many jobs were repaired.
    """
    candidates = (
        select(
            JobExecution.id.label("execution_id"),
            Job.dag_id,
            Job.run_id,
            Job.task_id,
            JobExecution.task_instance_id,
        )
        .join(Job, (Job.id == JobExecution.job_id) & (Job.num_exes == JobExecution.exe_num))
        .join(JobType, JobType.id == Job.job_type_id)
        .where(
            Job.status.in_(("QUEUED", "RUNNING")),
            Job.dispatched < utcnow() - _GRACE,
            JobExecution.last_modified < utcnow() - _GRACE,
            JobType.is_system.is_(False),
        )
        .subquery()
    )
    repaired = sum(_repair(session, state) for state in tasks.states_of(session, candidates))
    scheduler = session.get(Scheduler, 1)
    if scheduler is not None:
        scheduler.last_reconcile = utcnow()
        scheduler.repairs += repaired
    return repaired


def _repair(session: Session, state: ExecutionTaskState) -> bool:
    if state.task_instance_id is None:
        return _end_lost(session, state, "Airflow has no task for it any more: its run was deleted.")
    if state.task_state in _COMING:
        return False  # a try runs or is coming: its claim finds out what to do
    if state.task_state is None and state.run_state in ("queued", "running"):
        return False  # waits to be scheduled
    return _cancel(session, state)


def _end_lost(session: Session, state: ExecutionTaskState, message: str) -> bool:
    execution = session.get(JobExecution, state.execution_id)
    if execution is None:
        return False
    job = lock_job(session, execution.job_id)
    session.refresh(execution)
    if execution.status == "RUNNING":
        lose_execution(session, execution, message, error_name="scheduler-lost")
    if job.status in ("QUEUED", "RUNNING"):
        cancel_locked(session, job, message)
    log.warning("Job %s is %s: %s", job.id, job.status, message)
    return True


def _cancel(session: Session, state: ExecutionTaskState) -> bool:
    """The task is over in Airflow and did not report: somebody ended it there, so the job is canceled."""
    execution = session.get(JobExecution, state.execution_id)
    if execution is None:
        return False
    job = lock_job(session, execution.job_id)
    session.refresh(execution)
    if execution.status not in ("QUEUED", "RUNNING") or job.status not in ("QUEUED", "RUNNING"):
        return False
    message = f"Its task was ended in Airflow (state {state.task_state or 'none'}) without a report."
    cancel_locked(session, job, message)
    log.warning("Job %s is CANCELED: %s", job.id, message)
    return True
