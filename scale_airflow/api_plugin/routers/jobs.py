# SPDX-License-Identifier: Apache-2.0
"""Job services: jobs of any state."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import Field, JsonBody, check_fields, documented
from scale_airflow.api_plugin.filters import JobTypesDep
from scale_airflow.api_plugin.job_filters import filter_fields, listed, meant_by, read_filter
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import PagesDep, ordered_by, page_of
from scale_airflow.api_plugin.parameters import Identifier, OneOf, PathId
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views import work
from scale_airflow.services import audit, cancel, jobs, work_details, work_lists
from scale_airflow.services.listing import Window
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import JOB_STATUSES
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Jobs"])

READ = [Depends(requires("GET", "Scale Jobs"))]
EditorDep = Annotated[Caller, Depends(requires("PUT", "Scale Jobs"))]

_CHANGES = {
    "status": Field(
        "string",
        required=True,
        description="The new status: only CANCELED, which cancels a running, queued, blocked or failed job.",
        example="CANCELED",
        choices=("CANCELED",),
    )
}
_CANCEL = filter_fields(cancel.CANCELABLE)

StatusDep = Annotated[str | None, OneOf(*JOB_STATUSES), Query(description="Only jobs with this status.")]
JobIdsDep = Annotated[list[Identifier], Query(description="Only the job with this identifier; repeatable.")]


@router.get("/jobs/", summary="Job list", dependencies=READ)
def list_jobs(
    request: Request,
    window: Annotated[Window, ordered_by(work_lists.JOB_FIELDS)],
    job_types: JobTypesDep,
    status: StatusDep = None,
    job_id: JobIdsDep = [],  # noqa: B006 - FastAPI copies it
) -> Reply:
    """Return all jobs, in the order of `last_modified` unless another is asked for."""
    with transaction() as session:
        found = work_lists.list_jobs(session, JobFilter(status, tuple(job_id), job_types), window)
        return page_of(request, window, found, work.job)


@router.get("/jobs/updates/", summary="Job updates", dependencies=READ)
def list_updates(
    request: Request,
    links: LinksDep,
    window: Annotated[Window, ordered_by(work_lists.JOB_FIELDS)],
    job_types: JobTypesDep,
    status: StatusDep = None,
) -> Reply:
    """Return the jobs that came into their status in the time range, each with its input files.

    They are in the order of `last_status_change` unless another is asked for.
    """
    with transaction() as session:
        found = work_lists.list_job_updates(session, JobFilter(status, job_types=job_types), window)
        return page_of(request, window, found, lambda each: work.job_update(each, links))


@router.get("/jobs/executions/", summary="Job with execution list", dependencies=READ)
def list_with_executions(
    request: Request,
    window: Annotated[Window, ordered_by(work_lists.JOB_WITH_EXECUTION_FIELDS)],
    job_types: JobTypesDep,
    status: StatusDep = None,
    job_id: JobIdsDep = [],  # noqa: B006 - FastAPI copies it
) -> Reply:
    """Return all jobs, each with its latest execution; `latest_job_exe` is null if it has had none.

    They are in the order of `last_modified` unless another is asked for.
    """
    with transaction() as session:
        wanted = JobFilter(status, tuple(job_id), job_types)
        found = work_lists.list_jobs_with_executions(session, wanted, window)
        return page_of(request, window, found, work.job_with_execution)


@router.post(
    "/jobs/cancel/",
    summary="Cancel jobs",
    openapi_extra=documented(_CANCEL, minProperties=1),
)
def cancel_jobs(
    caller: EditorDep, body: Annotated[Any, Depends(meant_by(_CANCEL))], window: PagesDep
) -> Reply:
    """Cancel jobs, all in one transaction: waiting ones never start, the work of running ones is killed.

    Jobs that depend on them are BLOCKED. Jobs that match and are COMPLETED or CANCELED stay as they are. At
    least one filter is needed; all that are given must hold.

    The answer lists all jobs that match, as they are now, `page_size` of them; `count` is how many they are.
    """
    wanted, _ = read_filter(body, _CANCEL)
    with transaction(point="api.cancel_jobs") as session:
        done = cancel.cancel_jobs(session, wanted)
        audit.record(session, caller.username, "cancel_jobs", filter=body, job_ids=done.changed)
        return listed(session, done.matched, window)


@router.get("/jobs/{job_id}/", summary="Job details", dependencies=READ)
def get_job(job_id: PathId, links: LinksDep) -> Reply:
    """Return a job with its data, results, executions, recipes, inputs, outputs and products."""
    with transaction() as session:
        return Reply(work.job_details(work_details.job_details(session, job_id), links))


@router.patch("/jobs/{job_id}/", summary="Update job", openapi_extra=documented(_CHANGES))
def edit_job(caller: EditorDep, job_id: PathId, body: JsonBody, links: LinksDep) -> Reply:
    """Cancel a job. The work of its running execution is killed; jobs that depend on it are blocked."""
    check_fields(body, _CHANGES)
    with transaction(point="api.edit_job") as session:
        jobs.cancel_job(session, job_id)
        audit.record(session, caller.username, "edit_job", job_id=job_id, status="CANCELED")
        session.flush()
        return Reply(work.job_details(work_details.job_details(session, job_id), links))
