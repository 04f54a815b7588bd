# SPDX-License-Identifier: Apache-2.0
"""How much each Strike process has brought in, hour by hour (specification: Ingest Status)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.services.listing import Found, Window, page_offset
from scale_airflow.services.plot_data import STRIKE_FORM
from scale_airflow.services.time_ranges import month_at_most
from scale_airflow.store.models import Ingest, ScaleFile, Strike

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class HourOfIngests:
    """How many files, of how many bytes, there were in the hour that begins at ``time``."""

    time: datetime
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """What a Strike process has ingested in a time range.

    :param most_recent: when it last completed an ingest, whenever that was; None if it never did.
    :param values: one for each hour of the range, zeros included.
    """

    strike: Strike
    most_recent: datetime | None
    files: int
    size: int
    values: Sequence[HourOfIngests]


def list_ingest_status(session: Session, window: Window, *, use_ingest_time: bool) -> Found[IngestStatus]:
    """Return a page of the Strike processes, with what each has INGESTED in the window's range.

    :param use_ingest_time: whether a file counts at the time when it was ingested; else at the time when its
        data was collected, and not at all where that is not known.
    :raises InvalidRequest: if the range is longer than 31 days, or for a page past the end.
    """
    started, ended = month_at_most(window)
    count = session.scalar(select(func.count()).select_from(Strike)) or 0
    offset = page_offset(window, count)
    strikes = session.scalars(
        select(Strike).order_by(Strike.id).offset(offset).limit(window.page_size).options(*STRIKE_FORM)
    ).all()
    ids = [strike.id for strike in strikes]
    hours = _hours(session, ids, started, ended, use_ingest_time=use_ingest_time)
    recent = _most_recent(session, ids)
    return Found(
        count,
        [
            _status(strike, recent.get(strike.id), hours.get(strike.id, {}), started, ended)
            for strike in strikes
        ],
    )


def _hours(
    session: Session, strike_ids: Sequence[int], started: datetime, ended: datetime, *, use_ingest_time: bool
) -> dict[int, dict[datetime, tuple[int, int]]]:
    """Return files and bytes by Strike process and hour; hours without files are left out."""
    moment: Any = Ingest.ingest_ended if use_ingest_time else ScaleFile.data_started
    hour = func.date_trunc("hour", func.timezone("UTC", moment))
    query = select(Ingest.strike_id, hour, func.count(), func.coalesce(func.sum(Ingest.file_size), 0)).where(
        Ingest.status == "INGESTED", Ingest.strike_id.in_(strike_ids), moment.between(started, ended)
    )
    if not use_ingest_time:
        query = query.join(ScaleFile, ScaleFile.id == Ingest.source_file_id).where(ScaleFile.kind == "SOURCE")
    found: dict[int, dict[datetime, tuple[int, int]]] = {}
    for strike_id, time, files, size in session.execute(query.group_by(Ingest.strike_id, hour)):
        found.setdefault(strike_id, {})[time.replace(tzinfo=timezone.utc)] = (files, int(size))
    return found


def _most_recent(session: Session, strike_ids: Sequence[int]) -> dict[int, datetime]:
    latest = select(func.max(Ingest.ingest_ended)).where(Ingest.strike_id == Strike.id).scalar_subquery()
    rows = session.execute(select(Strike.id, latest).where(Strike.id.in_(strike_ids)))
    return {strike_id: moment for strike_id, moment in rows if moment is not None}


def _status(
    strike: Strike,
    most_recent: datetime | None,
    hours: dict[datetime, tuple[int, int]],
    started: datetime,
    ended: datetime,
) -> IngestStatus:
    first = started.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
    slots = [first + number * _HOUR for number in range((ended - first) // _HOUR + 1)]
    values = [HourOfIngests(hour, *hours.get(hour, (0, 0))) for hour in slots]
    return IngestStatus(
        strike,
        most_recent,
        sum(value.files for value in values),
        sum(value.size for value in values),
        values,
    )
