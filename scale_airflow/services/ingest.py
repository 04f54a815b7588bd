# SPDX-License-Identifier: Apache-2.0
"""Batches: an ingest task takes files of its Strike process, stores them, and reports; each call is one
transaction and may be repeated.

A batch is one scale-ingest job with an execution that is bound to the task's very try. Its token covers this
batch alone; whoever takes the batch over gets another one, so a lost worker's reports open nothing.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from pathlib import PurePath

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from scale_airflow.compiler.names import INGEST_TASK_ID
from scale_airflow.engine.tasks import TaskTry
from scale_airflow.errors import Conflict
from scale_airflow.execution.ingest.messages import (
    BatchAnswer,
    BatchRequest,
    ClearedRequest,
    ClearOrder,
    FinishRequest,
    IngestOrder,
)
from scale_airflow.execution.order import WorkspaceRef
from scale_airflow.services import system_jobs
from scale_airflow.services.events import record_event
from scale_airflow.services.jobs import end_execution, error_named
from scale_airflow.services.strike_tasks import is_due, require_task
from scale_airflow.store.models import Ingest, Job, JobExecution, Strike, Workspace, utcnow

log = logging.getLogger(__name__)

BATCH = 500
"""Files of one batch."""

CLEAR_RETRY = timedelta(minutes=5)
_WORKSPACE_RETRY = timedelta(seconds=60)


def begin_batch(session: Session, strike_id: int, request: BatchRequest) -> BatchAnswer:
    """Give an ingest task files to store, and those that are only to be cleared away.

    What a lost task had begun comes first. A task that asks again gets the same batch.

    :raises NotFound: if there is no such Strike process.
    :raises Forbidden: if the task is not its running ingest task.
    """
    strike, task = require_task(session, strike_id, request.task, INGEST_TASK_ID)
    clear = _clear_orders(session, strike)
    execution = _own_execution(session, task) or _take_over(session, strike, task)
    if execution is None and strike.is_active:
        execution = _new_batch(session, strike, task)
    if execution is None:
        return BatchAnswer(None, None, strike.configuration, (), (), clear)
    token = secrets.token_urlsafe(32)
    execution.token_sha256 = hashlib.sha256(token.encode()).hexdigest()
    ingests = files_of(session, execution.job_id)
    session.flush()
    return BatchAnswer(
        execution_id=execution.id,
        token=token,
        configuration=strike.configuration,
        files=tuple(
            IngestOrder(ingest.id, ingest.file_name, relative(ingest), ingest.workspace_id or 0)
            for ingest in ingests
        ),
        workspaces=_workspaces(session, ingests),
        clear=clear,
    )


def record_cleared(session: Session, strike_id: int, request: ClearedRequest) -> None:
    """Record what was cleared out of the Strike directory."""
    strike, _ = require_task(session, strike_id, request.task, INGEST_TASK_ID)
    results = {result.ingest_id: result for result in request.results if result.ingest_id > 0}
    ingests = session.scalars(
        select(Ingest)
        .where(
            Ingest.strike_id == strike.id,
            Ingest.id.in_(results),
            Ingest.is_cleared.is_(False),
            Ingest.status.in_(("INGESTED", "DUPLICATE")),
        )
        .with_for_update(of=Ingest)
    )
    for ingest in ingests:
        result = results[ingest.id]
        if result.message is not None:
            ingest.message = result.message[:2000]
            ingest.retry_at = utcnow() + CLEAR_RETRY
            continue
        ingest.is_cleared = True
        ingest.retry_at = None
        if result.path is not None:
            directory = PurePath(ingest.ingest_path or "").parent.parent
            ingest.ingest_path = str(directory / result.path)


def finish_batch(session: Session, execution_id: int, request: FinishRequest) -> None:
    """End a batch's job: COMPLETED, or FAILED where files had to wait for their workspace.

    What was not reported is QUEUED again.
    """
    job, execution = lock_batch(session, execution_id)
    if execution.status != "RUNNING":
        return
    for ingest in files_of(session, job.id):
        ingest.status = "QUEUED"
    if request.error_name is None:
        system_jobs.end_job(session, job, execution, "COMPLETED")
    else:
        system_jobs.end_job(
            session, job, execution, "FAILED", error_name=request.error_name, message=request.message
        )


def lock_batch(session: Session, execution_id: int) -> tuple[Job, JobExecution]:
    """Return a batch's job and execution, locked."""
    job_id = session.execute(select(JobExecution.job_id).where(JobExecution.id == execution_id)).scalar_one()
    job = session.scalars(
        select(Job).where(Job.id == job_id).with_for_update(of=Job).execution_options(populate_existing=True)
    ).one()
    execution = session.scalars(
        select(JobExecution)
        .where(JobExecution.id == execution_id)
        .with_for_update(of=JobExecution)
        .execution_options(populate_existing=True)
    ).one()
    return job, execution


def require_running(execution: JobExecution) -> None:
    """Refuse reports for a batch that is over or was taken over.

    :raises Conflict: if it does not run.
    """
    if execution.status != "RUNNING":
        raise Conflict(f"Job execution {execution.id} is {execution.status}: its files are no longer yours.")


def files_of(session: Session, job_id: int) -> Sequence[Ingest]:
    """Return the files of a batch that are not finished, locked, the oldest first."""
    return session.scalars(
        select(Ingest)
        .where(Ingest.job_id == job_id, Ingest.status == "INGESTING")
        .order_by(Ingest.transfer_ended, Ingest.id)
        .with_for_update(of=Ingest)
    ).all()


