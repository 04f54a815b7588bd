# SPDX-License-Identifier: Apache-2.0
"""Pages of errors, workspaces, job types, recipe types and their revisions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, defer, lazyload

from scale_airflow.services.job_types import get_job_type
from scale_airflow.services.listing import Found, Window, fetch, order_fields, within
from scale_airflow.services.recipe_types import get_recipe_type
from scale_airflow.store.models import (
    ErrorModel,
    JobType,
    JobTypeRevision,
    RecipeType,
    RecipeTypeRevision,
    Workspace,
)

ERROR_FIELDS = order_fields("id", "name", "title", "description", "category", "created", "last_modified")
WORKSPACE_FIELDS = order_fields(
    "id",
    "name",
    "title",
    "description",
    "base_url",
    "is_active",
    "used_size",
    "total_size",
    "created",
    "archived",
    "last_modified",
)
JOB_TYPE_ROW_FIELDS = order_fields(
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
    "uses_docker",
    "docker_privileged",
    "docker_image",
    "revision_num",
    "priority",
    "timeout",
    "max_scheduled",
    "max_tries",
    "cpus_required",
    "mem_required",
    "disk_out_const_required",
    "disk_out_mult_required",
    "created",
    "archived",
    "paused",
    "last_modified",
)
RECIPE_TYPE_FIELDS = order_fields(
    "id",
    "name",
    "version",
    "title",
    "description",
    "is_active",
    "revision_num",
    "created",
    "last_modified",
    "archived",
    trigger_rule=("id",),
)
REVISION_FIELDS = order_fields("id", "revision_num", "dag_id", "created")


def list_errors(session: Session, window: Window) -> Found[ErrorModel]:
    """Return a page of all errors; the window's range is that of ``last_modified``."""
    statement = within(select(ErrorModel), ErrorModel.last_modified, window)
    return fetch(session, statement, window, fields=ERROR_FIELDS, default=("last_modified",))


def list_workspaces(session: Session, window: Window, *, names: Sequence[str] = ()) -> Found[Workspace]:
    """Return a page of the workspaces with these names, or of all."""
    statement = within(select(Workspace), Workspace.last_modified, window)
    if names:
        statement = statement.where(Workspace.name.in_(names))
    return fetch(session, statement, window, fields=WORKSPACE_FIELDS, default=("name",))


def list_job_types(
    session: Session, window: Window, *, names: Sequence[str] = (), categories: Sequence[str] = ()
) -> Found[JobType]:
    """Return a page of the job types with these names and categories; what is empty does not filter."""
    statement = within(select(JobType), JobType.last_modified, window)
    if names:
        statement = statement.where(JobType.name.in_(names))
    if categories:
        statement = statement.where(JobType.category.in_(categories))
    options = [
        defer(JobType.interface),
        defer(JobType.error_mapping),
        defer(JobType.configuration),
        lazyload(JobType.trigger_rule),
    ]
    return fetch(
        session, statement, window, fields=JOB_TYPE_ROW_FIELDS, default=("name", "version"), options=options
    )


def list_recipe_types(session: Session, window: Window) -> Found[RecipeType]:
    """Return a page of all recipe types."""
    statement = within(select(RecipeType), RecipeType.last_modified, window)
    options = [lazyload(RecipeType.trigger_rule)]
    return fetch(
        session, statement, window, fields=RECIPE_TYPE_FIELDS, default=("name", "version"), options=options
    )


def list_job_type_revisions(session: Session, job_type_id: int, window: Window) -> Found[JobTypeRevision]:
    """Return a page of a job type's revisions, the latest first; the range is that of ``created``.

    :raises NotFound: if there is no such job type.
    """
    job_type = get_job_type(session, job_type_id)
    every = select(JobTypeRevision).where(JobTypeRevision.job_type_id == job_type.id)
    statement = within(every, JobTypeRevision.created, window)
    return fetch(session, statement, window, fields=REVISION_FIELDS, default=("-revision_num",))


def list_recipe_type_revisions(
    session: Session, recipe_type_id: int, window: Window
) -> Found[RecipeTypeRevision]:
    """Return a page of a recipe type's revisions, the latest first; the range is that of ``created``.

    :raises NotFound: if there is no such recipe type.
    """
    recipe_type = get_recipe_type(session, recipe_type_id)
    every = select(RecipeTypeRevision).where(RecipeTypeRevision.recipe_type_id == recipe_type.id)
    statement = within(every, RecipeTypeRevision.created, window)
    return fetch(session, statement, window, fields=REVISION_FIELDS, default=("-revision_num",))
