# SPDX-License-Identifier: Apache-2.0
"""Pages of jobs, job executions and recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session, defer, lazyload, selectinload

from scale_airflow.services.listing import Found, Window, among, fetch, order_fields, within
from scale_airflow.services.tallies import count_of
from scale_airflow.store.models import (
    ErrorModel,
    Job,
    JobExecution,
    JobInputFile,
    JobTally,
    JobType,
    JobTypeRevision,
    Recipe,
    RecipeType,
    RecipeTypeRevision,
    ScaleFile,
    TriggerEvent,
)


@dataclass(frozen=True, slots=True)
class JobTypeFilter:
    """Which job types are meant; an empty filter means all. Different filters must all hold."""

    ids: Sequence[int] = ()
    names: Sequence[str] = ()
    categories: Sequence[str] = ()

    def ids_of(self) -> Select[Any] | None:
        """Return a select of the ids that are meant, or None for all."""
        statement = select(JobType.id)
        if self.ids:
            statement = statement.where(JobType.id.in_(self.ids))
        if self.names:
            statement = statement.where(JobType.name.in_(self.names))
        if self.categories:
            statement = statement.where(JobType.category.in_(self.categories))
        return statement if self.ids or self.names or self.categories else None

    def resolved(self, session: Session) -> JobTypeFilter:
        """Return the same as ids alone: knowing them, the database sees how many rows are meant."""
        if not self.names and not self.categories:
            return self
        found = self.ids_of()
        return self if found is None else JobTypeFilter(tuple(session.scalars(found)) or _NOBODY)

    def of(self, column: InstrumentedAttribute[Any]) -> ColumnElement[bool] | None:
        """Return the condition that a column names one of the types that are meant, or None for all."""
        if self.names or self.categories:
            found = self.ids_of()
            return None if found is None else column.in_(found)
        if not self.ids:
            return None
        # An index that holds the type and then the order is read in that order for one type alone.
        return column == self.ids[0] if len(self.ids) == 1 else among(column, self.ids)


_NOBODY = (0,)
"""Ids of no row at all: an empty filter would mean every row."""

ANY_JOB_TYPE = JobTypeFilter()


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant; what is empty or None does not filter. Different filters must all hold.

    :param started: only jobs with ``last_modified`` from then on.
    :param ended: only jobs with ``last_modified`` up to then.
    :param error_names: only jobs that ended with one of these errors.
    """

    status: str | None = None
    job_ids: Sequence[int] = ()
    job_types: JobTypeFilter = ANY_JOB_TYPE
    started: datetime | None = None
    ended: datetime | None = None
    error_names: Sequence[str] = ()

    @property
    def means_all(self) -> bool:
        """Whether nothing is filtered."""
        types = self.job_types
        filters = (self.job_ids, types.ids, types.names, types.categories, self.error_names)
        times = (self.started, self.ended)
        return self.status is None and not any(map(len, filters)) and times == (None, None)

    def applied(self, statement: Select[Any]) -> Select[Any]:
        """Return the statement with these conditions on :class:`Job`."""
        if self.status is not None:
            statement = statement.where(Job.status == self.status)
        if self.job_ids:
            statement = statement.where(among(Job.id, self.job_ids))
        if (of_types := self.job_types.of(Job.job_type_id)) is not None:
            statement = statement.where(of_types)
        if self.error_names:
            named = select(ErrorModel.id).where(ErrorModel.name.in_(self.error_names))
            statement = statement.where(Job.error_id.in_(named))
        return within(statement, Job.last_modified, Window(started=self.started, ended=self.ended))


JOB_TYPE_FIELDS = (
    "id",
    "name",
    "version",
    "title",
    "description",
    "category",
    "author_name",
    "author_url",
    "is_system",
    "is_long_running",
    "is_active",
    "is_operational",
    "is_paused",
    "icon_code",
)
_EVENT = ("id", "type", "rule__id", "occurred")
_ERROR = ("id", "name", "title", "description", "category", "created", "last_modified")

