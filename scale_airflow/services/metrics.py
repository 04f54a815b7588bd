# SPDX-License-Identifier: Apache-2.0
"""Metrics of one day (specification: Metrics Services): worked out from what came to its end on that day.

Jobs belong to the UTC day of their ``ended``, ingests to that of their ``ingest_ended``. Working a day out
again replaces its rows; from the same jobs it makes the same rows, to the microsecond.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Subquery,
    Table,
    and_,
    case,
    cast,
    extract,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.orm import Session

from scale_airflow.definitions.metrics import INGESTS, JOB_TYPES, MetricsColumn, MetricsType
from scale_airflow.services.lookup import lock_name
from scale_airflow.store.models import Ingest, Job, JobExecution, ingest_metrics, job_type_metrics

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the metrics of a type come from, and where they are kept.

    :param choice: the column that names the choice, in the table of metrics as in the rows it is made from.
    :param rows: selects what ended from a moment up to, but not at, another one: its choice, its ``status``,
        and each measured quantity; times in microseconds.
    """

    kind: MetricsType
    table: Table
    choice: str
    rows: Callable[[datetime, datetime], Select[Any]]

    def replace(self, session: Session, day: date) -> int:
        """Work a day out and replace its rows; return how many things were counted."""
        started = datetime.combine(day, time(), timezone.utc)
        found = self.rows(started, started + ONE_DAY).subquery()
        choice = found.c[self.choice]
        columns = self.kind.columns
        values = [self._value(column, found) for column in columns]
        # The row without a choice, of all together, is there even where nothing is to be counted.
        counted = select(literal(day), choice, *values).group_by(func.grouping_sets(choice, text("()")))
        session.execute(self.table.delete().where(self.table.c.day == day))
        names = ["day", self.choice, *(column.name for column in columns)]
        session.execute(insert(self.table).from_select(names, counted))
        overall = and_(self.table.c.day == day, self.table.c[self.choice].is_(None))
        return int(session.execute(select(self.table.c.total_count).where(overall)).scalar_one())

    def _value(self, column: MetricsColumn, found: Subquery) -> ColumnElement[Any]:
        if column.name == "total_count":
            return func.count()
        if column.is_count:
            return self._count(found, column.name.removesuffix("_count").upper())
        quantity = found.c[column.group]
        match column.aggregate:
            case "sum":
                return cast(func.coalesce(func.sum(quantity), 0), BigInteger)
            case "avg":
                done = func.nullif(self._count(found, self.kind.done), 0)
                return cast(func.round(func.sum(quantity) / done), BigInteger)
            case aggregate:
                return func.min(quantity) if aggregate == "min" else func.max(quantity)

    def _count(self, found: Subquery, status: str) -> ColumnElement[int]:
        return func.count().filter(found.c.status == status)


def _microseconds(later: Any, earlier: Any) -> ColumnElement[int]:
    return cast(func.round(extract("epoch", later - earlier) * 1_000_000), BigInteger)


def _jobs(started: datetime, ended: datetime) -> Select[Any]:
    exe = JobExecution
    run = _microseconds(exe.ended, exe.started)
    tasks = {
        "pre_time": _microseconds(exe.pre_completed, exe.pre_started),
        "job_time": _microseconds(exe.job_completed, exe.job_started),
        "post_time": _microseconds(exe.post_completed, exe.post_started),
    }
    between = run
    for spent in tasks.values():
        between -= func.coalesce(spent, 0)
    times = {
        "queue_time": _microseconds(exe.started, exe.queued),
        **tasks,
        "run_time": run,
        # greatest() ignores nulls, but what has no run time has no stage time either.
        "stage_time": case((run.is_not(None), func.greatest(between, 0))),
    }
    completed = and_(exe.job_id == Job.id, exe.exe_num == Job.num_exes, exe.status == JOB_TYPES.done)
    return (
        select(Job.job_type_id, Job.status, *(value.label(name) for name, value in times.items()))
        .outerjoin(exe, and_(completed, Job.status == JOB_TYPES.done))
        .where(Job.ended >= started, Job.ended < ended, Job.status.in_(JOB_TYPES.counted))
    )


def _ingests(started: datetime, ended: datetime) -> Select[Any]:
    measured = {
        "file_size": Ingest.file_size,
        "transfer_time": _microseconds(Ingest.transfer_ended, Ingest.transfer_started),
        "ingest_time": _microseconds(Ingest.ingest_ended, Ingest.ingest_started),
    }
    is_done = Ingest.status == INGESTS.done
    return select(
        Ingest.strike_id,
        Ingest.status,
        *(case((is_done, value)).label(name) for name, value in measured.items()),
    ).where(Ingest.ingest_ended >= started, Ingest.ingest_ended < ended, Ingest.status.in_(INGESTS.counted))


SOURCES: dict[str, Source] = {
    INGESTS.name: Source(INGESTS, ingest_metrics, "strike_id", _ingests),
    JOB_TYPES.name: Source(JOB_TYPES, job_type_metrics, "job_type_id", _jobs),
}
"""Where the metrics of each type come from, by its name."""


def compute_day(session: Session, day: date) -> dict[str, int]:
    """Work out the metrics of a day, of all types, in place of what was there.

    :returns: how many things were counted, by the name of the type.
    """
    lock_name(session, "metrics", day.isoformat())
    return {name: source.replace(session, day) for name, source in SOURCES.items()}


def missing_days(session: Session, today: date) -> list[date]:
    """Return the days before this one whose metrics were not worked out yet, since there was anything."""
    first = _first_day(session)
    if first is None:
        return []
    overall = job_type_metrics.c.job_type_id.is_(None)
    done = set(
        session.scalars(select(job_type_metrics.c.day).where(overall, job_type_metrics.c.day >= first))
    )
    days = (first + timedelta(days=number) for number in range((today - first).days))
    return [day for day in days if day not in done]


def _first_day(session: Session) -> date | None:
    """Return the day on which the first job or ingest ended."""
    firsts = [
        session.execute(select(func.min(Job.ended))).scalar(),
        session.execute(select(func.min(Ingest.ingest_ended))).scalar(),
    ]
    days = [first.astimezone(timezone.utc).date() for first in firsts if first is not None]
    return min(days, default=None)
