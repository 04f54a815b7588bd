# SPDX-License-Identifier: Apache-2.0
"""Pages of source files, products and ingests, and of what happened to files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, defer, joinedload, lazyload, selectinload

from scale_airflow.errors import NotFound
from scale_airflow.services.listing import (
    Found,
    OrderField,
    Window,
    fetch,
    in_order,
    order_fields,
    order_of,
    page_offset,
    within,
)
from scale_airflow.services.lookup import MAX_ID
from scale_airflow.services.tallies import count_of
from scale_airflow.services.work_lists import (
    ANY_JOB_TYPE,
    JOB_TYPE_FIELDS,
    JobTypeFilter,
    job_type_brief_form,
)
from scale_airflow.store.models import FileAncestry, FileTally, Ingest, Job, JobType, ScaleFile, Strike

_FILE = (
    "id",
    "file_name",
    "media_type",
    "file_size",
    "data_type",
    "is_deleted",
    "uuid",
    "created",
    "deleted",
    "data_started",
    "data_ended",
    "geometry",
    "center_point",
    "countries",
    "last_modified",
)
_SOURCE = (*_FILE, "is_parsed", "parsed")
SOURCE_FIELDS = order_fields(*_SOURCE, workspace=("id", "name"))
UPDATE_FIELDS = ("update__action", "update__when")
"""What lists of updates may be ordered by besides what the file has."""
PRODUCT_FIELDS = order_fields(
    *_FILE,
    "is_operational",
    "is_published",
    "published",
    "unpublished",
    workspace=("id", "name"),
    job_type=JOB_TYPE_FIELDS,
    job=("id",),
    job_exe=("id",),
)
INGEST_FIELDS = order_fields(
    "id",
    "file_name",
    "status",
    "bytes_transferred",
    "transfer_started",
    "transfer_ended",
    "media_type",
    "file_size",
    "data_type",
    "ingest_started",
    "ingest_ended",
    "created",
    "last_modified",
    strike=("id", "job__id"),
    source_file=(*_SOURCE, "workspace__id", "workspace__name"),
)

SOURCE_FORM = (selectinload(ScaleFile.workspace),)
PRODUCT_FORM = (selectinload(ScaleFile.workspace), job_type_brief_form(ScaleFile.job_type))
INGEST_FORM = (
    selectinload(Ingest.strike).load_only(Strike.job_id),
    selectinload(Ingest.source_file).options(selectinload(ScaleFile.workspace)),
)


@dataclass(frozen=True, slots=True)
class ProductFilter:
    """Which products are meant; what is empty or None does not filter."""

    job_types: JobTypeFilter = ANY_JOB_TYPE
    is_operational: bool | None = None
    file_name: str | None = None

    def applied(self, statement: Select[Any]) -> Select[Any]:
        """Return the statement with these conditions on :class:`ScaleFile`."""
        statement = statement.where(ScaleFile.kind == "PRODUCT", ScaleFile.has_been_published)
        if (of_types := self.job_types.of(ScaleFile.job_type_id)) is not None:
            statement = statement.where(of_types)
        if self.is_operational is not None:
            statement = statement.where(ScaleFile.is_operational.is_(self.is_operational))
        if self.file_name is not None:
            statement = statement.where(ScaleFile.file_name == self.file_name)
        return statement

    def tallied(self) -> Select[Any] | None:
        """Return the statement that says how many are meant without counting them; None if none does."""
        if self.file_name is not None:
            return None
        conditions: list[ColumnElement[bool]] = [
            FileTally.kind == "PRODUCT",
            FileTally.has_been_published.is_(True),
        ]
        if (of_types := self.job_types.of(FileTally.job_type_id)) is not None:
            conditions.append(of_types)
        if self.is_operational is not None:
            conditions.append(FileTally.is_operational.is_(self.is_operational))
        return count_of(FileTally, *conditions)


@dataclass(frozen=True, slots=True)
class SourceFilter:
    """Which source files are meant; None does not filter."""

    is_parsed: bool | None = None
    file_name: str | None = None

    def applied(self, statement: Select[Any]) -> Select[Any]:
        """Return the statement with these conditions on :class:`ScaleFile`."""
        statement = statement.where(ScaleFile.kind == "SOURCE")
        if self.is_parsed is not None:
            statement = statement.where(ScaleFile.is_parsed.is_(self.is_parsed))
        if self.file_name is not None:
            statement = statement.where(ScaleFile.file_name == self.file_name)
        return statement

    def tallied(self) -> Select[Any] | None:
        """Return the statement that says how many are meant without counting them; None if none does."""
        if self.file_name is not None:
            return None
        conditions: list[ColumnElement[bool]] = [FileTally.kind == "SOURCE"]
        if self.is_parsed is not None:
            conditions.append(FileTally.is_parsed.is_(self.is_parsed))
        return count_of(FileTally, *conditions)


def list_sources(session: Session, wanted: SourceFilter, window: Window) -> Found[ScaleFile]:
    """Return a page of source files; the window's range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    statement = within(wanted.applied(select(ScaleFile)), ScaleFile.last_modified, window)
    return fetch(
        session,
        statement,
        window,
        fields=SOURCE_FIELDS,
        default=("last_modified",),
        options=SOURCE_FORM,
        total=None if window.started or window.ended else wanted.tallied(),
    )


