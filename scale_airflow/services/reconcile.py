# SPDX-License-Identifier: Apache-2.0
"""What Airflow did without us reaches Scale's rows: a killed worker, a click on "mark failed", a deleted run.

One SQL join compares the unfinished executions with Airflow's task instances and their history.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from sqlalchemy import Subquery, select, update
from sqlalchemy.orm import Session

from scale_airflow.engine import tasks
from scale_airflow.engine.tasks import ExecutionTaskState
from scale_airflow.services.jobs import cancel_locked
from scale_airflow.services.locks import try_lock_job
from scale_airflow.store.models import Job, JobExecution, JobType, Scheduler, utcnow

log = logging.getLogger(__name__)

#: What was claimed or dispatched a moment ago may be in a transaction of Airflow's that we don't see yet.
_GRACE = timedelta(seconds=5)
_COMING = frozenset(
    {"scheduled", "queued", "running", "restarting", "up_for_retry", "deferred", "up_for_reschedule"}
)


def reconcile(session: Session) -> int:
    """Compare and repair; one transaction.

    A job that somebody else is at is left for the next time, and one that can't be repaired stays as it is,
    with the reason in the log: it keeps no other from its repair.

    :returns: how many jobs were repaired.
    """
    repaired = 0
    for state in tasks.states_of(session, _candidates()):
        if _verdict(state) is None:
            continue
        try:
            with session.begin_nested():
                repaired += _repair(session, state.execution_id)
        except Exception:
            log.exception("Job execution %s can't be made to agree with Airflow", state.execution_id)
    session.execute(
        update(Scheduler).values(
            last_reconcile=utcnow(),
            repairs=Scheduler.repairs + repaired,
            # That somebody looked is no change of the scheduler's own state.
            last_modified=Scheduler.last_modified,
        )
    )
    return repaired


def _candidates(execution_id: int | None = None) -> Subquery:
    """Choose the unfinished executions, or one if it still is unfinished, with their addresses in Airflow."""
    query = (
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
            JobExecution.status.in_(("QUEUED", "RUNNING")),
            JobExecution.last_modified < utcnow() - _GRACE,
            JobType.is_system.is_(False),
        )
    )
    if execution_id is not None:
        query = query.where(JobExecution.id == execution_id)
    return query.subquery()


def _verdict(state: ExecutionTaskState) -> str | None:
    """Say why a job can't go on, or None if a try of it runs or is coming: its claim finds out what to do."""
    if state.task_instance_id is None:
        return "Airflow has no task for it any more: its run was deleted."
    if state.task_state in _COMING:
        return None
    if state.task_state is None and state.run_state in ("queued", "running"):
        return None  # waits to be scheduled
    return f"Its task was ended in Airflow (state {state.task_state or 'none'}) without a report."


def _repair(session: Session, execution_id: int) -> bool:
    """Cancel the job of an execution that can't go on in Airflow, unless it can by now."""
    job_id = session.execute(select(JobExecution.job_id).where(JobExecution.id == execution_id)).scalar()
    job = try_lock_job(session, job_id) if job_id is not None else None
    if job is None:
        return False
    # Once more, now that nobody else changes it: a user may have cleared the task a moment ago.
    verdicts = [_verdict(state) for state in tasks.states_of(session, _candidates(execution_id))]
    if not verdicts or verdicts[0] is None:
        return False
    cancel_locked(session, job, verdicts[0])
    log.warning("Job %s is %s: %s", job.id, job.status, verdicts[0])
    return True
