# SPDX-License-Identifier: Apache-2.0
"""Strike processes (specification: Strike Services)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import Field, JsonBody, check_fields, documented
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.errors import InvalidDocument, InvalidRequest
from scale_airflow.services import audit, strikes
from scale_airflow.store.session import transaction

router = APIRouter(prefix="/strike", tags=["Strikes"])

_FIELDS = {
    "name": Field("string", required=True, description="The unique name of the Strike process."),
    "title": Field("string", nullable=True, description="A title for people."),
    "description": Field("string", nullable=True, description="What the Strike process is for."),
    "configuration": Field(
        "object",
        required=True,
        description="Which directory is watched, and how its files are ingested (Strike Configuration 1.0).",
        example={
            "version": "1.0",
            "mount": "host:/my/path",
            "transfer_suffix": "_tmp",
            "files_to_ingest": [
                {"filename_regex": ".*txt", "workspace_path": "my/path", "workspace_name": "rs"}
            ],
        },
    ),
}

CreatorDep = Annotated[Caller, Depends(requires("POST", "Scale Strikes"))]


@router.post(
    "/create/", summary="Create a Strike process", openapi_extra=documented(_FIELDS), status_code=200
)
def create(caller: CreatorDep, body: JsonBody) -> Reply:
    """Create a Strike process; it watches its directory from now on."""
    document = check_fields(body, _FIELDS)
    try:
        with transaction(point="api.create_strike") as session:
            strike = strikes.create_strike(session, document)
            audit.record(session, caller.username, "create_strike", strike_id=strike.id, name=strike.name)
            answer = {"strike_id": strike.id}
    except InvalidDocument as error:
        if all(fault.path.startswith("/configuration") for fault in error.faults):
            raise InvalidRequest("Configuration failed to validate.", error.faults) from None
        raise
    return Reply(answer)
