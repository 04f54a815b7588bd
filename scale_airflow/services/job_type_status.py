# SPDX-License-Identifier: Apache-2.0
"""How the jobs of each type are doing: counts by status, what runs longest, what fails through the system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session, defer, lazyload

from scale_airflow.services.listing import Found, Window, fetch, order_fields, page_offset
from scale_airflow.services.time_ranges import lately
from scale_airflow.store.models import ErrorModel, Job, JobType, utcnow

_BRIEF = (
    defer(JobType.interface),
    defer(JobType.error_mapping),
    defer(JobType.configuration),
    lazyload(JobType.trigger_rule),
)


@dataclass(frozen=True, slots=True)
class JobCount:
    """How many jobs are in a status, the last one since when; ``category`` only of failed ones' errors."""

    status: str
    count: int
    most_recent: datetime
    category: str | None


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """The counts of one job type's jobs."""

    job_type: JobType
    job_counts: Sequence[JobCount]


@dataclass(frozen=True, slots=True)
class RunningType:
    """How many jobs of a type run, and when the one that runs longest was started."""

    job_type: JobType
    count: int
    longest_running: datetime | None


@dataclass(frozen=True, slots=True)
class SystemFailure:
    """How many jobs of a type are FAILED with the same system error."""

    job_type: JobType
    error: ErrorModel
    count: int
    first_error: datetime
    last_error: datetime


def job_counts(
    session: Session, job_type_id: int, hours: Sequence[int] = (6, 12, 24)
) -> dict[int, list[JobCount]]:
    """Return how many jobs of a type came into their status within the last so many hours, by hours."""
    now = utcnow()
    counts = {
        each: func.count().filter(Job.last_status_change >= now - timedelta(hours=each)) for each in hours
    }
    earliest = now - timedelta(hours=max(hours))
    category = _category()
    rows = session.execute(
        select(Job.status, category, func.max(Job.last_status_change), *counts.values())
        .outerjoin(ErrorModel, ErrorModel.id == Job.error_id)
        .where(Job.job_type_id == job_type_id, Job.last_status_change >= earliest)
        .group_by(Job.status, category)
        .order_by(Job.status, category)
    ).all()
    found: dict[int, list[JobCount]] = {each: [] for each in hours}
    for status, of_category, most_recent, *numbers in rows:
        for each, number in zip(hours, numbers, strict=True):
            if number:
                found[each].append(JobCount(status, number, most_recent, of_category))
    return found


def list_status(session: Session, window: Window) -> Found[TypeStatus]:
    """Return a page of all job types, with counts of jobs that run or came into their status in the range.

    :param window: its range is by default the last three hours; RUNNING jobs count whatever the range is.
    :raises InvalidRequest: if the range ends before it starts.
    """
    started = lately(window)
    every: Select[tuple[JobType]] = select(JobType)
    found = fetch(
        session,
        every,
        window,
        fields=order_fields("id", "name", "version"),
        default=("name", "version"),
        options=_BRIEF,
    )
    in_range: ColumnElement[bool] = Job.last_status_change >= started
    if window.ended is not None:
        in_range = and_(in_range, Job.last_status_change <= window.ended)
    counts = _counts(session, [each.id for each in found.items], or_(Job.status == "RUNNING", in_range))
    return Found(found.count, [TypeStatus(each, counts.get(each.id, [])) for each in found.items])


def list_running(session: Session, window: Window) -> Found[RunningType]:
    """Return a page of the job types that have running jobs, the one with the longest running job first."""
    running = (
        select(Job.job_type_id, func.count().label("count"), func.min(Job.started).label("longest_running"))
        .where(Job.status == "RUNNING")
        .group_by(Job.job_type_id)
        .subquery()
    )
    query = (
        select(JobType, running.c.count, running.c.longest_running)
        .join(running, running.c.job_type_id == JobType.id)
        .order_by(running.c.longest_running, JobType.id)
        .options(*_BRIEF)
    )
    total, rows = _page(session, query, window)
    return Found(total, [RunningType(*row) for row in rows])


def list_system_failures(session: Session, window: Window) -> Found[SystemFailure]:
    """Return a page of job types and system errors that jobs of theirs are FAILED with, the latest first."""
    failed = (
        select(
            Job.job_type_id,
            Job.error_id,
            func.count().label("count"),
            func.min(Job.last_status_change).label("first_error"),
            func.max(Job.last_status_change).label("last_error"),
        )
        .join(ErrorModel, ErrorModel.id == Job.error_id)
        .where(Job.status == "FAILED", ErrorModel.category == "SYSTEM")
        .group_by(Job.job_type_id, Job.error_id)
        .subquery()
    )
    query = (
        select(JobType, ErrorModel, failed.c.count, failed.c.first_error, failed.c.last_error)
        .join(failed, failed.c.job_type_id == JobType.id)
        .join(ErrorModel, ErrorModel.id == failed.c.error_id)
        .order_by(failed.c.last_error.desc(), JobType.id, ErrorModel.id)
        .options(*_BRIEF)
    )
    total, rows = _page(session, query, window)
    return Found(total, [SystemFailure(*row) for row in rows])


def _category() -> ColumnElement[str | None]:
    """The category of the error that a job is FAILED with; a job that was queued again keeps none."""
    return case((Job.status == "FAILED", ErrorModel.category), else_=None)


def _counts(
    session: Session, job_type_ids: Sequence[int], condition: ColumnElement[bool]
) -> dict[int, list[JobCount]]:
    """Return by type how many of its jobs meet a condition, by status."""
    category = _category()
    rows = session.execute(
        select(Job.job_type_id, Job.status, func.count(), func.max(Job.last_status_change), category)
        .outerjoin(ErrorModel, ErrorModel.id == Job.error_id)
        .where(Job.job_type_id.in_(job_type_ids), condition)
        .group_by(Job.job_type_id, Job.status, category)
        .order_by(Job.job_type_id, Job.status, category)
    ).all()
    found: dict[int, list[JobCount]] = {}
    for job_type_id, status, count, most_recent, of_category in rows:
        found.setdefault(job_type_id, []).append(JobCount(status, count, most_recent, of_category))
    return found


def _page(session: Session, query: Any, window: Window) -> tuple[int, Sequence[Any]]:
    total = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    offset = page_offset(window, total)
    return total, session.execute(query.offset(offset).limit(window.page_size)).all()
