# SPDX-License-Identifier: Apache-2.0
"""Jobs on other systems whose execution is over are ended there too, whatever became of worker and host.

A worker stops its remote job itself. What a worker leaves behind that died, or could not reach the system, is
looked for here by its marker and stopped: once the execution is over, and once more a while later, since a
worker that was given up may have gone on until it heard of it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from scale_airflow.errors import InvalidRequest
from scale_airflow.execution.order import RemoteMark
from scale_airflow.services.backends import remote_of
from scale_airflow.services.logs import kept_output
from scale_airflow.store.models import JobExecution, JobType, RemoteJob, utcnow
from scale_airflow.store.session import transaction

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=10)
"""How long a worker that lives has to stop its job itself."""
SECOND_LOOK = timedelta(minutes=10)
"""How long after an execution's end nothing more can come of it."""
_AGAIN = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(minutes=10)
_FORCE_AFTER = 10
_AT_ONCE = 20
_OVER = ("FAILED", "COMPLETED", "CANCELED")

State = Literal["none", "stopping"]
"""What a look has found: nothing that runs (any more), or a job that was told to stop."""
Look = Callable[["Leftover"], State]


@dataclass(frozen=True, slots=True)
class Leftover:
    """What may still run for an execution that is over.

    :param since: nothing of it is older than this.
    :param force: whether it was asked to stop often enough in vain.
    """

    execution_id: int
    connection: str
    marker: str
    since: datetime
    force: bool


def note(session: Session, job_type: JobType, execution: JobExecution) -> RemoteMark:
    """Record that an execution is about to run on another system; return what its job there is found by.

    :raises InvalidRequest: if the job type was edited meanwhile, so that its job would not be found any more.
    """
    remote = remote_of(job_type)
    known = session.get(RemoteJob, execution.id)
    if remote is None or (known is not None and known.connection != remote.connection):
        raise InvalidRequest(
            f"Job type {job_type.name} {job_type.version} was edited while this job ran on another system "
            f"(connection {known.connection if known else 'unknown'}): requeue it."
        )
    if known is None:
        marker = secrets.token_hex(8)
        known = RemoteJob(
            job_exe_id=execution.id,
            connection=remote.connection,
            marker=marker,
            not_before=utcnow(),
            created=utcnow(),
        )
        session.add(known)
    return RemoteMark(
        known.marker,
        known.created.isoformat(),
        stdout=kept_output(session, execution.id, "stdout"),
        stderr=kept_output(session, execution.id, "stderr"),
    )


def take_due(session: Session) -> list[Leftover]:
    """Return what is to be looked for now; it is not handed out again for a while.

    What has ended by itself, as its worker reported, is forgotten.
    """
    ended_itself = select(JobExecution.id).where(
        or_(
            JobExecution.status == "COMPLETED",
            and_(
                JobExecution.status == "FAILED",
                JobExecution.job_exit_code.is_not(None),
                JobExecution.is_given_up.is_(False),
            ),
        )
    )
    session.execute(
        delete(RemoteJob)
        .where(RemoteJob.job_exe_id.in_(ended_itself))
        .execution_options(synchronize_session=False)
    )
    now = utcnow()
    rows = session.scalars(
        select(RemoteJob)
        .join(JobExecution, JobExecution.id == RemoteJob.job_exe_id)
        .where(JobExecution.status.in_(_OVER), JobExecution.ended < now - GRACE, RemoteJob.not_before <= now)
        .order_by(RemoteJob.not_before, RemoteJob.job_exe_id)
        .limit(_AT_ONCE)
        .with_for_update(of=RemoteJob, skip_locked=True)
    ).all()
    for row in rows:
        row.not_before = now + _AGAIN
    return [
        Leftover(row.job_exe_id, row.connection, row.marker, row.created, row.tries >= _FORCE_AFTER)
        for row in rows
    ]


def record(session: Session, leftover: Leftover, state: State | None, message: str | None = None) -> None:
    """Take note of what a look has found.

    :param state: None if it failed, as ``message`` says.
    """
    row = session.get(RemoteJob, leftover.execution_id, with_for_update=True)
    if row is None:
        return
    now = utcnow()
    row.message = message
    if state == "none":
        ended = session.scalars(
            select(JobExecution.ended).where(JobExecution.id == leftover.execution_id)
        ).one()
        assert ended is not None
        if now >= ended + SECOND_LOOK:
            session.delete(row)
        else:
            row.tries, row.not_before = 0, ended + SECOND_LOOK
        return
    row.tries += 1
    row.not_before = now + min(_AGAIN * (1 if state else row.tries), _LONGEST_PAUSE)


def end_leftovers(look: Look) -> int:
    """Look for everything that is due, each in its own time; return how many looks succeeded.

    The database is not kept waiting meanwhile: what was found is recorded afterwards.
    """
    with transaction() as session:
        if session.scalar(select(RemoteJob.job_exe_id).limit(1)) is None:
            return 0
    with transaction(point="tick.take_remote_jobs") as session:
        due = take_due(session)
    succeeded = 0
    for leftover in due:
        state: State | None = None
        message: str | None = None
        try:
            state = look(leftover)
            succeeded += 1
        except Exception as error:
            # Whatever keeps us from one, the others must be stopped all the same.
            message = f"{type(error).__name__}: {error}"
            log.warning(
                "What execution %s may have left running can't be looked for with the connection %s: %s",
                leftover.execution_id,
                leftover.connection,
                message,
            )
        with transaction(point="tick.record_remote_job") as session:
            record(session, leftover, state, message)
    return succeeded
