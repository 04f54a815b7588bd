# SPDX-License-Identifier: Apache-2.0
"""Metrics as they are asked for: their types, the choices of each, and values to plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timezone
from typing import Any

from sqlalchemy import BigInteger, Select, Table, and_, cast, func, literal, null, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, defer, lazyload, load_only, selectinload

from scale_airflow.definitions.faults import nearest, quote
from scale_airflow.definitions.metrics import JOB_TYPES, METRICS_TYPES, MetricsColumn, MetricsType
from scale_airflow.errors import Fault, InvalidRequest, NotFound
from scale_airflow.services.listing import Found, Window, among, one_page, range_faults, refuse
from scale_airflow.services.metrics import SOURCES
from scale_airflow.services.work_lists import JOB_TYPE_FIELDS, job_type_brief_form
from scale_airflow.store.models import Job, JobType, Strike

MAX_VALUES = 1_000_000
"""How many values one answer holds at most."""

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class PlotFilter:
    """Which values are meant; what is empty does not filter.

    :param choice_ids: each of these has a value of its own for each day; without any, one stands for all.
    :param columns: names of columns.
    :param groups: names of groups: all their columns, besides those that are named.
    """

    choice_ids: Sequence[int] = ()
    columns: Sequence[str] = ()
    groups: Sequence[str] = ()

    @property
    def is_of_several(self) -> bool:
        """Whether the values of more than one choice are asked for, so that each must say whose it is."""
        return len(set(self.choice_ids)) > 1


@dataclass(frozen=True, slots=True)
class PlotValue:
    """One value; ``choice_id`` is None for all choices together."""

    choice_id: int | None
    day: date
    value: int


@dataclass(frozen=True, slots=True)
class PlotData:
    """The values of one column, the oldest first."""

    column: MetricsColumn
    values: Sequence[PlotValue]


def metrics_type(name: str) -> MetricsType:
    """Return the metrics type of this name.

    :raises NotFound: if there is none.
    """
    for kind in METRICS_TYPES:
        if kind.name == name:
            return kind
    known = ", ".join(kind.name for kind in METRICS_TYPES)
    raise NotFound(f"There are no metrics {quote(name)}. There are: {known}.")


def choices(session: Session, kind: MetricsType) -> Sequence[JobType] | Sequence[Strike]:
    """Return what the metrics of a type can be asked of: all job types, or all Strike processes."""
    if kind is JOB_TYPES:
        form = (
            lazyload(JobType.trigger_rule),
            load_only(*(getattr(JobType, name) for name in JOB_TYPE_FIELDS)),
        )
        return session.scalars(select(JobType).order_by(JobType.name, JobType.version).options(*form)).all()
    return session.scalars(select(Strike).order_by(Strike.name).options(*STRIKE_FORM)).all()


STRIKE_FORM = (
    defer(Strike.configuration),
    selectinload(Strike.job).options(defer(Job.data), defer(Job.results), job_type_brief_form(Job.job_type)),
)
"""Loads what the form of a Strike process inside of something else shows."""


def plot_data(session: Session, kind: MetricsType, wanted: PlotFilter, window: Window) -> Found[PlotData]:
    """Return a page of columns with their values; the window's range is of days, both ends included.

    Days whose metrics were not worked out have no values. Where nothing was measured, a sum is 0 and there is
    no minimum, maximum or average.

    :raises InvalidRequest: for an unknown column or group, a page past the end, or too many values.
    """
    refuse([*range_faults(window), *filter_faults(kind, wanted)])
    page = one_page(_columns(kind, wanted), window)
    names = [column.name for column in page.items]
    days = _days(kind, window)
    _require_few(session, days, wanted, len(names))
    rows = session.execute(_statement(kind, wanted, window, days, names)).all()
    found = []
    for position, column in enumerate(page.items, start=2):
        # Sums are exact in the database; as Scale had it, answers have whole seconds.
        unit = MICROSECONDS if column.units == "seconds" else 1
        values = [
            PlotValue(row[0], row[1], _rounded(row[position], unit))
            for row in rows
            if row[position] is not None
        ]
        found.append(PlotData(column, values))
    return Found(page.count, found)


def filter_faults(kind: MetricsType, wanted: PlotFilter) -> list[Fault]:
    """Return which columns and groups there are none of among the metrics of a type."""
    faults = []
    for parameter, given, known in (
        ("column", wanted.columns, [column.name for column in kind.columns]),
        ("group", wanted.groups, [group.name for group in kind.groups]),
    ):
        for name in dict.fromkeys(given):
            if name not in known:
                near = nearest(name, known)
                hint = f" Did you mean {quote(near)}?" if near else ""
                listed = ", ".join(known)
                message = (
                    f"The metrics {kind.name} have no {parameter} {quote(name)}.{hint} They have: {listed}."
                )
                faults.append(Fault(parameter, message))
    return faults


def _columns(kind: MetricsType, wanted: PlotFilter) -> list[MetricsColumn]:
    if not wanted.columns and not wanted.groups:
        return list(kind.columns)
    return [each for each in kind.columns if each.name in wanted.columns or each.group in wanted.groups]


def _days(kind: MetricsType, window: Window) -> Any:
    """Choose the rows that stand for whole days in the window."""
    source = SOURCES[kind.name]
    table = source.table
    return _in_range(select(table).where(table.c[source.choice].is_(None)), table, window).subquery("days")


def _in_range(statement: Select[Any], table: Table, window: Window) -> Select[Any]:
    if window.started is not None:
        statement = statement.where(table.c.day >= window.started.astimezone(timezone.utc).date())
    if window.ended is not None:
        statement = statement.where(table.c.day <= window.ended.astimezone(timezone.utc).date())
    return statement


def _require_few(session: Session, days: Any, wanted: PlotFilter, columns: int) -> None:
    """Refuse a request for more values than an answer may hold.

    :raises InvalidRequest: saying how to ask for fewer.
    """
    choices = len(set(wanted.choice_ids)) or 1
    count = (session.execute(select(func.count()).select_from(days)).scalar() or 0) * choices * columns
    if count > MAX_VALUES:
        message = (
            f"These are up to {count:,} values; an answer holds {MAX_VALUES:,}. Ask for a shorter time, for "
            "fewer columns (or a smaller page of them), or for fewer choices."
        )
        raise InvalidRequest(message, [Fault("started", message)])


def _statement(kind: MetricsType, wanted: PlotFilter, window: Window, days: Any, names: Sequence[str]) -> Any:
    source = SOURCES[kind.name]
    if not wanted.choice_ids:
        values = [days.c[name] for name in names]
        return select(null(), days.c.day, *values).order_by(days.c.day)
    table: Table = source.table
    model: Any = JobType if kind is JOB_TYPES else Strike
    ids = set(wanted.choice_ids)
    # Said once more here: through the outer join the planner would not see that these rows alone are needed.
    chosen = select(table).where(table.c[source.choice] == func.any(cast(list(ids), ARRAY(BigInteger))))
    rows = _in_range(chosen, table, window).subquery("of_choices")
    zero = {column.name for column in kind.columns if column.is_count or column.aggregate == "sum"}
    values = [func.coalesce(rows.c[name], 0) if name in zero else rows.c[name] for name in names]
    return (
        select(model.id, days.c.day, *values)
        .select_from(days)
        .join(model, literal(True))
        .outerjoin(rows, and_(rows.c[source.choice] == model.id, rows.c.day == days.c.day))
        .where(among(model.id, ids))
        .order_by(days.c.day, model.id)
    )


def _rounded(value: int, unit: int) -> int:
    return (2 * int(value) + unit) // (2 * unit)
