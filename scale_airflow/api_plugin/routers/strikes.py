# SPDX-License-Identifier: Apache-2.0
"""Strike processes (specification: Strike Services)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import JsonBody
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import ordered_by, page_of
from scale_airflow.api_plugin.parameters import PathId
from scale_airflow.api_plugin.replies import Reply, created
from scale_airflow.api_plugin.schemas import WARNED, documented_by
from scale_airflow.api_plugin.views.ingests import JsonObject, strike_in_list, whole_strike
from scale_airflow.api_plugin.views.warnings import warnings
from scale_airflow.errors import InvalidDocument, InvalidRequest
from scale_airflow.services import audit, strike_lists, strikes
from scale_airflow.services.listing import Window
from scale_airflow.store.models import Strike
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Strikes"])

READ = [Depends(requires("GET", "Scale Strikes"))]

_EXAMPLE = {
    "name": "my-strike-process",
    "title": "My Strike Process",
    "description": "This is my Strike process for detecting my favorite files!",
    "configuration": {
        "version": "1.0",
        "mount": "host:/my/path",
        "transfer_suffix": "_tmp",
        "files_to_ingest": [{"filename_regex": ".*txt", "workspace_path": "my/path", "workspace_name": "rs"}],
    },
}

CreatorDep = Annotated[Caller, Depends(requires("POST", "Scale Strikes"))]
EditorDep = Annotated[Caller, Depends(requires("PUT", "Scale Strikes"))]


@router.post(
    "/strike/create/",
    summary="Create a Strike process",
    status_code=200,
    openapi_extra=documented_by("strike-1.0", example=_EXAMPLE),
)
def create(caller: CreatorDep, body: JsonBody) -> Reply:
    """Create a Strike process; it watches its directory from now on."""
    try:
        return Reply(_create(caller, body, lambda made: {"strike_id": made.id}))
    except InvalidDocument as error:
        if all(fault.path.startswith("/configuration") for fault in error.faults):
            raise InvalidRequest("Configuration failed to validate.", error.faults) from None
        raise


def _create(caller: Caller, body: object, show: Callable[[Strike], JsonObject]) -> JsonObject:
    with transaction(point="api.create_strike") as session:
        made = strikes.create_strike(session, body)
        audit.record(session, caller.username, "create_strike", strike_id=made.id, name=made.name)
        return show(made)


@router.get("/strikes/", summary="Strike process list", dependencies=READ)
def list_strikes(
    request: Request,
    window: Annotated[Window, ordered_by(strike_lists.STRIKE_FIELDS)],
    name: Annotated[list[str], Query(description="Only the Strike process with this name; repeatable.")] = [],  # noqa: B006 - FastAPI copies it
) -> Reply:
    """Return all Strike processes with their jobs, by name unless another order is asked for."""
    with transaction() as session:
        found = strike_lists.list_strikes(session, window, names=name)
        return page_of(request, window, found, strike_in_list)


@router.post(
    "/strikes/",
    summary="Create Strike process",
    status_code=201,
    openapi_extra=documented_by("strike-1.0", example=_EXAMPLE),
)
def create_strike(caller: CreatorDep, body: JsonBody, links: LinksDep) -> Reply:
    """Create a Strike process, as `/strike/create/` does; the answer shows all of it."""
    made = _create(caller, body, whole_strike)
    return created(made, links.to(f"/strikes/{made['id']}/"))


@router.post(
    "/strikes/validation/",
    summary="Validate Strike process",
    responses=WARNED,
    openapi_extra=documented_by("strike-1.0", example=_EXAMPLE),
)
def validate_strike(caller: CreatorDep, body: JsonBody) -> Reply:
    """Check a Strike process without saving it; its name may exist already.

    A directory that the API server can't see is a warning: workers may.
    """
    with transaction() as session:
        return Reply(warnings(strikes.validate_strike(session, body)))


@router.get("/strikes/{strike_id}/", summary="Strike process details", dependencies=READ)
def get_strike(strike_id: PathId) -> Reply:
    """Return a Strike process with its job and configuration."""
    with transaction() as session:
        return Reply(whole_strike(strikes.get_strike(session, strike_id)))


@router.patch(
    "/strikes/{strike_id}/",
    summary="Edit Strike process",
    openapi_extra=documented_by("strike-1.0", editing=True, without=("name",)),
)
def edit_strike(caller: EditorDep, strike_id: PathId, body: JsonBody) -> Reply:
    """Change a Strike process; it goes on with its new configuration at once.

    `is_active` false switches it off: its job is CANCELED and its directory left alone. True switches it on.
    """
    with transaction(point="api.edit_strike") as session:
        edited = strikes.edit_strike(session, strike_id, body)
        fields = audit.fields_of(body)
        audit.record(session, caller.username, "edit_strike", strike_id=strike_id, fields=fields)
        session.flush()
        return Reply(whole_strike(edited))
