# SPDX-License-Identifier: Apache-2.0
"""What Airflow did without us reaches Scale's rows: a killed worker, a click on "mark failed", a clear, a
deleted run. And what Scale knows for certain reaches Airflow: no task is a success whose job is none.

Who wins in which disagreement is on the how-to page "What the reconciler repairs".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import BigInteger, ColumnElement, Subquery, cast, exists, func, or_, select, update
from sqlalchemy.orm import Session

from scale_airflow.compiler.dags import HIGHEST_WEIGHT
from scale_airflow.engine import lost_tasks, runs, tasks
from scale_airflow.engine.tasks import ExecutionTaskState, JobTaskState
from scale_airflow.services import repairs
from scale_airflow.services.clears import follow_clear, was_cleared
from scale_airflow.services.jobs import cancel_locked, jobs_of
from scale_airflow.services.locks import latest_execution, try_lock_job
from scale_airflow.services.lost_tasks import retry_lost_task
from scale_airflow.store.models import Job, JobExecution, JobType, QueueEntry, Recipe, Scheduler, utcnow

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How many jobs one transaction repairs at most: it keeps their locks until it ends.
BATCH = 200
#: What was claimed or dispatched a moment ago may be in a transaction of Airflow's that we don't see yet.
_GRACE = timedelta(seconds=5)
#: How long the cleared task of a COMPLETED job may wait for its turn to say why it does nothing.
_PATIENCE = timedelta(seconds=30)
_LARGEST_WEIGHT = 2**31 - 1
_COMING = tasks.WAITING | {"running", "restarting"}


def reconcile(session: Session) -> int:
    """Compare all that is not over with Airflow, and repair; one transaction.

    A job that somebody else is at is left for the next time, and one that can't be repaired stays as it is,
    with the reason in the log: it keeps no other from its repair.

    :returns: how many jobs were repaired; with :data:`BATCH` there may be more to do at once.
    """
    without_a_try = [
        state.execution_id
        for state in tasks.states_of(session, _unfinished_executions())
        if _verdict(state) is not None
    ]
    repaired = _each(session, without_a_try, _repair_execution, BATCH)
    if repaired < BATCH:
        apart = [state.job_id for state in tasks.apart_in_live_runs(session, _jobs_in_airflow())]
        repaired += _each(session, apart, _repair_live_task, BATCH - repaired)
    repaired += _each(session, lost_tasks.lost_tasks(session), retry_lost_task, BATCH - repaired)
    _sign(session, repaired)
    return repaired


def reconcile_outcomes(session: Session) -> int:
    """Compare what came to nothing, in Scale or in Airflow, also in runs that are over; repair.

    It reads all that ever came to nothing, so it is not done as often as :func:`reconcile`.

    :returns: as :func:`reconcile`.
    """
    apart = [state.job_id for state in tasks.apart_in_any_run(session, _jobs_in_airflow())]
    repaired = _each(session, apart, _repair_outcome, BATCH)
    _sign(session, repaired)
    return repaired


def _each(session: Session, found: Iterable[T], repair: Callable[[Session, T], bool], limit: int) -> int:
    repaired = 0
    for one in found:
        if repaired >= limit:
            break
        try:
            with session.begin_nested():
                repaired += repair(session, one)
        except Exception:
            log.exception("%s can't be made to agree with Airflow (%s)", one, repair.__name__)
    return repaired


def _sign(session: Session, repaired: int) -> None:
    session.execute(
        update(Scheduler).values(
            last_reconcile=utcnow(),
            repairs=Scheduler.repairs + repaired,
            # That somebody looked is no change of the scheduler's own state.
            last_modified=Scheduler.last_modified,
        )
    )


# -- jobs that wait or run: can they go on? ----------------------------------------------------------------


def _unfinished_executions(execution_id: int | None = None) -> Subquery:
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
            _not_on_the_queue(),
        )
    )
    if execution_id is not None:
        query = query.where(JobExecution.id == execution_id)
    return query.subquery()


def _verdict(state: ExecutionTaskState) -> repairs.Kind | None:
    """Say what is to be done about a job; nothing if a try of it runs or is coming: its claim finds out."""
    if state.task_instance_id is None:
        return "job-canceled-run-deleted"
    if state.task_state in _COMING:
        return None
    if state.task_state is None and state.run_state in ("queued", "running"):
        return None  # waits to be scheduled
    if state.task_state == "upstream_failed":
        return "task-cleared"
    return "job-canceled-task-success" if state.task_state == "success" else "job-canceled-task-ended"


def _repair_execution(session: Session, execution_id: int) -> bool:
    """Repair the job of an execution that can't go on in Airflow, unless it can by now."""
    job_id = session.execute(select(JobExecution.job_id).where(JobExecution.id == execution_id)).scalar()
    job = try_lock_job(session, job_id) if job_id is not None else None
    if job is None:
        return False
    # Once more, now that nobody else changes it: a user may have cleared the task a moment ago.
    for state in tasks.states_of(session, _unfinished_executions(execution_id)):
        kind = _verdict(state)
        if kind == "task-cleared":
            _go_on_after_parents(session, job)
        elif kind is not None:
            _cancel(session, job, kind, state.task_state)
        return kind is not None
    return False


