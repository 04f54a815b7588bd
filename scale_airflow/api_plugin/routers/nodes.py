# SPDX-License-Identifier: Apache-2.0
"""Node services: the hosts on which jobs run."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import Field, JsonBody, check_fields, documented
from scale_airflow.api_plugin.links import Links, LinksDep
from scale_airflow.api_plugin.listing import in_time, ordered_by, page_of
from scale_airflow.api_plugin.parameters import Flag, PathId
from scale_airflow.api_plugin.replies import Reply, created
from scale_airflow.api_plugin.views import nodes, work
from scale_airflow.config import settings
from scale_airflow.services import audit, node_control, node_status
from scale_airflow.services.listing import Window
from scale_airflow.services.time_ranges import lately_faults
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Nodes"])

READ = [Depends(requires("GET", "Scale Nodes"))]
EditorDep = Annotated[Caller, Depends(requires("PUT", "Scale Nodes"))]

_HOSTNAME = "The full name of the host; the next beat of its agent sets it again."
_PORT = "The port of the worker's log server; the next beat of the agent sets it again."
_IS_PAUSED = "Whether the node takes no new jobs; what runs there goes on."


def _fields(*, required: bool) -> dict[str, Field]:
    return {
        "hostname": Field(
            "string",
            required,
            description=_HOSTNAME,
            example="host.com",
            longest=node_control.LONGEST_HOSTNAME,
        ),
        "port": Field(
            "integer",
            required,
            description=_PORT,
            example=5051,
            minimum=0,
            maximum=node_control.HIGHEST_PORT,
        ),
        "pause_reason": Field(
            "string", nullable=True, description="Why it is paused, for people; null when it is not."
        ),
        "is_paused": Field("boolean", required, description=_IS_PAUSED),
        "is_active": Field(
            "boolean", description="False takes the node out of service, true brings it back."
        ),
    }


_WHOLE = _fields(required=True)
_CHANGES = _fields(required=False)


@router.get("/nodes/", summary="Node list", dependencies=READ)
def list_nodes(
    request: Request,
    window: Annotated[Window, ordered_by(node_control.NODE_FIELDS)],
    include_inactive: Annotated[
        Flag, Query(description="Also nodes that were taken out of service; false unless given.")
    ] = None,
) -> Reply:
    """Return the nodes, in the order of `last_modified` unless another is asked for."""
    with transaction() as session:
        found = node_control.list_nodes(session, window, include_inactive=bool(include_inactive))
        return page_of(request, window, found, nodes.node)


@router.get("/nodes/status/", summary="Nodes status", dependencies=READ)
def list_status(request: Request, window: Annotated[Window, in_time(lately_faults)]) -> Reply:
    """Return the nodes in service, by their names, with what runs on each and how its executions ended.

    Executions count that ended in the range (by default the last three hours), and all that run.
    """
    with transaction() as session:
        found = node_status.list_status(session, window, settings())
        return page_of(request, window, found, work.node_status)


@router.get("/nodes/{node_id}/", summary="Node details", dependencies=READ)
def get_node(node_id: PathId) -> Reply:
    """Return a node with its resources and what runs on it.

    `resources` is left out for a node that does not answer; `disconnected` then says so. Use in real time is
    not measured and shown as zero.
    """
    with transaction() as session:
        return Reply(work.node_details(node_control.node_details(session, node_id, settings())))


@router.put(
    "/nodes/{node_id}/",
    summary="Replace node",
    status_code=201,
    openapi_extra=documented(_WHOLE),
)
def replace_node(caller: EditorDep, node_id: PathId, body: JsonBody, links: LinksDep) -> Reply:
    """Set what can be set of a node. Without `pause_reason` it has none, without `is_active` that stays."""
    given = check_fields(body, _WHOLE)
    return _changed(caller, node_id, {"pause_reason": None, **given}, links)


@router.patch(
    "/nodes/{node_id}/",
    summary="Update node",
    status_code=201,
    openapi_extra=documented(_CHANGES, minProperties=1),
)
def edit_node(caller: EditorDep, node_id: PathId, body: JsonBody, links: LinksDep) -> Reply:
    """Change some of a node, for example pause it with a reason. Nothing new starts there from then on."""
    return _changed(caller, node_id, check_fields(body, _CHANGES, any_of=True), links)


def _changed(caller: Caller, node_id: int, changes: dict[str, Any], links: Links) -> Reply:
    with transaction(point="api.edit_node") as session:
        node_control.change_node(session, node_id, changes)
        audit.record(session, caller.username, "edit_node", node_id=node_id, changes=changes)
        found = node_control.node_details(session, node_id, settings())
        return created(work.node_details(found), links.to(f"/nodes/{node_id}/"))
