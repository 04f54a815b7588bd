# SPDX-License-Identifier: Apache-2.0
"""What waits in the queue, by job type."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, case, exists, func, select, true
from sqlalchemy.orm import Session

from scale_airflow.services.tallies import queued_by_type
from scale_airflow.store.models import Job, JobType


class QueueStatus(NamedTuple):
    """One row of the queue's status: what of one job type waits."""

    job_type_name: str
    job_type_version: str
    waiting: int
    longest_queued: datetime
    highest_priority: int
    is_job_type_paused: bool


def queue_status(session: Session) -> list[QueueStatus]:
    """Return what waits per job type, the most urgent and then the longest waiting first."""
    return [QueueStatus._make(row) for row in session.execute(_STATUS)]


def _status() -> Select[Any]:
    """Return the statement of the queue's status: two looks into an index a type, however many wait.

    The jobs of a type mostly have the same priority: the first of them has waited longest then.
    """
    waiting = queued_by_type()
    of_type = (Job.job_type_id == waiting.c.job_type_id, Job.status == "QUEUED")
    first = select(Job.priority, Job.queued).where(*of_type).order_by(Job.priority, Job.queued).limit(1)
    head = first.correlate(waiting).lateral("head")
    is_less_urgent = exists().where(*of_type, Job.priority > head.c.priority)
    oldest = select(func.min(Job.queued)).where(*of_type).correlate(waiting).scalar_subquery()
    longest_queued = case((is_less_urgent, oldest), else_=head.c.queued).label("longest_queued")
    return (
        select(
            JobType.name,
            JobType.version,
            waiting.c.count,
            longest_queued,
            head.c.priority,
            JobType.is_paused,
        )
        .select_from(waiting)
        .join(JobType, JobType.id == waiting.c.job_type_id)
        .join(head, true())
        .order_by(head.c.priority, longest_queued)
    )


_STATUS = _status()