def relative(ingest: Ingest) -> str:
    """Return a file's place relative to the Strike directory."""
    return "/".join(PurePath(ingest.ingest_path or "").parts[-2:])


def clear_order(ingest: Ingest) -> ClearOrder:
    """Return the order to clear a finished file out of the Strike directory."""
    return ClearOrder(
        ingest.id,
        ingest.file_name,
        relative(ingest),
        ingest.file_identity or "",
        ingest.status == "DUPLICATE",
    )


def _clear_orders(session: Session, strike: Strike) -> tuple[ClearOrder, ...]:
    finished = session.scalars(
        select(Ingest)
        .where(is_due(strike.id), Ingest.status.in_(("INGESTED", "DUPLICATE")))
        .order_by(Ingest.id)
        .limit(BATCH)
    )
    return tuple(clear_order(ingest) for ingest in finished)


def _own_execution(session: Session, task: TaskTry) -> JobExecution | None:
    """Return the execution that this very try has begun already: its answer was lost on the way."""
    return session.scalars(
        select(JobExecution)
        .where(JobExecution.task_instance_id == task.id, JobExecution.status == "RUNNING")
        .order_by(JobExecution.id.desc())
        .with_for_update(of=JobExecution)
    ).first()


def _take_over(session: Session, strike: Strike, task: TaskTry) -> JobExecution | None:
    """Go on with what another try had begun: its execution is lost, the job's next one is this task's."""
    with_files = set(
        session.scalars(
            select(Ingest.job_id).where(
                Ingest.strike_id == strike.id, Ingest.is_cleared.is_(False), Ingest.status == "INGESTING"
            )
        )
    )
    taken: JobExecution | None = None
    for job in _begun_jobs(session, strike, with_files):
        execution = system_jobs.running_execution(session, job)
        if job.id not in with_files:  # all was reported but the end
            system_jobs.end_job(session, job, execution, "COMPLETED")
            continue
        if execution is not None:
            error = error_named(session, "mesos-lost")
            end_execution(execution, "FAILED", error=error, message="Its task ended without a report.")
            log.warning("Job execution %s is lost: another task goes on with its files", execution.id)
        if taken is None:
            session.flush()
            taken = system_jobs.start_execution(session, job)
            _bind(taken, task)
    return taken


def _begun_jobs(session: Session, strike: Strike, with_files: Collection[int | None]) -> Sequence[Job]:
    job_type = system_jobs.system_job_type(session, system_jobs.INGEST)
    is_running = and_(Job.job_type_id == job_type.id, Job.status == "RUNNING", Job.dag_id == strike.dag_id)
    return session.scalars(
        select(Job)
        .where(or_(Job.id.in_(with_files), is_running))
        .order_by(Job.id)
        .with_for_update(of=Job)
        .execution_options(populate_existing=True)
    ).all()


def _new_batch(session: Session, strike: Strike, task: TaskTry) -> JobExecution | None:
    """Begin a job with the files that have waited longest."""
    ingests = session.scalars(
        select(Ingest)
        .where(is_due(strike.id), Ingest.status.in_(("QUEUED", "ERRORED")))
        .order_by(Ingest.transfer_ended, Ingest.id)
        .limit(BATCH)
        .with_for_update(of=Ingest)
    ).all()
    usable = _with_active_workspace(session, ingests)
    if not usable:
        return None
    description = {
        "version": "1.0",
        "strike_id": strike.id,
        "strike_name": strike.name,
        "file_names": [ingest.file_name for ingest in usable],
    }
    job, execution = system_jobs.start_job(
        session,
        system_jobs.INGEST,
        event=record_event(session, "STRIKE_TRANSFER", description),
        data={
            "version": "1.0",
            "input_data": [{"name": "Ingest ID", "value": ",".join(str(each.id) for each in usable)}],
        },
        dag_id=strike.dag_id,
        task_id=INGEST_TASK_ID,
    )
    _bind(execution, task)
    now = utcnow()
    for ingest in usable:
        ingest.job_id = job.id
        ingest.status = "INGESTING"
        ingest.ingest_started = now
        ingest.checksum = None
        ingest.retry_at = None
    session.flush()
    return execution


def _with_active_workspace(session: Session, ingests: Sequence[Ingest]) -> list[Ingest]:
    """Return the files whose workspace takes files; the others wait."""
    active = set(
        session.scalars(
            select(Workspace.id).where(
                Workspace.id.in_({ingest.workspace_id for ingest in ingests}), Workspace.is_active
            )
        )
    )
    usable = []
    for ingest in ingests:
        if ingest.workspace_id in active:
            usable.append(ingest)
        else:
            ingest.message = "Its workspace is not active."
            ingest.retry_at = utcnow() + _WORKSPACE_RETRY
    return usable


def _bind(execution: JobExecution, task: TaskTry) -> None:
    execution.task_instance_id = task.id
    execution.try_number = task.try_number


def _workspaces(session: Session, ingests: Iterable[Ingest]) -> tuple[WorkspaceRef, ...]:
    wanted = {ingest.workspace_id for ingest in ingests}
    found = session.scalars(select(Workspace).where(Workspace.id.in_(wanted)).order_by(Workspace.id))
    return tuple(WorkspaceRef(each.id, each.name, each.json_config) for each in found)
