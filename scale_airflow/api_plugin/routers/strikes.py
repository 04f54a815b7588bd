# SPDX-License-Identifier: Apache-2.0
"""Strike processes (specification: Strike Services)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import JsonBody
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.schemas import documented_by
from scale_airflow.errors import InvalidDocument, InvalidRequest
from scale_airflow.services import audit, strikes
from scale_airflow.store.session import transaction

router = APIRouter(prefix="/strike", tags=["Strikes"])

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


@router.post(
    "/create/",
    summary="Create a Strike process",
    status_code=200,
    openapi_extra=documented_by("strike-1.0", example=_EXAMPLE),
)
def create(caller: CreatorDep, body: JsonBody) -> Reply:
    """Create a Strike process; it watches its directory from now on."""
    try:
        with transaction(point="api.create_strike") as session:
            strike = strikes.create_strike(session, body)
            audit.record(session, caller.username, "create_strike", strike_id=strike.id, name=strike.name)
            answer = {"strike_id": strike.id}
    except InvalidDocument as error:
        if all(fault.path.startswith("/configuration") for fault in error.faults):
            raise InvalidRequest("Configuration failed to validate.", error.faults) from None
        raise
    return Reply(answer)
