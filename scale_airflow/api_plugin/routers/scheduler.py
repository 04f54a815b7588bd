# SPDX-License-Identifier: Apache-2.0
"""Scheduler services: one switch for the whole system."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import Field, JsonBody, check_fields, documented
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.replies import Reply, created
from scale_airflow.services import audit, scheduler
from scale_airflow.store.models import Scheduler
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Scheduler"])

EditorDep = Annotated[Caller, Depends(requires("PUT", "Scale Scheduler"))]

_FIELDS = {
    "is_paused": Field(
        "boolean",
        description="Whether nothing new starts anywhere. Running work goes on, and nodes keep their own "
        "pauses.",
        example=True,
    )
}


def _shown(row: Scheduler) -> dict[str, Any]:
    return {"is_paused": row.is_paused}


@router.get(
    "/scheduler/", summary="Get scheduler", dependencies=[Depends(requires("GET", "Scale Scheduler"))]
)
def get_scheduler() -> Reply:
    """Return whether the scheduler is paused."""
    with transaction() as session:
        return Reply(_shown(scheduler.get_scheduler(session)))


@router.patch(
    "/scheduler/",
    summary="Update scheduler",
    status_code=201,
    openapi_extra=documented(_FIELDS, minProperties=1),
)
def edit_scheduler(caller: EditorDep, body: JsonBody, links: LinksDep) -> Reply:
    """Pause the scheduler or let it go on; either takes effect with the next start of a job."""
    given = check_fields(body, _FIELDS, any_of=True)
    with transaction(point="api.edit_scheduler") as session:
        changed = scheduler.pause_scheduler(session, is_paused=given["is_paused"])
        audit.record(session, caller.username, "edit_scheduler", changes=given)
        return created(_shown(changed), links.to("/scheduler/"))
