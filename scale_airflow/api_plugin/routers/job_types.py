# SPDX-License-Identifier: Apache-2.0
"""Job type services: algorithms, their interface, image and needs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.orm import Session

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import JsonBody
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import PagesDep, ordered_by, page_of
from scale_airflow.api_plugin.parameters import PathId
from scale_airflow.api_plugin.replies import Reply, created
from scale_airflow.api_plugin.schemas import WARNED, documented_by
from scale_airflow.api_plugin.views import types
from scale_airflow.api_plugin.views.types import JsonObject
from scale_airflow.api_plugin.views.warnings import warnings
from scale_airflow.services import audit, job_type_status, job_types, type_lists
from scale_airflow.services.listing import Window
from scale_airflow.services.time_ranges import lately_faults
from scale_airflow.store.models import JobType
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Job types"])

READ = [Depends(requires("GET", "Scale Job Types"))]
CreatorDep = Annotated[Caller, Depends(requires("POST", "Scale Job Types"))]
EditorDep = Annotated[Caller, Depends(requires("PUT", "Scale Job Types"))]

_EXAMPLE = {
    "name": "my-job",
    "version": "1.0",
    "title": "My Job",
    "description": "This is a description of the job",
    "category": "test",
    "author_name": None,
    "author_url": None,
    "is_long_running": False,
    "is_operational": True,
    "is_paused": False,
    "icon_code": "f1c5",
    "docker_privileged": False,
    "docker_image": None,
    "priority": 1,
    "timeout": 0,
    "max_tries": 0,
    "cpus_required": 0.5,
    "mem_required": 64.0,
    "disk_out_const_required": 64.0,
    "disk_out_mult_required": 0.0,
    "interface": {
        "version": "1.0",
        "command": "test_cmd",
        "command_arguments": "test_arg",
        "input_data": [{"media_types": ["image/png"], "type": "file", "name": "input_file"}],
        "output_data": [],
        "shared_resources": [],
    },
    "error_mapping": {"version": "1.0", "exit_codes": {"1": "unknown"}},
    "trigger_rule": {
        "type": "PARSE",
        "is_active": True,
        "configuration": {
            "version": "1.0",
            "condition": {"media_type": "image/png", "data_types": []},
            "data": {"input_data_name": "input_file", "workspace_name": "rs"},
        },
    },
}


def may_use_privileged(caller: Caller) -> bool:
    """Tell whether a caller may have jobs run in privileged containers or as processes of the worker."""
    return caller.may("PUT", "Scale Privileged Containers")


def details(session: Session, job_type: JobType) -> JsonObject:
    """Return a job type with everything about it."""
    return types.job_type_details(
        job_type, job_types.errors_of(session, job_type), job_type_status.job_counts(session, job_type.id)
    )


@router.get("/job-types/", summary="Job type list", dependencies=READ)
def list_job_types(
    request: Request,
    window: Annotated[Window, ordered_by(type_lists.JOB_TYPE_ROW_FIELDS)],
    name: Annotated[list[str], Query(description="Only job types with this name; repeatable.")] = [],  # noqa: B006 - FastAPI copies it
    category: Annotated[list[str], Query(description="Only job types of this category; repeatable.")] = [],  # noqa: B006
) -> Reply:
    """Return all job types, by name and version unless another order is asked for."""
    with transaction() as session:
        found = type_lists.list_job_types(session, window, names=name, categories=category)
        return page_of(request, window, found, types.job_type)


@router.post(
    "/job-types/",
    summary="Create job type",
    status_code=201,
    openapi_extra=documented_by("job-type-1.0", example=_EXAMPLE),
)
def create_job_type(caller: CreatorDep, body: JsonBody, links: LinksDep) -> Reply:
    """Create a job type with its interface, error mapping and trigger rule."""
    with transaction(point="api.create_job_type") as session:
        made, _ = job_types.create_job_type(session, body, may_use_privileged=may_use_privileged(caller))
        about = {"name": made.name, "version": made.version}
        audit.record(session, caller.username, "create_job_type", job_type_id=made.id, **about)
        return created(details(session, made), links.to(f"/job-types/{made.id}/"))


@router.post(
    "/job-types/validation/",
    summary="Validate job type",
    responses=WARNED,
    openapi_extra=documented_by("job-type-1.0", example=_EXAMPLE),
)
def validate_job_type(caller: CreatorDep, body: JsonBody) -> Reply:
    """Check a job type without saving it; its name and version may exist already."""
    with transaction() as session:
        found = job_types.validate_job_type(session, body, may_use_privileged=may_use_privileged(caller))
        return Reply(warnings(found))


@router.get("/job-types/status/", summary="Job types status", dependencies=READ)
def list_status(
    request: Request, window: Annotated[Window, ordered_by(job_type_status.STATUS_FIELDS, lately_faults)]
) -> Reply:
    """Return all job types with counts of their jobs by status.

    Jobs count that came into their status in the range (by default the last three hours), and all that run.
    """
    with transaction() as session:
        return page_of(request, window, job_type_status.list_status(session, window), types.type_status)


@router.get("/job-types/running/", summary="Job types running", dependencies=READ)
def list_running(request: Request, window: PagesDep) -> Reply:
    """Return the job types that have running jobs, the one with the longest running job first."""
    with transaction() as session:
        return page_of(request, window, job_type_status.list_running(session, window), types.running_type)


@router.get("/job-types/system-failures/", summary="Job type system failures", dependencies=READ)
def list_system_failures(request: Request, window: PagesDep) -> Reply:
    """Return which system errors jobs of which types are FAILED with, the latest error first."""
    with transaction() as session:
        found = job_type_status.list_system_failures(session, window)
        return page_of(request, window, found, types.system_failure)


@router.get("/job-types/{job_type_id}/", summary="Job type details", dependencies=READ)
def get_job_type(job_type_id: PathId) -> Reply:
    """Return a job type with its interface, error mapping, errors, trigger rule and counts of its jobs."""
    with transaction() as session:
        return Reply(details(session, job_types.get_job_type(session, job_type_id)))


@router.patch(
    "/job-types/{job_type_id}/",
    summary="Edit job type",
    openapi_extra=documented_by("job-type-1.0", editing=True, without=("name", "version")),
)
def edit_job_type(caller: EditorDep, job_type_id: PathId, body: JsonBody) -> Reply:
    """Change a job type. Another interface makes a new revision, if all recipe types that use it still fit.

    `trigger_rule` null removes the rule, `{"is_active": ...}` alone switches it. Unknown fields are ignored.
    """
    with transaction(point="api.edit_job_type") as session:
        edited, _ = job_types.edit_job_type(
            session, job_type_id, body, may_use_privileged=may_use_privileged(caller)
        )
        about = {"job_type_id": job_type_id, "fields": audit.fields_of(body)}
        audit.record(session, caller.username, "edit_job_type", **about)
        return Reply(details(session, edited))


@router.get("/job-types/{job_type_id}/revisions/", summary="Job type revisions", dependencies=READ)
def list_revisions(
    request: Request, job_type_id: PathId, window: Annotated[Window, ordered_by(type_lists.REVISION_FIELDS)]
) -> Reply:
    """Return the revisions of a job type, the latest first, each with its interface and its DAG."""
    with transaction() as session:
        found = type_lists.list_job_type_revisions(session, job_type_id, window)
        return page_of(request, window, found, types.job_type_revision)
