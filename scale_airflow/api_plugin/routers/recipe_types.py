# SPDX-License-Identifier: Apache-2.0
"""Recipe type services: graphs of job types."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import JsonBody
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import ordered_by, page_of
from scale_airflow.api_plugin.parameters import PathId
from scale_airflow.api_plugin.replies import Reply, created
from scale_airflow.api_plugin.schemas import WARNED, documented_by
from scale_airflow.api_plugin.views import types
from scale_airflow.api_plugin.views.types import JsonObject
from scale_airflow.api_plugin.views.warnings import warnings
from scale_airflow.services import audit, recipe_types, type_lists
from scale_airflow.services.listing import Window
from scale_airflow.store.models import RecipeType
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Recipe types"])

READ = [Depends(requires("GET", "Scale Recipe Types"))]
CreatorDep = Annotated[Caller, Depends(requires("POST", "Scale Recipe Types"))]
EditorDep = Annotated[Caller, Depends(requires("PUT", "Scale Recipe Types"))]

_EXAMPLE = {
    "name": "my-recipe",
    "version": "1.0",
    "title": "My Recipe",
    "description": "This is a description of the recipe",
    "definition": {
        "version": "1.0",
        "input_data": [{"media_types": ["text/plain"], "type": "file", "name": "input_file"}],
        "jobs": [
            {
                "name": "MyJob1",
                "recipe_inputs": [{"job_input": "input_file", "recipe_input": "input_file"}],
                "job_type": {"name": "my-job1", "version": "1.2.3"},
            }
        ],
    },
    "trigger_rule": {
        "type": "PARSE",
        "is_active": True,
        "configuration": {
            "version": "1.0",
            "condition": {"media_type": "text/plain", "data_types": []},
            "data": {"input_data_name": "input_file", "workspace_name": "rs"},
        },
    },
}


def details(session: Session, recipe_type: RecipeType) -> JsonObject:
    """Return a recipe type with its trigger rule and its job types."""
    return types.recipe_type_details(recipe_type, recipe_types.job_types_of(session, recipe_type))


@router.get("/recipe-types/", summary="Recipe type list", dependencies=READ)
def list_recipe_types(
    request: Request, window: Annotated[Window, ordered_by(type_lists.RECIPE_TYPE_FIELDS)]
) -> Reply:
    """Return all recipe types, by name and version unless another order is asked for."""
    with transaction() as session:
        found = type_lists.list_recipe_types(session, window)
        return page_of(request, window, found, types.recipe_type)


@router.post(
    "/recipe-types/",
    summary="Create recipe type",
    status_code=201,
    openapi_extra=documented_by("recipe-type-1.0", example=_EXAMPLE),
)
def create_recipe_type(caller: CreatorDep, body: JsonBody, links: LinksDep) -> Reply:
    """Create a recipe type with its definition and trigger rule."""
    with transaction(point="api.create_recipe_type") as session:
        made, _ = recipe_types.create_recipe_type(session, body)
        about = {"name": made.name, "version": made.version}
        audit.record(session, caller.username, "create_recipe_type", recipe_type_id=made.id, **about)
        return created(details(session, made), links.to(f"/recipe-types/{made.id}/"))


@router.post(
    "/recipe-types/validation/",
    summary="Validate recipe type",
    responses=WARNED,
    openapi_extra=documented_by("recipe-type-1.0", example=_EXAMPLE),
)
def validate_recipe_type(_: CreatorDep, body: JsonBody) -> Reply:
    """Check a recipe type without saving it; its name and version may exist already."""
    with transaction() as session:
        return Reply(warnings(recipe_types.validate_recipe_type(session, body)))


@router.get("/recipe-types/{recipe_type_id}/", summary="Recipe type details", dependencies=READ)
def get_recipe_type(recipe_type_id: PathId) -> Reply:
    """Return a recipe type with its definition, its trigger rule and the job types that it runs."""
    with transaction() as session:
        return Reply(details(session, recipe_types.get_recipe_type(session, recipe_type_id)))


@router.patch(
    "/recipe-types/{recipe_type_id}/",
    summary="Edit recipe type",
    openapi_extra=documented_by("recipe-type-1.0", editing=True, without=("name", "version")),
)
def edit_recipe_type(caller: EditorDep, recipe_type_id: PathId, body: JsonBody) -> Reply:
    """Change a recipe type. Another definition makes a new revision; recipes that wait or run keep theirs.

    `trigger_rule` null removes the rule, `{"is_active": ...}` alone switches it.
    """
    with transaction(point="api.edit_recipe_type") as session:
        edited, _ = recipe_types.edit_recipe_type(session, recipe_type_id, body)
        about = {"recipe_type_id": recipe_type_id, "fields": audit.fields_of(body)}
        audit.record(session, caller.username, "edit_recipe_type", **about)
        return Reply(details(session, edited))


@router.get("/recipe-types/{recipe_type_id}/revisions/", summary="Recipe type revisions", dependencies=READ)
def list_revisions(
    request: Request,
    recipe_type_id: PathId,
    window: Annotated[Window, ordered_by(type_lists.REVISION_FIELDS)],
) -> Reply:
    """Return the revisions of a recipe type, the latest first, each with its definition and its DAG."""
    with transaction() as session:
        found = type_lists.list_recipe_type_revisions(session, recipe_type_id, window)
        return page_of(request, window, found, types.recipe_type_revision)
