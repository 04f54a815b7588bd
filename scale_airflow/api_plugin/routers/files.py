# SPDX-License-Identifier: Apache-2.0
"""Files of any kind, and their content: as attachments, in ranges, only for who may read their kind."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from scale_airflow.api_plugin.auth import Caller, CallerDep
from scale_airflow.api_plugin.downloads import download
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.parameters import PathId
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views.files import any_file
from scale_airflow.errors import Forbidden
from scale_airflow.services.file_content import content_of, file_details
from scale_airflow.store.models import ScaleFile
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Files"])

_RESOURCES = {"SOURCE": "Scale Sources", "PRODUCT": "Scale Products"}


@router.get("/files/{file_id}/", summary="File details")
def get_file(file_id: PathId, caller: CallerDep, links: LinksDep) -> Reply:
    """Return a source or product file."""
    _demand_any(caller)
    with transaction() as session:
        file = file_details(session, file_id)
        _demand(caller, file)
        return Reply(any_file(file, links))


@router.head("/files/{file_id}/content/", include_in_schema=False)
@router.get("/files/{file_id}/content/", summary="File content")
def get_content(file_id: PathId, caller: CallerDep, request: Request) -> Response:
    """Download a file from its workspace. `Range` and `If-None-Match` are understood."""
    _demand_any(caller)
    with transaction() as session:
        file = file_details(session, file_id)
        _demand(caller, file)
        content = content_of(file)
    return download(request, content)


def _demand(caller: Caller, file: ScaleFile) -> None:
    caller.demand("GET", _RESOURCES[file.kind])


def _demand_any(caller: Caller) -> None:
    """Let who may read neither kind not even learn which files there are."""
    if not any(caller.may("GET", resource) for resource in _RESOURCES.values()):
        caller.demand("GET", "Scale Products")
        raise Forbidden("You lack the permission to read files.")
