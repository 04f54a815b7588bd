# SPDX-License-Identifier: Apache-2.0
"""What a job waits for, in words: as it was told when it asked last, or as the queue stands now."""

from __future__ import annotations

from sqlalchemy import func, literal, or_, select, tuple_
from sqlalchemy.orm import Session

from scale_airflow.store.models import Job, JobType, QueueEntry, Scheduler

#: Further than this nobody counts.
_MANY = 1000


def why(session: Session, job: Job) -> str | None:
    """Return what a job waits for, None for one that waits for nothing."""
    if job.status != "QUEUED":
        return job.why
    return (
        _pause(session, job.job_type)
        or job.why
        or _full(session, job.job_type)
        or (
            _turn(session, job)
            if job.dispatched is None
            else "Airflow has its task, which waits for a worker."
        )
    )


def _pause(session: Session, job_type: JobType) -> str | None:
    if session.scalar(select(Scheduler.is_paused).where(Scheduler.id == 1)):
        return "The scheduler is paused."
    if job_type.is_paused:
        return f"Job type {job_type.name} {job_type.version} is paused."
    return None


def _full(session: Session, job_type: JobType) -> str | None:
    if job_type.max_scheduled is None:
        return None
    running = session.scalar(
        select(func.count()).where(
            Job.job_type_id == job_type.id, Job.dispatched.is_not(None), Job.status == "RUNNING"
        )
    )
    if running is None or running < job_type.max_scheduled:
        return None
    return f"{running} jobs of type {job_type.name} {job_type.version} run, which is its max_scheduled."


def _turn(session: Session, job: Job) -> str:
    """Say how much of the queue comes before a job, or before its recipe."""
    mine = QueueEntry.job_id == job.id
    if job.recipe_id is not None:
        mine = or_(mine, QueueEntry.recipe_id == job.recipe_id)
    entry = session.execute(
        select(QueueEntry.priority, QueueEntry.queued, QueueEntry.id).where(mine).limit(1)
    ).one_or_none()
    if entry is None:
        return "It is on its way into Airflow."
    order = tuple_(QueueEntry.priority, QueueEntry.queued, QueueEntry.id)
    here = tuple_(literal(entry.priority), literal(entry.queued), literal(entry.id))
    before = select(QueueEntry.id).where(order < here).limit(_MANY).subquery()
    count = session.scalar(select(func.count()).select_from(before)) or 0
    if count == 0:
        return "It is the next in the queue, which waits for a free place in Airflow."
    shown = f"{count} or more" if count == _MANY else str(count)
    return f"It waits for its turn: {shown} in the queue come{'s' if count == 1 else ''} before it."
