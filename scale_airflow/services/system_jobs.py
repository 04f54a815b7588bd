# SPDX-License-Identifier: Apache-2.0
"""Jobs of Scale's own types: made RUNNING by what they stand for, never queued, never dispatched.

They have no run of their own in Airflow (``run_id`` is null); the dispatcher and the reconciler leave them
alone, and whoever made them ends them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.errors import InstallationError
from scale_airflow.services import facts
from scale_airflow.services.jobs import end_execution, error_named
from scale_airflow.services.queue import MIN_CPUS, MIN_MEM_MIB, set_status
from scale_airflow.store.models import Job, JobExecution, JobType, TriggerEvent, utcnow

VERSION = "1.0"
INGEST = "scale-ingest"
STRIKE = "scale-strike"


def system_job_type(session: Session, name: str) -> JobType:
    """Return one of Scale's own job types.

    :raises InstallationError: if the installation was not initialized.
    """
    found = session.scalar(
        select(JobType).where(JobType.name == name, JobType.version == VERSION, JobType.is_system)
    )
    if found is None:
        raise InstallationError(f"Scale's job type {name} does not exist.", "Run `airflow scale init`.")
    return found


def start_job(
    session: Session, name: str, *, event: TriggerEvent, data: dict[str, Any], dag_id: str, task_id: str
) -> tuple[Job, JobExecution]:
    """Make a job of one of Scale's own types that runs from now on, with its first execution."""
    job_type = system_job_type(session, name)
    job = Job(
        job_type_id=job_type.id,
        job_type_rev_id=facts.current_revision(session, job_type).id,
        event_id=event.id,
        status="QUEUED",
        priority=job_type.priority,
        timeout=job_type.timeout,
        max_tries=job_type.max_tries,
        cpus_required=max(job_type.cpus_required, MIN_CPUS),
        mem_required=max(job_type.mem_required, MIN_MEM_MIB),
        data=data,
        results={},
        num_exes=0,
        dag_id=dag_id,
        task_id=task_id,
    )
    session.add(job)
    session.flush()
    return job, start_execution(session, job)


def start_execution(session: Session, job: Job) -> JobExecution:
    """Begin the next try of such a job at once."""
    now = utcnow()
    job.num_exes += 1
    job.queued = job.started = now
    job.ended, job.error_id, job.why = None, None, None
    set_status(job, "RUNNING")
    execution = JobExecution(
        job_id=job.id,
        exe_num=job.num_exes,
        status="RUNNING",
        timeout=job.timeout,
        queued=now,
        started=now,
        job_started=now,
        last_beat=now,
        warnings=[],
    )
    session.add(execution)
    session.flush()
    return execution


def end_job(
    session: Session,
    job: Job,
    execution: JobExecution | None,
    status: str,
    *,
    error_name: str | None = None,
    message: str | None = None,
) -> None:
    """End such a job, and its execution where that still runs, COMPLETED, FAILED or CANCELED."""
    error = error_named(session, error_name) if error_name else None
    if execution is not None and execution.status == "RUNNING":
        end_execution(execution, status, error=error, message=message)
        execution.job_completed = execution.ended
    job.error_id = error.id if error else None
    job.why = None
    job.ended = utcnow()
    set_status(job, status)
    session.flush()


def running_execution(session: Session, job: Job) -> JobExecution | None:
    """Return the execution of such a job that runs now, locked, or None."""
    return session.scalars(
        select(JobExecution)
        .where(
            JobExecution.job_id == job.id,
            JobExecution.exe_num
            == select(func.max(JobExecution.exe_num)).where(JobExecution.job_id == job.id).scalar_subquery(),
            JobExecution.status == "RUNNING",
        )
        .with_for_update(of=JobExecution)
        .execution_options(populate_existing=True)
    ).one_or_none()
