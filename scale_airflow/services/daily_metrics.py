# SPDX-License-Identifier: Apache-2.0
"""The jobs that work the metrics of each day out: one scale-daily-metrics job a day, once the day is over.

The clock rule of the same name queues a job for every day that is missing; the next task of its DAG has them
done one by one. A day that fails is tried again up to the job type's ``max_tries``, after all others, and
as often when the rule fires next: it never holds up another day.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.engine import tasks
from scale_airflow.errors import Forbidden, InvalidRequest, NotFound
from scale_airflow.execution.ingest.messages import TaskIdentity
from scale_airflow.services import facts, system_jobs
from scale_airflow.services.jobs import end_execution, error_named, retry_or_fail
from scale_airflow.services.locks import latest_execution, lock_job, try_lock_job
from scale_airflow.services.lookup import lock_name
from scale_airflow.services.metrics import ONE_DAY, compute_day, missing_days
from scale_airflow.services.queue import MIN_CPUS, MIN_MEM_MIB, new_execution, set_status
from scale_airflow.store.models import Job, JobExecution, TriggerEvent, TriggerRule, utcnow

NAME = "scale-daily-metrics"
"""The name of the job type, and of the clock rule that queues its jobs."""

SETTLED = timedelta(minutes=1)
"""How long after its end a day is worked out: what ended just before midnight is committed by then."""

_MOST_MESSAGE = 2000


@dataclass(frozen=True, slots=True)
class Turn:
    """What a task is told when it asks for the next day.

    :param execution_id: the execution that has begun for it; None if there is none now.
    :param wait: how many seconds later there will be one, if there is none before.
    :param is_again: whether days are left that this try of the task has tried already.
    :param failed: the days that failed as often as they may.
    """

    execution_id: int | None = None
    wait: float = 0.0
    is_again: bool = False
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one day: done, to be tried once more, or failed for now."""

    day: str
    outcome: Literal["done", "retry", "failed"]
    message: str


def queue_missing(session: Session, event: TriggerEvent, today: date) -> list[Job]:
    """Queue a job for each day before ``today`` that has no metrics yet, unless one waits or runs.

    A day whose job failed gets more tries of the same job.
    """
    lock_name(session, NAME)
    days = [day.isoformat() for day in missing_days(session, today)]
    job_type = system_jobs.system_job_type(session, NAME)
    known: dict[str, Job] = {}
    for found in session.scalars(
        select(Job)
        .where(Job.job_type_id == job_type.id, Job.input_signature.in_(days))
        .order_by(Job.id)
        .with_for_update(of=Job, key_share=True)
        .execution_options(populate_existing=True)
    ):
        known[str(found.input_signature)] = found
    queued = []
    for day in days:
        job = known.get(day)
        if job is not None and job.status in ("QUEUED", "RUNNING"):
            continue
        if job is None or job.status != "FAILED":
            job = _new_job(session, event, day)
        else:
            job.max_tries = job.num_exes + job_type.max_tries
        new_execution(session, job, facts.interface_of(job.job_type_rev))
        queued.append(job)
    session.flush()
    return queued


def _new_job(session: Session, event: TriggerEvent, day: str) -> Job:
    job_type = system_jobs.system_job_type(session, NAME)
    job = Job(
        job_type_id=job_type.id,
        job_type_rev_id=facts.current_revision(session, job_type).id,
        event_id=event.id,
        status="PENDING",
        priority=job_type.priority,
        timeout=job_type.timeout,
        max_tries=job_type.max_tries,
        cpus_required=max(job_type.cpus_required, MIN_CPUS),
        mem_required=max(job_type.mem_required, MIN_MEM_MIB),
        data={"version": "1.0", "input_data": [{"name": "Day", "value": day}]},
        results={},
        input_signature=day,
        num_exes=0,
        dag_id=names.clock_dag_id(event.rule_id or 0, NAME),
        task_id=names.COMPUTE_TASK_ID,
    )
    session.add(job)
    session.flush()
    return job


def begin_next(session: Session, rule_id: int, asking: TaskIdentity) -> Turn:
    """Begin the next day for a task of the rule's DAG: what was tried less often first, then the oldest.

    A day that a task which is gone had begun counts as one more try. Asking again gives the same day.

    :raises NotFound: if there is no such rule.
    :raises Forbidden: if Airflow does not run this very try of that task.
    """
    task_id = _require_task(session, rule_id, asking)
    own = _own_execution(session, task_id)
    if own is not None:
        return Turn(own.id)
    job_type = system_jobs.system_job_type(session, NAME)
    candidates = session.execute(
        select(Job.id, Job.input_signature)
        .where(Job.job_type_id == job_type.id, Job.status.in_(("QUEUED", "RUNNING")))
        .order_by(Job.num_exes, Job.input_signature)
    ).all()
    now, wait, is_again = utcnow(), 0.0, False
    for job_id, day in candidates:
        too_early = (_settled(str(day)) - now).total_seconds()
        if too_early > 0:
            wait = too_early
            continue
        job = try_lock_job(session, job_id)
        execution = _free_execution(session, job) if job is not None else None
        if job is None or execution is None:
            continue
        if _has_tried(session, job, task_id):
            is_again = True
            continue
        _start(job, execution, task_id, asking.try_number)
        session.flush()
        return Turn(execution.id)
    return Turn(wait=wait, is_again=is_again, failed=_failed(session, job_type.id))


