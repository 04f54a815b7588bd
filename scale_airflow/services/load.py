# SPDX-License-Identifier: Apache-2.0
"""How much work there is, from hour to hour (specification: Job Load): jobs that wait and run, by type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Select, and_, cast, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from scale_airflow.services.listing import Found, Window, page_offset
from scale_airflow.services.time_ranges import month_at_most
from scale_airflow.services.work_lists import ANY_JOB_TYPE, JobTypeFilter
from scale_airflow.store.models import Job, JobLoad, JobType, Load

_COUNTED = {"pending_count": "PENDING", "queued_count": "QUEUED", "running_count": "RUNNING"}


@dataclass(frozen=True, slots=True)
class LoadCount:
    """How many jobs there were at a moment."""

    measured: datetime
    pending_count: int
    queued_count: int
    running_count: int


def record_load(session: Session, measured: datetime) -> int:
    """Count the jobs that are PENDING, QUEUED and RUNNING now; return how many there are.

    The moment is kept also when there are none, so that no gap is taken for a count that failed. A moment
    that was measured already stays as it is.

    :param measured: the moment to keep the counts under.
    """
    counts = [func.count().filter(Job.status == status).label(name) for name, status in _COUNTED.items()]
    by_type = (
        select(Job.job_type_id, literal(measured).label("measured"), *counts)
        .where(Job.status.in_(_COUNTED.values()))
        .group_by(Job.job_type_id)
    )
    names = ["job_type_id", "measured", *_COUNTED]
    session.execute(insert(JobLoad).from_select(names, by_type).on_conflict_do_nothing())
    sums = [cast(func.coalesce(func.sum(getattr(JobLoad, name)), 0), BigInteger) for name in _COUNTED]
    all_types = select(literal(measured), *sums).where(JobLoad.measured == measured)
    session.execute(insert(Load).from_select(names[1:], all_types).on_conflict_do_nothing())
    kept = session.get_one(Load, measured)
    return kept.pending_count + kept.queued_count + kept.running_count


def list_load(
    session: Session,
    window: Window,
    *,
    job_types: JobTypeFilter = ANY_JOB_TYPE,
    priorities: Sequence[int] = (),
) -> Found[LoadCount]:
    """Return a page of what was counted, the oldest first; each moment has its counts, be they zero.

    :param job_types: count only jobs of these.
    :param priorities: count only jobs of types with one of these priorities.
    :raises InvalidRequest: if the range is longer than 31 days, or for a page past the end.
    """
    started, ended = month_at_most(window)
    in_range = Load.measured.between(started, ended)
    count = session.scalar(select(func.count()).select_from(Load).where(in_range)) or 0
    offset = page_offset(window, count)
    moments = select(Load).where(in_range).order_by(Load.measured).offset(offset).limit(window.page_size)
    chosen = _chosen(job_types, priorities)
    if chosen is None:
        found = session.scalars(moments)
        return Found(
            count,
            [
                LoadCount(row.measured, row.pending_count, row.queued_count, row.running_count)
                for row in found
            ],
        )
    shown = moments.with_only_columns(Load.measured).subquery()
    sums = [func.coalesce(func.sum(getattr(JobLoad, name)), 0) for name in _COUNTED]
    rows = session.execute(
        select(shown.c.measured, *sums)
        .outerjoin(JobLoad, and_(JobLoad.measured == shown.c.measured, JobLoad.job_type_id.in_(chosen)))
        .group_by(shown.c.measured)
        .order_by(shown.c.measured)
    )
    return Found(count, [LoadCount(*row) for row in rows])


def _chosen(job_types: JobTypeFilter, priorities: Sequence[int]) -> Select[tuple[int]] | None:
    """Return a select of the ids of the types that count, or None for all."""
    chosen = job_types.ids_of()
    if priorities:
        chosen = (select(JobType.id) if chosen is None else chosen).where(JobType.priority.in_(priorities))
    return chosen