JOB_FIELDS = order_fields(
    "id",
    "status",
    "priority",
    "num_exes",
    "timeout",
    "max_tries",
    "cpus_required",
    "mem_required",
    "disk_in_required",
    "disk_out_required",
    "created",
    "queued",
    "started",
    "ended",
    "last_status_change",
    "last_modified",
    job_type=JOB_TYPE_FIELDS,
    job_type_rev=("id", "revision_num"),
    event=_EVENT,
    error=_ERROR,
)
_EXECUTION = (
    "id",
    "status",
    "command_arguments",
    "timeout",
    "pre_started",
    "pre_completed",
    "pre_exit_code",
    "job_started",
    "job_completed",
    "job_exit_code",
    "post_started",
    "post_completed",
    "post_exit_code",
    "created",
    "queued",
    "started",
    "ended",
    "last_modified",
)
EXECUTION_FIELDS = order_fields(
    *_EXECUTION,
    job=(
        "id",
        "status",
        "priority",
        "num_exes",
        "event__id",
        "error__id",
        "job_type_rev__id",
        *(f"job_type__{name}" for name in JOB_TYPE_FIELDS),
    ),
    node=("id", "hostname", "port", "slave_id"),
    error=_ERROR,
) | {f"job_type__{name}": f"job__job_type__{name}" for name in JOB_TYPE_FIELDS}
JOB_WITH_EXECUTION_FIELDS = JOB_FIELDS | {
    "latest_job_exe": "latest_execution__id",
    **{f"latest_job_exe__{name}": f"latest_execution__{name}" for name in _EXECUTION},
    **{f"latest_job_exe__{name}": f"latest_execution__{name}_id" for name in ("job", "node", "error")},
}
RECIPE_FIELDS = order_fields(
    "id",
    "created",
    "completed",
    "last_modified",
    recipe_type=("id", "name", "version", "title", "description"),
    recipe_type_rev=("id", "revision_num"),
    event=_EVENT,
)


def job_type_brief_form(relation: Any) -> Any:
    """Return the option that loads what the brief form of a job type shows, and no documents."""
    columns = [getattr(JobType, name) for name in JOB_TYPE_FIELDS]
    return selectinload(relation).options(lazyload(JobType.trigger_rule)).load_only(*columns)


JOB_FORM_BUT_REVISION = (
    defer(Job.data),
    defer(Job.results),
    job_type_brief_form(Job.job_type),
    selectinload(Job.event).load_only(TriggerEvent.type, TriggerEvent.rule_id, TriggerEvent.occurred),
    selectinload(Job.error),
)
JOB_FORM = (
    *JOB_FORM_BUT_REVISION,
    selectinload(Job.job_type_rev).load_only(JobTypeRevision.revision_num),
)
"""Loads what the list form of jobs shows."""

EXECUTION_RELATED = (
    selectinload(JobExecution.job).options(
        defer(Job.data), defer(Job.results), job_type_brief_form(Job.job_type)
    ),
    selectinload(JobExecution.node),
    selectinload(JobExecution.error),
)
_EXECUTION_WITHOUT_DOCUMENTS = (
    defer(JobExecution.environment),
    defer(JobExecution.results),
    defer(JobExecution.results_manifest),
)
EXECUTION_OF_JOB_FORM = (*_EXECUTION_WITHOUT_DOCUMENTS, selectinload(JobExecution.error))
"""Loads what is shown of executions inside of their jobs."""

EXECUTION_FORM = (*_EXECUTION_WITHOUT_DOCUMENTS, *EXECUTION_RELATED)
"""Loads what the list form of executions shows."""

RECIPE_FORM = (
    defer(Recipe.data),
    selectinload(Recipe.recipe_type)
    .options(lazyload(RecipeType.trigger_rule))
    .load_only(RecipeType.name, RecipeType.version, RecipeType.title, RecipeType.description),
    selectinload(Recipe.recipe_type_rev).load_only(RecipeTypeRevision.revision_num),
    selectinload(Recipe.event).load_only(TriggerEvent.type, TriggerEvent.rule_id, TriggerEvent.occurred),
)
"""Loads what the list form of recipes shows."""


