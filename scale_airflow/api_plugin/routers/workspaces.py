# SPDX-License-Identifier: Apache-2.0
"""Workspace services: where source and product files are stored."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import JsonBody
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import ordered_by, page_of
from scale_airflow.api_plugin.parameters import PathId
from scale_airflow.api_plugin.replies import Reply, created
from scale_airflow.api_plugin.schemas import WARNED, documented_by
from scale_airflow.api_plugin.views import types
from scale_airflow.api_plugin.views.warnings import warnings
from scale_airflow.services import audit, type_lists, workspaces
from scale_airflow.services.listing import Window
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Workspaces"])

READ = [Depends(requires("GET", "Scale Workspaces"))]
CreatorDep = Annotated[Caller, Depends(requires("POST", "Scale Workspaces"))]
EditorDep = Annotated[Caller, Depends(requires("PUT", "Scale Workspaces"))]

_EXAMPLE = {
    "name": "rs",
    "title": "Raw Source",
    "description": "Raw Source Workspace",
    "base_url": "http://host.com/rs",
    "json_config": {"version": "1.0", "broker": {"type": "nfs", "mount": "host:/my/path"}},
}


@router.get("/workspaces/", summary="Workspace list", dependencies=READ)
def list_workspaces(
    request: Request,
    window: Annotated[Window, ordered_by(type_lists.WORKSPACE_FIELDS)],
    name: Annotated[list[str], Query(description="Only the workspace with this name; repeatable.")] = [],  # noqa: B006 - FastAPI copies it
) -> Reply:
    """Return all workspaces, by name unless another order is asked for."""
    with transaction() as session:
        found = type_lists.list_workspaces(session, window, names=name)
        return page_of(request, window, found, types.workspace_brief)


@router.post(
    "/workspaces/",
    summary="Create workspace",
    status_code=201,
    openapi_extra=documented_by("workspace-1.0", example=_EXAMPLE),
)
def create_workspace(caller: CreatorDep, body: JsonBody, links: LinksDep) -> Reply:
    """Create a workspace. A directory that the API server can't see is no error: workers may."""
    with transaction(point="api.create_workspace") as session:
        made, _ = workspaces.create_workspace(session, body)
        audit.record(session, caller.username, "create_workspace", workspace_id=made.id, name=made.name)
        return created(types.workspace_details(made), links.to(f"/workspaces/{made.id}/"))


@router.post(
    "/workspaces/validation/",
    summary="Validate workspace",
    responses=WARNED,
    openapi_extra=documented_by("workspace-1.0", example=_EXAMPLE),
)
def validate_workspace(_: CreatorDep, body: JsonBody) -> Reply:
    """Check a workspace without saving it; its name may exist already."""
    with transaction() as session:
        return Reply(warnings(workspaces.validate_workspace(session, body)))


@router.get("/workspaces/{workspace_id}/", summary="Workspace details", dependencies=READ)
def get_workspace(workspace_id: PathId) -> Reply:
    """Return a workspace with its configuration."""
    with transaction() as session:
        return Reply(types.workspace_details(workspaces.get_workspace(session, workspace_id)))


@router.patch(
    "/workspaces/{workspace_id}/",
    summary="Edit workspace",
    openapi_extra=documented_by("workspace-1.0", editing=True, without=("name",)),
)
def edit_workspace(caller: EditorDep, workspace_id: PathId, body: JsonBody) -> Reply:
    """Change a workspace; `is_active` false archives it."""
    with transaction(point="api.edit_workspace") as session:
        edited, _ = workspaces.edit_workspace(session, workspace_id, body)
        changed = audit.fields_of(body)
        audit.record(session, caller.username, "edit_workspace", workspace_id=workspace_id, fields=changed)
        return Reply(types.workspace_details(edited))