def list_products(session: Session, wanted: ProductFilter, window: Window) -> Found[ScaleFile]:
    """Return a page of products that have been published; the window's range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    wanted = replace(wanted, job_types=wanted.job_types.resolved(session))
    statement = within(wanted.applied(select(ScaleFile)), ScaleFile.last_modified, window)
    return fetch(
        session,
        statement,
        window,
        fields=PRODUCT_FIELDS,
        default=("last_modified",),
        options=PRODUCT_FORM,
        total=None if window.started or window.ended else wanted.tallied(),
    )


def list_ingests(session: Session, window: Window, *, status: str | None = None) -> Found[Ingest]:
    """Return a page of ingests; the window's range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    statement = within(select(Ingest), Ingest.last_modified, window)
    if status is not None:
        statement = statement.where(Ingest.status == status)
    return fetch(
        session, statement, window, fields=INGEST_FIELDS, default=("last_modified",), options=INGEST_FORM
    )


def ingest_details(session: Session, ingest_id: int) -> Ingest:
    """Return an ingest with its Strike process and source file.

    :raises NotFound: if there is no such ingest.
    """
    found = None
    if 0 < ingest_id <= MAX_ID:
        job = joinedload(Ingest.strike).joinedload(Strike.job)
        found = session.get(
            Ingest,
            ingest_id,
            options=(
                job.options(defer(Job.data), defer(Job.results)),
                job.joinedload(Job.job_type).options(lazyload(JobType.trigger_rule)),
                joinedload(Ingest.source_file).joinedload(ScaleFile.workspace),
            ),
        )
    if found is None:
        raise NotFound(f"There is no ingest with the id {ingest_id}.")
    return found


@dataclass(frozen=True, slots=True)
class FileUpdate:
    """Something that happened to a file."""

    file: ScaleFile
    action: str
    when: datetime


def list_source_updates(session: Session, wanted: SourceFilter, window: Window) -> Found[FileUpdate]:
    """Return a page of what happened to source files: CREATED, PARSED, DELETED; the range is of then.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    moments = {
        "CREATED": ScaleFile.created,
        "PARSED": ScaleFile.parsed,
        "DELETED": ScaleFile.deleted,
    }
    return _updates(session, wanted.applied, moments, window, SOURCE_FIELDS, SOURCE_FORM)


def list_product_updates(session: Session, wanted: ProductFilter, window: Window) -> Found[FileUpdate]:
    """Return a page of what happened to products: PUBLISHED, UNPUBLISHED, DELETED; the range is of then.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    moments = {
        "PUBLISHED": ScaleFile.published,
        "UNPUBLISHED": ScaleFile.unpublished,
        "DELETED": ScaleFile.deleted,
    }
    wanted = replace(wanted, job_types=wanted.job_types.resolved(session))
    return _updates(session, wanted.applied, moments, window, PRODUCT_FIELDS, PRODUCT_FORM)


def source_files_of(session: Session, product_ids: Sequence[int]) -> dict[int, list[ScaleFile]]:
    """Return the source files that each of the products was made from, over any number of jobs."""
    ancestor = aliased(ScaleFile)
    statement = (
        select(FileAncestry.descendant_id, ancestor)
        .join(ancestor, ancestor.id == FileAncestry.ancestor_id)
        .where(FileAncestry.descendant_id.in_(product_ids), ancestor.kind == "SOURCE")
        .order_by(ancestor.id)
        .options(selectinload(ancestor.workspace))
    )
    found: dict[int, list[ScaleFile]] = {product_id: [] for product_id in product_ids}
    for product_id, source in session.execute(statement):
        if product_id is not None and source not in found[product_id]:
            found[product_id].append(source)
    return found


def _updates(
    session: Session,
    applied: Callable[[Select[Any]], Select[Any]],
    moments: Mapping[str, InstrumentedAttribute[Any]],
    window: Window,
    file_fields: Mapping[str, OrderField],
    form: Sequence[Any],
) -> Found[FileUpdate]:
    """Return a page of updates: a file has one for each of its moments that it has had."""
    parts = []
    for action, moment in moments.items():
        part = select(ScaleFile.id.label("file_id"), literal(action).label("action"), moment.label("when"))
        parts.append(within(applied(part.where(moment.is_not(None))), moment, window))
    updates = union_all(*parts).subquery()
    fields = {**file_fields, **{f"update__{name}": updates.c[name] for name in ("action", "when")}}
    names = order_of(window, fields, ("update__when",))
    count = session.scalar(select(func.count()).select_from(updates)) or 0
    offset = page_offset(window, count)
    statement = select(ScaleFile, updates.c.action, updates.c.when).join(
        updates, updates.c.file_id == ScaleFile.id
    )
    ordered = in_order(statement, names, fields).options(*form)
    rows = session.execute(ordered.offset(offset).limit(window.page_size)).unique()
    return Found(count, [FileUpdate(*row) for row in rows])