def list_jobs(session: Session, wanted: JobFilter, window: Window) -> Found[Job]:
    """Return a page of jobs; the window's range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    wanted = replace(wanted, job_types=wanted.job_types.resolved(session))
    statement = within(wanted.applied(select(Job)), Job.last_modified, window)
    return fetch(
        session,
        statement,
        window,
        fields=JOB_FIELDS,
        default=("last_modified",),
        options=JOB_FORM,
        total=_tallied(wanted, window),
    )


def _tallied(wanted: JobFilter, window: Window) -> Select[Any] | None:
    """Return the statement that says how many jobs are meant without counting them; None if none does."""
    if replace(wanted, status=None, job_types=ANY_JOB_TYPE) != JobFilter() or window.started or window.ended:
        return None
    conditions = [] if wanted.status is None else [JobTally.status == wanted.status]
    if (of_types := wanted.job_types.of(JobTally.job_type_id)) is not None:
        conditions.append(of_types)
    return count_of(JobTally, *conditions)


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """A job and its input files, in the order of their ids."""

    job: Job
    input_files: Sequence[ScaleFile]


def list_job_updates(session: Session, wanted: JobFilter, window: Window) -> Found[JobUpdate]:
    """Return a page of jobs with their input files; the window's range is of ``last_status_change``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    wanted = replace(wanted, job_types=wanted.job_types.resolved(session))
    found = fetch(
        session,
        within(wanted.applied(select(Job)), Job.last_status_change, window),
        window,
        fields=JOB_FIELDS,
        default=("last_status_change",),
        options=JOB_FORM,
        total=_tallied(wanted, window),
    )
    files = _input_files(session, [job.id for job in found.items])
    return Found(found.count, [JobUpdate(job, files.get(job.id, ())) for job in found.items])


def _input_files(session: Session, job_ids: Sequence[int]) -> dict[int, list[ScaleFile]]:
    """Return the input files of jobs, by job; two inputs may have the same one."""
    if not job_ids:
        return {}
    pairs = session.execute(
        select(JobInputFile.job_id, JobInputFile.file_id)
        .where(among(JobInputFile.job_id, job_ids))
        .distinct()
        .order_by(JobInputFile.job_id, JobInputFile.file_id)
    ).all()
    wanted = {pair.file_id for pair in pairs}
    query = select(ScaleFile).where(among(ScaleFile.id, wanted)).options(selectinload(ScaleFile.workspace))
    files = {file.id: file for file in session.scalars(query)}
    found: dict[int, list[ScaleFile]] = {}
    for job_id, file_id in pairs:
        found.setdefault(job_id, []).append(files[file_id])
    return found


def list_jobs_with_executions(session: Session, wanted: JobFilter, window: Window) -> Found[Job]:
    """Return a page of jobs with their latest executions; the window's range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    return fetch(
        session,
        within(wanted.applied(select(Job)), Job.last_modified, window),
        window,
        fields=JOB_WITH_EXECUTION_FIELDS,
        default=("last_modified",),
        options=(*JOB_FORM, selectinload(Job.latest_execution).options(*EXECUTION_OF_JOB_FORM)),
        total=_tallied(wanted, window),
    )


def list_executions(
    session: Session,
    window: Window,
    *,
    status: str | None = None,
    job_types: JobTypeFilter = ANY_JOB_TYPE,
    node_ids: Sequence[int] = (),
) -> Found[JobExecution]:
    """Return a page of job executions; the window's range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    statement = within(select(JobExecution), JobExecution.last_modified, window)
    if status is not None:
        statement = statement.where(JobExecution.status == status)
    if node_ids:
        statement = statement.where(JobExecution.node_id.in_(node_ids))
    if (type_ids := job_types.ids_of()) is not None:
        jobs = select(Job.id).where(Job.job_type_id.in_(type_ids))
        statement = statement.where(JobExecution.job_id.in_(jobs))
    return fetch(
        session,
        statement,
        window,
        fields=EXECUTION_FIELDS,
        default=("last_modified",),
        options=EXECUTION_FORM,
    )


def list_recipes(
    session: Session, window: Window, *, type_ids: Sequence[int] = (), type_names: Sequence[str] = ()
) -> Found[Recipe]:
    """Return a page of recipes; the window's range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    statement = within(select(Recipe), Recipe.last_modified, window)
    if type_ids:
        statement = statement.where(Recipe.recipe_type_id.in_(type_ids))
    if type_names:
        named = select(RecipeType.id).where(RecipeType.name.in_(type_names))
        statement = statement.where(Recipe.recipe_type_id.in_(named))
    return fetch(
        session, statement, window, fields=RECIPE_FIELDS, default=("last_modified",), options=RECIPE_FORM
    )
