# SPDX-License-Identifier: Apache-2.0
"""Queue services: what waits, and how work is queued."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from scale_airflow.api_plugin.auth import Caller, requires
from scale_airflow.api_plugin.bodies import (
    Field,
    JsonBody,
    check_fields,
    documented,
    field_faults,
    object_of,
    refuse,
    require_object,
    standing_in,
)
from scale_airflow.api_plugin.job_filters import filter_fields, listed, meant_by, read_filter
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import PagesDep
from scale_airflow.api_plugin.replies import Reply, created
from scale_airflow.api_plugin.schemas import body_of
from scale_airflow.api_plugin.views import work
from scale_airflow.api_plugin.views.moments import moment
from scale_airflow.definitions.documents import nested
from scale_airflow.definitions.faults import describe
from scale_airflow.definitions.job_data import JobData
from scale_airflow.definitions.recipe_data import RecipeData
from scale_airflow.services import audit, bulk_queue, facts, queue, queue_status, requeue, work_details
from scale_airflow.services.bulk_queue import Wanted
from scale_airflow.services.lookup import by_id
from scale_airflow.store.models import RecipeType
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Queue"])

_JOB = {
    "job_type_id": Field("integer", required=True, description="The job type of the new job.", example=1234),
    "job_data": Field(
        "object",
        description="The data to run the job on (Job Data 1.0).",
        document=JobData.parse,
        example={
            "version": "1.0",
            "input_data": [{"name": "Param 1", "value": "HELLO"}, {"name": "Param 2", "file_id": 9876}],
            "output_data": [{"name": "Param 3", "workspace_id": 15}],
        },
    ),
}
_NEW_JOBS = {"jobs": Field("array", required=True)}
_JOBS = body_of(
    {
        "type": "object",
        "required": ["jobs"],
        "additionalProperties": False,
        "properties": {
            "jobs": {
                "type": "array",
                "description": "The jobs, in the order in which they are to be queued.",
                "minItems": 1,
                "maxItems": bulk_queue.MOST_JOBS,
                "items": object_of(_JOB),
            }
        },
    },
    {"jobs": [{name: field.example for name, field in _JOB.items()}]},
)
_RECIPE = {
    "recipe_type_id": Field(
        "integer", required=True, description="The type of the new recipe.", example=1234
    ),
    "recipe_data": Field(
        "object",
        description="The data to run the recipe on (Recipe Data 1.0).",
        document=RecipeData.parse,
        example={
            "version": "1.0",
            "input_data": [
                {"name": "image", "file_id": 1234},
                {"name": "georeference_data", "file_id": 1235},
            ],
            "workspace_id": 12,
        },
    ),
}
_PRIORITY = Field(
    "integer",
    nullable=True,
    description="The new priority of these jobs, lower runs first; they keep theirs without it.",
    example=10,
    minimum=0,
    maximum=2**31 - 1,
)
_REQUEUE = {**filter_fields(requeue.REQUEUEABLE), "priority": _PRIORITY}
_REQUEUE_ONE = {"job_id": Field("integer", required=True, description="The job.", example=1234)}
EditorDep = Annotated[Caller, Depends(requires("PUT", "Scale Jobs"))]


@router.get("/queue/status/", summary="Queue status", dependencies=[Depends(requires("GET", "Scale Queue"))])
def get_queue_status() -> Reply:
    """Return what waits, grouped by job type, the most urgent first."""
    with transaction() as session:
        rows = queue_status.queue_status(session)
    return Reply(
        {
            "queue_status": [
                {
                    "count": row.waiting,
                    "longest_queued": moment(row.longest_queued),
                    "job_type_name": row.job_type_name,
                    "job_type_version": row.job_type_version,
                    "highest_priority": row.highest_priority,
                    "is_job_type_paused": row.is_job_type_paused,
                }
                for row in rows
            ]
        }
    )


@router.post("/queue/new-job/", summary="Queue new job", status_code=201, openapi_extra=documented(_JOB))
def queue_new_job(
    caller: Annotated[Caller, Depends(requires("POST", "Scale Jobs"))], body: JsonBody, links: LinksDep
) -> Reply:
    """Create a job of a type on the given data and put it on the queue."""
    given = check_fields(body, _JOB)
    with transaction(point="api.queue_new_job") as session:
        job_type, revision = facts.job_type_and_revision(session, given["job_type_id"])
        with standing_in("job_data"):
            job = queue.queue_job(
                session,
                job_type=job_type,
                data=given.get("job_data", {}),
                event=queue.user_event(session, caller.username),
                revision=revision,
            )
        about = {"job_type_id": job_type.id, "job_id": job.id}
        audit.record(session, caller.username, "queue_new_job", **about)
        found = work_details.new_job_details(session, job)
        return created(work.job_details(found, links), links.to(f"/job-executions/{found.executions[0].id}/"))


@router.post("/queue/new-jobs/", summary="Queue new jobs", status_code=201, openapi_extra=_JOBS)
def queue_new_jobs(
    caller: Annotated[Caller, Depends(requires("POST", "Scale Jobs"))], body: JsonBody
) -> Reply:
    """Create many jobs and put them on the queue, all of them or, if anything is wrong, none.

    Each entry of `jobs` is what `/queue/new-job/` takes. The answer names the jobs, and their executions, in
    the order of the request. All come of one trigger event.
    """
    wanted = _wanted_jobs(body)
    with transaction(point="api.queue_new_jobs") as session, standing_in("jobs"):
        made = bulk_queue.queue_jobs(session, wanted, queue.user_event(session, caller.username))
        numbers = [each.job_id for each in made]
        audit.record(session, caller.username, "queue_new_jobs", job_ids=numbers)
        shown = [{"id": each.job_id, "job_exe": {"id": each.execution_id}} for each in made]
        return Reply({"count": len(shown), "results": shown}, status_code=201)


def _wanted_jobs(body: object) -> list[Wanted]:
    """Read which jobs are to be queued.

    :raises InvalidRequest: with every fault of the fields, and then also of the job data.
    """
    given = require_object(body)
    faults = field_faults(given, _NEW_JOBS)
    entries = given.get("jobs")
    entries = entries if isinstance(entries, list) else []
    if not faults and not 1 <= len(entries) <= bulk_queue.MOST_JOBS:
        message = f"From 1 to {bulk_queue.MOST_JOBS} jobs can be queued at once; there are {len(entries)}."
        faults.add("/jobs", "", message)
    if len(entries) > bulk_queue.MOST_JOBS:
        entries = []  # they are not looked at
    sound = []
    for index, entry in enumerate(entries):
        place = f"/jobs/{index}"
        if not isinstance(entry, dict):
            faults.add(place, "", f"A job must be an object, but this is {describe(entry)}.")
        elif found := field_faults(entry, _JOB):
            faults.extend(found.found, place)
        else:
            sound.append((f"{place}/job_data", Wanted(entry["job_type_id"], entry.get("job_data", {}))))
        if faults.are_enough:
            break
    if faults:
        for place, wanted in sound:
            nested(JobData.parse, wanted.data, place, faults)
    refuse(faults, given)
    return [wanted for _, wanted in sound]


@router.post(
    "/queue/new-recipe/", summary="Queue new recipe", status_code=201, openapi_extra=documented(_RECIPE)
)
def queue_new_recipe(
    caller: Annotated[Caller, Depends(requires("POST", "Scale Recipes"))], body: JsonBody, links: LinksDep
) -> Reply:
    """Create a recipe of a type on the given data and put its first jobs on the queue."""
    given = check_fields(body, _RECIPE)
    with transaction(point="api.queue_new_recipe") as session:
        recipe_type = by_id(session, RecipeType, given["recipe_type_id"], "recipe type")
        with standing_in("recipe_data"):
            recipe = queue.queue_recipe(
                session,
                recipe_type=recipe_type,
                data=given.get("recipe_data", {}),
                event=queue.user_event(session, caller.username),
            )
        about = {"recipe_type_id": recipe_type.id, "recipe_id": recipe.id}
        audit.record(session, caller.username, "queue_new_recipe", **about)
        found = work_details.recipe_details(session, recipe.id)
        return created(work.recipe_details(found, links), links.to(f"/recipes/{recipe.id}/"))


@router.post(
    "/queue/requeue-jobs/",
    summary="Requeue jobs",
    openapi_extra=documented(_REQUEUE, minProperties=1),
)
def requeue_jobs(
    caller: EditorDep, body: Annotated[Any, Depends(meant_by(_REQUEUE))], window: PagesDep
) -> Reply:
    """Give FAILED and CANCELED jobs one more try, all in one transaction.

    A job that was queued before is QUEUED again, also when its `max_tries` were used up. One that never was
    waits for its parents again (PENDING, or BLOCKED). Jobs that match and are in another state stay as they
    are. At least one filter is needed; all that are given must hold.

    The answer lists all jobs that match, as they are now, `page_size` of them; `count` is how many they are.
    """
    wanted, others = read_filter(body, _REQUEUE)
    with transaction(point="api.requeue_jobs") as session:
        done = requeue.requeue_jobs(session, wanted, priority=others.get("priority"))
        audit.record(session, caller.username, "requeue_jobs", filter=body, job_ids=done.changed)
        return listed(session, done.matched, window)


@router.post(
    "/queue/requeue-job/",
    summary="Requeue job",
    openapi_extra=documented(_REQUEUE_ONE),
    responses={409: {"description": "The job is neither FAILED nor CANCELED."}},
)
def requeue_job(caller: EditorDep, body: JsonBody, links: LinksDep) -> Reply:
    """Give one FAILED or CANCELED job as many further tries as its job type allows (the older request)."""
    given = check_fields(body, _REQUEUE_ONE)
    with transaction(point="api.requeue_job") as session:
        requeue.requeue_job(session, given["job_id"])
        audit.record(session, caller.username, "requeue_job", job_id=given["job_id"])
        session.flush()
        return Reply(work.job_details(work_details.job_details(session, given["job_id"]), links))
