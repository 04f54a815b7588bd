# SPDX-License-Identifier: Apache-2.0
"""Error services: errors that exit codes of jobs map to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import JsonBody
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import ordered_by, page_of
from scale_airflow.api_plugin.parameters import PathId
from scale_airflow.api_plugin.replies import Reply, created
from scale_airflow.api_plugin.schemas import documented_by
from scale_airflow.api_plugin.views import types
from scale_airflow.services import audit, errors, type_lists
from scale_airflow.services.listing import Window
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Errors"])

READ = [Depends(requires("GET", "Scale Errors"))]
CreatorDep = Annotated[Caller, Depends(requires("POST", "Scale Errors"))]
EditorDep = Annotated[Caller, Depends(requires("PUT", "Scale Errors"))]

_EXAMPLE = {
    "name": "error1",
    "title": "Error 1",
    "description": "This is an algorithm error",
    "category": "ALGORITHM",
}


@router.get("/errors/", summary="Error list", dependencies=READ)
def list_errors(request: Request, window: Annotated[Window, ordered_by(type_lists.ERROR_FIELDS)]) -> Reply:
    """Return all errors, in the order of `last_modified` unless another is asked for."""
    with transaction() as session:
        return page_of(request, window, type_lists.list_errors(session, window), types.error)


@router.post(
    "/errors/",
    summary="Create error",
    status_code=201,
    openapi_extra=documented_by("error-1.0", example=_EXAMPLE),
)
def create_error(caller: CreatorDep, body: JsonBody, links: LinksDep) -> Reply:
    """Create an error of the category ALGORITHM or DATA; SYSTEM is reserved."""
    with transaction(point="api.create_error") as session:
        made = errors.create_error(session, body)
        audit.record(session, caller.username, "create_error", error_id=made.id, name=made.name)
        return created(types.error(made), links.to(f"/errors/{made.id}/"))


@router.get("/errors/{error_id}/", summary="Error details", dependencies=READ)
def get_error(error_id: PathId) -> Reply:
    """Return an error."""
    with transaction() as session:
        return Reply(types.error(errors.get_error(session, error_id)))


@router.patch(
    "/errors/{error_id}/",
    summary="Edit error",
    openapi_extra=documented_by("error-1.0", editing=True, without=("name",)),
)
def edit_error(caller: EditorDep, error_id: PathId, body: JsonBody) -> Reply:
    """Change title, description or category of an error; those of the category SYSTEM stay as they are."""
    with transaction(point="api.edit_error") as session:
        edited = errors.edit_error(session, error_id, body)
        changed = audit.fields_of(body)
        audit.record(session, caller.username, "edit_error", error_id=error_id, fields=changed)
        return Reply(types.error(edited))
