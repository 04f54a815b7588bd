# SPDX-License-Identifier: Apache-2.0
"""How the jobs of each type are doing: counts by status, what runs longest, what fails through the system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    Select,
    Text,
    cast,
    column,
    func,
    literal,
    null,
    select,
    true,
    union_all,
    values,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, defer, lazyload

from scale_airflow.services.listing import (
    Found,
    Window,
    fetch,
    order_faults,
    order_fields,
    page_offset,
    refuse,
)
from scale_airflow.services.time_ranges import lately, lately_faults
from scale_airflow.store.models import JOB_STATUSES, ErrorModel, Job, JobType, utcnow

# Only what is FAILED has an error's category: a job that was queued again keeps none.
_NOT_FAILED = tuple(status for status in JOB_STATUSES if status != "FAILED")
_NO_CATEGORY = cast(null(), Text)
STATUS_FIELDS = order_fields("id", "name", "version")
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
    earliest = now - timedelta(hours=max(hours))
    counts = [
        func.count().filter(Job.last_status_change >= now - timedelta(hours=each)).label(f"h{each}")
        for each in hours
    ]
    of_type = select(Job.status, func.max(Job.last_status_change), *counts).where(
        Job.job_type_id == job_type_id, Job.last_status_change >= earliest
    )
    # Of all but failed jobs an index alone knows everything.
    others = of_type.where(Job.status.in_(_NOT_FAILED)).group_by(Job.status).add_columns(_NO_CATEGORY)
    failed = (
        of_type.where(Job.status == "FAILED")
        .outerjoin(ErrorModel, ErrorModel.id == Job.error_id)
        .group_by(Job.status, ErrorModel.category)
        .add_columns(ErrorModel.category)
    )
    found: dict[int, list[JobCount]] = {each: [] for each in hours}
    for status, most_recent, *numbers, category in session.execute(union_all(others, failed)):
        for each, number in zip(hours, numbers, strict=True):
            if number:
                found[each].append(JobCount(status, number, most_recent, category))
    return {each: sorted(those, key=_place) for each, those in found.items()}


def list_status(session: Session, window: Window) -> Found[TypeStatus]:
    """Return a page of all job types, with counts of jobs that run or came into their status in the range.

    :param window: its range is by default the last three hours; RUNNING jobs count whatever the range is.
    :raises InvalidRequest: if the range ends before it starts.
    """
    refuse([*lately_faults(window), *order_faults(window, STATUS_FIELDS)])
    every: Select[tuple[JobType]] = select(JobType)
    found = fetch(
        session,
        every,
        window,
        fields=STATUS_FIELDS,
        default=("name", "version"),
        options=_BRIEF,
    )
    counts = _counts(session, [each.id for each in found.items], lately(window), window.ended)
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


def _place(row: JobCount) -> tuple[str, bool, str]:
    return row.status, row.category is None, row.category or ""


def _counts(
    session: Session, job_type_ids: Sequence[int], started: datetime, ended: datetime | None
) -> dict[int, list[JobCount]]:
    """Return by type how many of its jobs run, or came into their status in the range, by status.

    A few looks into one index for each type and status: what else there is costs nothing.
    """
    whole = (datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc))
    asked = (started, ended or whole[1])
    types = select(func.unnest(cast(list(job_type_ids), ARRAY(BigInteger))).label("id")).subquery("types")
    ranges = values(
        column("status", Text),
        column("first", DateTime(timezone=True)),
        column("last", DateTime(timezone=True)),
        name="ranges",
    ).data([(status, *(whole if status == "RUNNING" else asked)) for status in _NOT_FAILED])
    totals = select(func.count().label("count"), func.max(Job.last_status_change).label("most_recent")).where(
        Job.job_type_id == types.c.id
    )
    others = totals.where(
        Job.status == ranges.c.status, Job.last_status_change.between(ranges.c.first, ranges.c.last)
    ).lateral("others")
    failed = (
        totals.add_columns(ErrorModel.category)
        .outerjoin(ErrorModel, ErrorModel.id == Job.error_id)
        .where(Job.status == "FAILED", Job.last_status_change.between(*asked))
        .group_by(ErrorModel.category)
        .lateral("failed")
    )
    rows = session.execute(
        union_all(
            select(types.c.id, ranges.c.status, others.c.count, others.c.most_recent, _NO_CATEGORY)
            .select_from(types.join(ranges, true()).join(others, true()))
            .where(others.c.count > 0),
            select(types.c.id, literal("FAILED"), *failed.c).select_from(types.join(failed, true())),
        )
    )
    found: dict[int, list[JobCount]] = {}
    for job_type_id, *counted in rows:
        found.setdefault(job_type_id, []).append(JobCount(*counted))
    return {each: sorted(those, key=_place) for each, those in found.items()}


def _page(session: Session, query: Any, window: Window) -> tuple[int, Sequence[Any]]:
    total = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    offset = page_offset(window, total)
    return total, session.execute(query.offset(offset).limit(window.page_size)).all()
