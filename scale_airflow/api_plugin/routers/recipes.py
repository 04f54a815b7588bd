# SPDX-License-Identifier: Apache-2.0
"""Recipe services: runs of recipe types."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import ordered_by, page_of
from scale_airflow.api_plugin.parameters import Identifier, PathId
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views import work
from scale_airflow.services import work_details, work_lists
from scale_airflow.services.listing import Window
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Recipes"], dependencies=[Depends(requires("GET", "Scale Recipes"))])

_ID = "Only recipes of the type with this identifier; repeatable."
_NAME = "Only recipes of types with this name; repeatable."


@router.get("/recipes/", summary="Recipe list")
def list_recipes(
    request: Request,
    window: Annotated[Window, ordered_by(work_lists.RECIPE_FIELDS)],
    type_id: Annotated[list[Identifier], Query(description=_ID)] = [],  # noqa: B006 - FastAPI copies it
    type_name: Annotated[list[str], Query(description=_NAME)] = [],  # noqa: B006
    recipe_type_id: Annotated[list[Identifier], Query(description="The same as `type_id`.")] = [],  # noqa: B006
    recipe_type_name: Annotated[list[str], Query(description="The same as `type_name`.")] = [],  # noqa: B006
) -> Reply:
    """Return all recipes, in the order of `last_modified` unless another is asked for."""
    with transaction() as session:
        found = work_lists.list_recipes(
            session,
            window,
            type_ids=(*type_id, *recipe_type_id),
            type_names=(*type_name, *recipe_type_name),
        )
        return page_of(request, window, found, work.recipe)


@router.get("/recipes/{recipe_id}/", summary="Recipe details")
def get_recipe(recipe_id: PathId, links: LinksDep) -> Reply:
    """Return a recipe with its definition, data, input files and jobs."""
    with transaction() as session:
        return Reply(work.recipe_details(work_details.recipe_details(session, recipe_id), links))
