# SPDX-License-Identifier: Apache-2.0
"""What all lists have in common: a window of time and pages, an order by the answer's fields, a count.

A list is a ``select`` of one mapped class with its filters. Filters on related things are sub-selects of
their ids, so that counting joins nothing. What an answer shows of related things is loaded with options on
the statement; ordering by a field of theirs joins them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, cast, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from scale_airflow.definitions.faults import nearest, quote
from scale_airflow.errors import Fault, InvalidRequest

T = TypeVar("T")
OrderField = str | ColumnElement[Any]
"""What a field of an answer is in the database: the path of an attribute, or a column."""

MAX_ORDER = 20
_MOST_TOLD = 3


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list is wanted.

    :param page: from 1 on.
    :param page_size: results on a page.
    :param started: only what is from then on; which moment of a thing counts is the list's own business.
    :param ended: only what is up to then.
    :param order: names of the answer's fields, ``__`` before a nested one, a leading ``-`` to reverse.
    """

    page: int = 1
    page_size: int = 100
    started: datetime | None = None
    ended: datetime | None = None
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """One page of a list, and how many there are on all pages."""

    count: int
    items: Sequence[T]


def order_fields(*own: str, **nested: Iterable[str]) -> dict[str, str]:
    """Return the fields that a list can be ordered by: the name in the answer → the mapped attribute's path.

    Own fields are attributes of the listed class, nested ones of what its relationship leads to; a deeper
    level is written with ``__``. The name of a nested object alone orders by its id, on any level.

    >>> order_fields("id", "status", job_type=("id", "name"))["job_type__name"]
    'job_type__name'
    """
    fields = {name: name for name in own}
    for relation, names in nested.items():
        fields[relation] = f"{relation}__id"
        for name in names:
            path = f"{relation}__{name}"
            fields[path] = path
            if name.endswith("__id"):
                fields.setdefault(path.removesuffix("__id"), path)
    return fields


def within(
    statement: Select[Any], moment: InstrumentedAttribute[Any] | ColumnElement[Any], window: Window
) -> Select[Any]:
    """Keep what has its ``moment`` between the window's start and end, both included."""
    if window.started is not None:
        statement = statement.where(moment >= window.started)
    if window.ended is not None:
        statement = statement.where(moment <= window.ended)
    return statement


def range_faults(window: Window) -> list[Fault]:
    """Return what is wrong with the window's range, if anything is."""
    if window.started is None or window.ended is None or window.started < window.ended:
        return []
    return [Fault("started", "The time range must start before it ends.")]


def order_faults(window: Window, fields: Collection[str]) -> list[Fault]:
    """Return what is wrong with the window's order, if anything is.

    :param fields: the names of what may be ordered by.
    """
    faults = []
    for name in window.order[: MAX_ORDER + 1]:
        bare = name.removeprefix("-")
        if bare not in fields:
            near = nearest(bare, fields)
            hint = f" Did you mean {quote(near)}?" if near else ""
            known = ", ".join(sorted(fields))
            message = f"There is no field {quote(bare)} to order by.{hint} The fields are: {known}."
            faults.append(Fault("order", message))
    if len(window.order) > MAX_ORDER:
        faults.append(Fault("order", f"At most {MAX_ORDER} fields can be ordered by."))
    return faults


def refuse(faults: Sequence[Fault]) -> None:
    """Raise :class:`InvalidRequest` with what is wrong with a request, if anything is."""
    if faults:
        raise InvalidRequest(" ".join(fault.message for fault in faults[:_MOST_TOLD]), faults)


def among(column: InstrumentedAttribute[Any], ids: Iterable[int]) -> ColumnElement[bool]:
    """Return the condition that an id is one of these: one parameter, however many they are."""
    kind = ARRAY(BigInteger)
    return column == func.any(cast(bindparam(None, list(ids), type_=kind, unique=True), kind))


def fetch(
    session: Session,
    statement: Select[tuple[T]],
    window: Window,
    *,
    fields: Mapping[str, OrderField],
    default: Sequence[str],
    options: Sequence[Any] = (),
    total: Select[Any] | None = None,
) -> Found[T]:
    """Return one page of what ``statement`` selects, and the exact count of all.

    :param statement: selects one mapped class that has an ``id``; filters, but no joins and no order.
    :param fields: what may be ordered by, from :func:`order_fields`.
    :param default: the order when none is asked for, as in :attr:`Window.order`.
    :param options: loader options for what the answer shows of related things.
    :param total: selects the exact count; without it what ``statement`` selects is counted.
    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    names = order_of(window, fields, default)
    if total is None:
        total = statement.with_only_columns(func.count(), maintain_column_froms=True)
    count = session.scalar(total) or 0
    offset = page_offset(window, count)
    if not count:
        return Found(0, ())
    ordered = in_order(statement, names, fields).options(*options)
    rows = session.scalars(ordered.offset(offset).limit(window.page_size)).unique().all()
    return Found(count, rows)


def page_offset(window: Window, count: int) -> int:
    """Return how many results come before the window's page.

    :raises InvalidRequest: if the page is past the end; page 1 of nothing is not.
    """
    offset = (window.page - 1) * window.page_size
    if offset and offset >= count:
        last = max(1, -(-count // window.page_size))
        message = f"Page {window.page} is past the end; the last page is {last}."
        raise InvalidRequest(message, [Fault("page", message)])
    return offset


def one_page(items: Sequence[T], window: Window) -> Found[T]:
    """Return the window's page of a list that is in memory already.

    :raises InvalidRequest: if the page is past the end.
    """
    offset = page_offset(window, len(items))
    return Found(len(items), items[offset : offset + window.page_size])


def order_of(window: Window, fields: Mapping[str, OrderField], default: Sequence[str]) -> tuple[str, ...]:
    """Return the names to order by: the window's, or the default ones.

    :raises InvalidRequest: naming the fields that exist, if one does not; also if the window's range ends
        before it starts.
    """
    refuse([*range_faults(window), *order_faults(window, fields)])
    return tuple(dict.fromkeys(window.order or default))


def in_order(statement: Select[Any], names: Sequence[str], fields: Mapping[str, OrderField]) -> Select[Any]:
    """Return the statement ordered by the named fields, and by the id of its first class at the end."""
    return _Order(statement, fields).by(names)


class _Order:
    """Adds an order to a statement, with the joins that nested fields need."""

    def __init__(self, statement: Select[Any], fields: Mapping[str, OrderField]):
        self.statement = statement
        self.fields = fields
        self.entity: Any = statement.column_descriptions[0]["entity"]
        self._joined: dict[str, Any] = {}

    def by(self, names: Sequence[str]) -> Select[Any]:
        clauses = []
        descending = False
        for name in names:
            descending = name.startswith("-")
            bare = name.removeprefix("-")
            field = self.fields[bare]
            column = self._column(field) if isinstance(field, str) else field
            clauses.append(column.desc() if descending else column.asc())
        # The id makes the order total, in the last field's direction: so one index serves both.
        clauses.append(self.entity.id.desc() if descending else self.entity.id.asc())
        return self.statement.order_by(*clauses)

    def _column(self, path: str) -> Any:
        *relations, attribute = path.split("__")
        entity, walked = self.entity, ""
        for relation in relations:
            walked += f"__{relation}"
            link = getattr(entity, relation)
            if walked not in self._joined:
                target = aliased(link.property.mapper.class_)
                self.statement = self.statement.outerjoin(link.of_type(target))
                self._joined[walked] = target
            entity = self._joined[walked]
        return getattr(entity, attribute)