def finish(session: Session, execution_id: int) -> Result:
    """Work out the day of an execution that has begun, and complete its job, in one transaction."""
    job, execution = _locked(session, execution_id)
    if execution.status != "RUNNING":
        return _result(job, execution)
    day = _day_of(job)
    counted = compute_day(session, date.fromisoformat(day))
    system_jobs.end_job(session, job, execution, "COMPLETED")
    listed = ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
    return Result(day, "done", f"The metrics of {day} are worked out ({listed}).")


def fail(session: Session, execution_id: int, why: Exception) -> Result:
    """Record that the day of an execution could not be worked out; say whether it is tried again."""
    job, execution = _locked(session, execution_id)
    if execution.status == "RUNNING":
        name = "database" if isinstance(why, SQLAlchemyError) else "unknown"
        _lose(session, job, execution, name, type(why).__name__)
    return _result(job, execution)


def _require_task(session: Session, rule_id: int, asking: TaskIdentity) -> uuid.UUID:
    rule = session.get(TriggerRule, rule_id)
    if rule is None or rule.type != "CLOCK" or rule.name != NAME:
        raise NotFound(f"There is no clock rule {rule_id} of daily metrics.")
    found = tasks.running_try(session, asking.task_instance_id)
    wanted = (names.clock_dag_id(rule_id, NAME), asking.run_id, names.COMPUTE_TASK_ID, asking.try_number)
    if found is None or wanted != (found.dag_id, found.run_id, found.task_id, found.try_number):
        raise Forbidden(
            f"Airflow does not run try {asking.try_number} of task {asking.task_id} in run {asking.run_id} "
            f"of {asking.dag_id} as the task that works out daily metrics."
        )
    return found.id


def _own_execution(session: Session, task_id: uuid.UUID) -> JobExecution | None:
    """Return the execution that this very try has begun already: its answer was lost on the way."""
    job_id = session.execute(
        select(JobExecution.job_id).where(
            JobExecution.task_instance_id == task_id, JobExecution.status == "RUNNING"
        )
    ).scalar()
    if job_id is None:
        return None
    # Whoever is at it finishes first; then it may be over.
    execution = latest_execution(session, lock_job(session, job_id))
    if execution is None or execution.status != "RUNNING" or execution.task_instance_id != task_id:
        return None
    return execution


def _free_execution(session: Session, job: Job) -> JobExecution | None:
    """Return the execution of a locked job that may begin; instead of one whose task is gone, the next."""
    execution = latest_execution(session, job)
    if execution is None or execution.status == "QUEUED":
        return execution
    if execution.status != "RUNNING":
        return None
    if execution.task_instance_id and tasks.running_try(session, execution.task_instance_id):
        return None
    _lose(session, job, execution, "mesos-lost", "Its task ended without a report.")
    return latest_execution(session, job) if job.status == "QUEUED" else None


def _lose(session: Session, job: Job, execution: JobExecution, error_name: str, message: str) -> None:
    error = error_named(session, error_name)
    end_execution(execution, "FAILED", error=error, message=message[:_MOST_MESSAGE])
    execution.job_completed = execution.ended
    session.flush()
    retry_or_fail(session, job, error)
    session.flush()


def _has_tried(session: Session, job: Job, task_id: uuid.UUID) -> bool:
    query = select(JobExecution.id).where(
        JobExecution.job_id == job.id, JobExecution.task_instance_id == task_id
    )
    return session.execute(query.limit(1)).first() is not None


def _start(job: Job, execution: JobExecution, task_id: uuid.UUID, try_number: int) -> None:
    now = utcnow()
    execution.status = "RUNNING"
    execution.started = execution.job_started = execution.last_beat = now
    execution.task_instance_id, execution.try_number = task_id, try_number
    job.started, job.why = now, None
    set_status(job, "RUNNING")


def _failed(session: Session, job_type_id: int) -> tuple[str, ...]:
    rows: Sequence[Any] = session.scalars(
        select(Job.input_signature)
        .where(Job.job_type_id == job_type_id, Job.status == "FAILED")
        .order_by(Job.input_signature)
    ).all()
    return tuple(str(day) for day in rows)


def _locked(session: Session, execution_id: int) -> tuple[Job, JobExecution]:
    job_id = session.execute(select(JobExecution.job_id).where(JobExecution.id == execution_id)).scalar()
    job = lock_job(session, job_id or 0)
    execution = session.get(JobExecution, execution_id, populate_existing=True)
    if execution is None or job.job_type.name != NAME:
        raise NotFound(f"There is no execution {execution_id} of {NAME}.")
    return job, execution


def _result(job: Job, execution: JobExecution) -> Result:
    day = _day_of(job)
    if execution.status == "COMPLETED":
        return Result(day, "done", f"The metrics of {day} are worked out.")
    why = execution.message or f"execution {execution.id} is {execution.status}"
    if job.status == "QUEUED":
        return Result(day, "retry", f"The metrics of {day} are tried once more: {why}")
    return Result(day, "failed", f"The metrics of {day} are not worked out: {why}")


def _day_of(job: Job) -> str:
    if job.input_signature is None:
        raise InvalidRequest(f"Job {job.id} has no day.")
    return job.input_signature


def _settled(day: str) -> datetime:
    """Return from when on a day may be worked out."""
    return datetime.combine(date.fromisoformat(day), time(), timezone.utc) + ONE_DAY + SETTLED
