# SPDX-License-Identifier: Apache-2.0
"""Import/export services: errors, job types and recipe types as one document."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import Field, JsonBody, check_fields
from scale_airflow.api_plugin.parameters import Identifier, OneOf
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.routers.job_types import may_use_privileged
from scale_airflow.api_plugin.schemas import WARNED, body_of
from scale_airflow.api_plugin.views.warnings import warnings
from scale_airflow.definitions.configuration_export import ConfigurationExport
from scale_airflow.definitions.documents import load_json, schema
from scale_airflow.definitions.faults import quote
from scale_airflow.errors import Fault, InvalidDocument, InvalidRequest, listed
from scale_airflow.services import audit, transfer
from scale_airflow.store.base import utcnow
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Configuration"])

READ = [Depends(requires("GET", "Scale Configuration"))]
ImporterDep = Annotated[Caller, Depends(requires("POST", "Scale Configuration"))]

_FIELDS = {"import": Field("any", required=True, document=ConfigurationExport.parse)}
_DOCUMENT = {
    "type": "object",
    "required": ["import"],
    "additionalProperties": False,
    "properties": {
        "import": {key: value for key, value in schema("configuration-1.0").items() if key[0] != "$"}
    },
}
_EXAMPLE = {
    "import": {
        "version": "1.0",
        "errors": [
            {"name": "bad-data", "title": "Bad Data", "description": "Bad data detected", "category": "DATA"}
        ],
        "job_types": [],
        "recipe_types": [],
    }
}
_FILE = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "import": {
                            "type": "string",
                            "format": "binary",
                            "description": "One file, *.json: what an export downloaded.",
                        }
                    },
                },
                "example": {"import": json.dumps(_EXAMPLE["import"])},
            }
        },
    }
}

Ids = list[Identifier]
T = TypeVar("T")


def exported(
    include: Annotated[
        list[Annotated[str | None, OneOf(*transfer.PARTS)]],
        Query(description="Part to include: recipe_types, job_types or errors; repeatable."),
    ] = [],  # noqa: B006 - FastAPI copies it
    recipe_type_id: Annotated[Ids, Query(description="Only this recipe type; repeatable.")] = [],  # noqa: B006
    recipe_type_name: Annotated[
        list[str], Query(description="Only recipe types with this name; repeatable.")
    ] = [],  # noqa: B006
    job_type_id: Annotated[Ids, Query(description="Only this job type; repeatable.")] = [],  # noqa: B006
    job_type_name: Annotated[list[str], Query(description="Only job types with this name; repeatable.")] = [],  # noqa: B006
    job_type_category: Annotated[
        list[str], Query(description="Only job types of this category; repeatable.")
    ] = [],  # noqa: B006
    error_id: Annotated[Ids, Query(description="Only this error; repeatable.")] = [],  # noqa: B006
    error_name: Annotated[list[str], Query(description="Only errors with this name; repeatable.")] = [],  # noqa: B006
) -> dict[str, Any]:
    """Read the filters of an export and return the document."""
    with transaction() as session:
        return transfer.export_configuration(
            session,
            include=[part for part in include if part],
            recipe_type_ids=recipe_type_id,
            recipe_type_names=recipe_type_name,
            job_type_ids=job_type_id,
            job_type_names=job_type_name,
            job_type_categories=job_type_category,
            error_ids=error_id,
            error_names=error_name,
        )


ExportedDep = Annotated[dict[str, Any], Depends(exported)]


@router.get("/configuration/", summary="Export", dependencies=READ)
def export_configuration(document: ExportedDep) -> Reply:
    """Return errors, job types and recipe types as one document; those of the system are left out.

    Filters cascade: of filtered recipe types only the job types, and of these only the errors, are exported.
    """
    return Reply(document)


@router.get("/configuration/download/", summary="Export download", dependencies=READ)
def download_configuration(document: ExportedDep) -> Response:
    """Return an export as a file to save."""
    name = utcnow().strftime("scale-export_%Y-%m-%d_%H-%M-%S.json")
    content = json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace")
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return Response(content, media_type="application/json", headers=headers)


@router.post(
    "/configuration/", summary="Import", responses=WARNED, openapi_extra=body_of(_DOCUMENT, _EXAMPLE)
)
def import_configuration(caller: ImporterDep, body: JsonBody) -> Reply:
    """Create or change everything in an export document, all of it or nothing."""
    document = _import_of(body)
    return _inside_import(lambda: _import(document, caller))


@router.post(
    "/configuration/validation/",
    summary="Validate import",
    responses=WARNED,
    openapi_extra=body_of(_DOCUMENT, _EXAMPLE),
)
def validate_import(caller: ImporterDep, body: JsonBody) -> Reply:
    """Check an export document as an import would, without saving anything."""
    document = _import_of(body)

    def check() -> Reply:
        with transaction() as session:
            found = transfer.validate_import(session, document, may_use_privileged=may_use_privileged(caller))
        return Reply(warnings(found))

    return _inside_import(check)


def _import_of(body: Any) -> Any:
    """Return the document in a body.

    :raises InvalidRequest: with every fault; also for the document itself, as an export downloads it.
    """
    if isinstance(body, dict) and "import" not in body and {*transfer.PARTS} & body.keys():
        message = (
            'This is an export document itself: send it as the value of "import", as in {"import": {…}}, or '
            "as a file to /configuration/upload/."
        )
        raise InvalidRequest(message, [Fault("", message)])
    return check_fields(body, _FIELDS)["import"]


async def uploaded(request: Request) -> Any:
    """Read the one file of an upload: a form's, or the body with its name in ``X-File-Name``.

    :raises InvalidRequest: if there is not exactly one file, it is no ``*.json``, or holds no JSON.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async with request.form(max_files=10, max_fields=100) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            if len(files) != 1:
                raise InvalidRequest(f"Upload exactly one file; the request has {len(files)}.")
            name, content = files[0].filename or "", await files[0].read()
    elif "x-file-name" in request.headers:
        name, content = request.headers["x-file-name"], await request.body()
    else:
        raise InvalidRequest(
            "Upload one file as multipart/form-data, or as the body with its name in the header X-File-Name."
        )
    if not name.lower().endswith(".json"):
        raise InvalidRequest(f"The file must be a .json file, but it is {quote(name)}.")
    try:
        return await run_in_threadpool(load_json, content)
    except InvalidDocument as error:
        raise InvalidRequest(f"The file can't be read: {listed(error.faults)}", error.faults) from None


@router.post("/configuration/upload/", summary="Import upload", responses=WARNED, openapi_extra=_FILE)
def upload_configuration(caller: ImporterDep, document: Annotated[Any, Depends(uploaded)]) -> Reply:
    """Import an uploaded export document, all of it or nothing."""
    return _import(document, caller)


def _import(document: Any, caller: Caller) -> Reply:
    with transaction(point="api.import_configuration") as session:
        found = transfer.import_configuration(
            session, document, may_use_privileged=may_use_privileged(caller)
        )
        audit.record(session, caller.username, "import_configuration", **audit.names_in(document))
    return Reply(warnings(found))


def _inside_import(work: Callable[[], T]) -> T:
    """Let the pointers of faults begin at the body, in which the document is the field ``import``."""
    try:
        return work()
    except InvalidDocument as error:
        faults = [Fault(f"/import{fault.path}", fault.message, fault.rule) for fault in error.faults]
        raise InvalidDocument(error.kind, faults) from None