def _cancel(session: Session, job: Job, kind: repairs.Kind, task_state: str | None) -> None:
    """Cancel a locked job that a user ended in Airflow."""
    text = {
        "job-canceled-run-deleted": "Airflow has no task for it any more: its run was deleted.",
        "job-canceled-task-success": (
            "Its task was marked as a success in Airflow without a report: nothing was produced."
        ),
    }.get(kind, f"Its task was ended in Airflow (state {task_state or 'none'}) without a report.")
    before, execution = job.status, latest_execution(session, job)
    cancel_locked(session, job, text)
    if kind == "job-canceled-task-success":
        _set_task(session, job, runs.mark_failed)
    after = f"job {job.status}"
    if kind == "job-canceled-task-success":
        after += ", task failed"
    repairs.record(
        session,
        kind,
        job,
        before=f"job {before}, task {_named(kind, task_state)}",
        after=after,
        text=text,
        execution_id=execution.id if execution is not None else None,
    )


def _named(kind: repairs.Kind, task_state: str | None) -> str:
    return "deleted" if kind == "job-canceled-run-deleted" else task_state or "none"


def _go_on_after_parents(session: Session, job: Job) -> None:
    """Let Airflow start a locked job that it gave up though all the jobs that it waits for are COMPLETED."""
    assert job.run_id is not None
    family = jobs_of(session, session.get_one(Recipe, job.recipe_id)) if job.recipe_id is not None else [job]
    completed = [found.task_id for found in family if found.status == "COMPLETED"]
    later = [found.task_id for found in family if found.status == "PENDING"]
    runs.mark_success(session, dag_id=job.dag_id, run_id=job.run_id, task_ids=completed)
    _clear(session, job, [job.task_id, *later])
    repairs.record(
        session,
        "task-cleared",
        job,
        before=f"job {job.status}, task upstream_failed",
        after=f"job {job.status}, task cleared",
        text="Airflow gave its task up, but all the jobs that it waits for are COMPLETED.",
    )


# -- tasks that are not as their jobs are ------------------------------------------------------------------


def _jobs_in_airflow(job_id: int | None = None) -> Subquery:
    """Choose the jobs with a run in Airflow, or one of them, with what their tasks should be."""
    query = (
        select(
            Job.id.label("job_id"),
            Job.status,
            # As weight_of() does it: within Airflow's integers.
            func.least(_LARGEST_WEIGHT, cast(HIGHEST_WEIGHT, BigInteger) - Job.priority).label("weight"),
            Job.dag_id,
            Job.run_id,
            Job.task_id,
        )
        .join(JobType, JobType.id == Job.job_type_id)
        .where(
            # Not: dispatched. One that was requeued and canceled before its turn is in Airflow, too.
            Job.run_id.is_not(None),
            # A job may be BLOCKED by a repair of this very look.
            or_(Job.status == "BLOCKED", Job.last_status_change < utcnow() - _GRACE),
            JobType.is_system.is_(False),
            _not_on_the_queue(),
        )
    )
    if job_id is not None:
        query = query.where(Job.id == job_id)
    return query.subquery()


def _not_on_the_queue() -> ColumnElement[bool]:
    """What waits for the tick has its task cleared then."""
    return ~exists().where(QueueEntry.job_id == Job.id)


def _repair_live_task(session: Session, job_id: int) -> bool:
    job = try_lock_job(session, job_id)
    if job is None:
        return False
    # Once more, now that nobody else changes the job.
    for state in tasks.apart_in_live_runs(session, _jobs_in_airflow(job_id)):
        if job.status == "COMPLETED":
            return _repair_completed(session, job, state)
        if job.status in ("FAILED", "CANCELED"):
            return _repair_unsuccessful(session, job, state)
        if job.status == "BLOCKED":
            return _deny_success(session, job, state)
        if job.status == "PENDING" and not state.is_waiting:
            return _repair_pending(session, job, state)
        return _repair_priority(session, job, state)
    return False


