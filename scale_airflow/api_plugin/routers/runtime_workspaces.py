# SPDX-License-Identifier: Apache-2.0
"""The runtime endpoints of workspaces: node agents say how full their disks are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.runtime_access import raw_body, read_message, require_secret
from scale_airflow.execution.workspace_sizes import SizesReport, WorkspaceList
from scale_airflow.services import workspace_sizes
from scale_airflow.store.session import transaction

router = APIRouter(
    prefix="/runtime/workspaces",
    tags=["Runtime"],
    dependencies=[Depends(require_secret)],
)


@router.get("/")
def list_workspaces() -> Reply:
    """Name the workspaces that are in use, with their configurations."""
    with transaction() as session:
        return Reply(WorkspaceList(workspace_sizes.in_use(session)).to_dict())


@router.post("/sizes/")
def record(body: Annotated[bytes, Depends(raw_body)]) -> Reply:
    """Take note of how full their disks are."""
    report = read_message(SizesReport, body)
    with transaction(point="workspace_sizes.record") as session:
        workspace_sizes.record(session, report)
    return Reply({})