def _repair_outcome(session: Session, job_id: int) -> bool:
    job = try_lock_job(session, job_id)
    if job is None:
        return False
    for state in tasks.apart_in_any_run(session, _jobs_in_airflow(job_id)):
        if job.status == "COMPLETED":
            return _repair_completed(session, job, state)
        return _deny_success(session, job, state)
    return False


def _repair_completed(session: Session, job: Job, state: JobTaskState) -> bool:
    """Let the task of a COMPLETED job be a success; one that was cleared first gets its turn to say why."""
    if state.is_waiting and was_cleared(session, job, state.task_instance_id):
        moments = [moment for moment in (state.task_changed, state.run_queued) if moment is not None]
        if moments and max(moments) > utcnow() - _PATIENCE:
            return False
    _set_task(session, job, runs.mark_success)
    text = (
        "Scale has the job's results: they stay, and the job can't be undone. Queue it anew to run it again."
    )
    _note_task(session, job, "task-set-success", state, "success", text)
    return True


def _repair_unsuccessful(session: Session, job: Job, state: JobTaskState) -> bool:
    """A FAILED or CANCELED job: its task was marked as a success, was cleared, or has not heard of it."""
    if state.task_state == "success":
        return _deny_success(session, job, state)
    if was_cleared(session, job, state.task_instance_id):
        follow_clear(session, job)
        return True
    if not state.is_waiting:
        return False  # it runs: it hears of it when it reports, or with its next beat
    execution = latest_execution(session, job)
    if execution is not None and execution.task_instance_id is None:
        # From now on a later try is a user's wish.
        execution.task_instance_id = state.task_instance_id
    _set_task(session, job, runs.mark_failed)
    _note_task(session, job, "task-set-failed", state, "failed", f"The job is {job.status}.")
    return True


def _deny_success(session: Session, job: Job, state: JobTaskState) -> bool:
    _set_task(session, job, runs.mark_failed)
    text = (
        f"The job is {job.status}: to mark its task as a success makes no results. Requeue the job, or clear "
        "its task, to have it tried once more."
    )
    _note_task(session, job, "task-set-failed", state, "failed", text)
    return True


def _repair_pending(session: Session, job: Job, state: JobTaskState) -> bool:
    """A job that waits for its parents: a user ended its task, or that ended before the job waited again."""
    if state.task_changed is not None and state.task_changed >= job.last_status_change:
        is_success = state.task_state == "success"
        kind: repairs.Kind = "job-canceled-task-success" if is_success else "job-canceled-task-ended"
        _cancel(session, job, kind, state.task_state)
    else:
        _clear(session, job, [job.task_id])
        _record_task(session, job, "task-cleared", state, "cleared", "The job waits for its parents again.")
    return True


def _repair_priority(session: Session, job: Job, state: JobTaskState) -> bool:
    assert job.run_id is not None
    runs.set_priority(
        session, dag_id=job.dag_id, run_id=job.run_id, priority=job.priority, task_ids=[job.task_id]
    )
    repairs.record(
        session,
        "task-priority",
        job,
        before=f"job {job.status}, task {state.task_state or 'none'}",
        after=f"priority {job.priority}",
        text="Its task had another priority in Airflow: a clear takes the DAG's.",
    )
    return True


def _clear(session: Session, job: Job, task_ids: list[str]) -> None:
    assert job.run_id is not None
    runs.clear_tasks(session, dag_id=job.dag_id, run_id=job.run_id, task_ids=task_ids, priority=job.priority)


def _set_task(session: Session, job: Job, mark: Callable[..., int]) -> None:
    mark(session, dag_id=job.dag_id, run_id=job.run_id, task_ids=[job.task_id])


def _note_task(
    session: Session, job: Job, kind: repairs.Kind, state: JobTaskState, after: str, text: str
) -> None:
    """Record a repair of the task; who looks at it in Airflow reads why."""
    tasks.annotate(session, state.task_instance_id, f"Scale: {text}")
    _record_task(session, job, kind, state, after, text)


def _record_task(
    session: Session, job: Job, kind: repairs.Kind, state: JobTaskState, after: str, text: str
) -> None:
    repairs.record(
        session,
        kind,
        job,
        before=f"job {job.status}, task {state.task_state or 'none'}",
        after=f"job {job.status}, task {after}",
        text=text,
    )
