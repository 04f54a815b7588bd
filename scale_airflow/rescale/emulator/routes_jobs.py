# SPDX-License-Identifier: Apache-2.0
"""Jobs: save, list, change, submit, stop, delete, and their histories."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from scale_airflow.rescale.emulator import catalog
from scale_airflow.rescale.emulator.answers import Answer, empty_answer, gateway_answer, json_answer
from scale_airflow.rescale.emulator.exchange import Emulator, Exchange
from scale_airflow.rescale.emulator.job_documents import JobRules
from scale_airflow.rescale.emulator.job_views import COMPLETED, job_document, job_summary
from scale_airflow.rescale.emulator.paging import page_of
from scale_airflow.rescale.emulator.records import CLUSTER, JOB, JobRecord
from scale_airflow.rescale.emulator.refusals import invalid, not_found, refused
from scale_airflow.rescale.emulator.routes_files import delete_files, files_answer
from scale_airflow.rescale.emulator.routing import Endpoint
from scale_airflow.rescale.emulator.views import status_document

SCOPE = "jobs-usage"
JOB_STATUSES = (
    "Pending",
    "Queued",
    "Started",
    "Validated",
    "Executing",
    "Completed",
    "Stopping",
    "Waiting for Cluster",
    "Force Stop",
    "Waiting for Queue",
)
_BY_FILTER = {one.upper().replace(" ", "_"): one for one in JOB_STATUSES}


def job_of(exchange: Exchange) -> JobRecord:
    """Return the job that the path names; 404 when the caller has no such job."""
    record = exchange.state.jobs.get(exchange.values["job"])
    if record is None or exchange.caller.email not in (record.owner, *record.shared_with):
        raise not_found()
    return record


def rules_for(emulator: Emulator, owner: str) -> JobRules:
    """Return what a user's jobs are checked against."""
    return JobRules(emulator.state, emulator.blobs, owner, emulator.settings.project_required)


def save_job(emulator: Emulator, owner: str, document: dict[str, Any], job_id: str = "") -> JobRecord:
    """Store a checked job and return its record.

    :param job_id: the wanted id; empty: a new one.
    """
    scenario = emulator.scenarios.popleft() if emulator.scenarios else ""
    record = JobRecord(
        id=job_id or emulator.state.new_id(),
        owner=owner,
        document=document,
        inserted=emulator.clock.now(),
        number=emulator.state.next_number(),
        scenario=scenario,
        tags=document["tags"],
    )
    emulator.state.put(record)
    return record


async def create_job(exchange: Exchange) -> Answer:
    """Answer row 7: save a job; it does not start."""
    body = await exchange.fields()
    rules = rules_for(exchange.emulator, exchange.caller.email)
    document = await asyncio.to_thread(rules.check, body)
    if any(
        not isinstance(one, dict) or "environmentVariables" not in one for one in document["jobAutomations"]
    ):
        # A known defect of the service, which clients must survive.
        return gateway_answer(500)
    record = save_job(exchange.emulator, exchange.caller.email, document)
    return json_answer(job_document(record, exchange.state, exchange.origin), 201)


async def list_jobs(exchange: Exchange) -> Answer:
    """Answer row 6: the caller's jobs, newest first."""
    state, query = exchange.state, exchange.query
    wanted, status = query.get("state"), query.get("job_status")
    faults = {}
    if wanted not in (None, "", "completed", "not_completed"):
        faults["state"] = [f"Select a valid choice. {wanted} is not one of the available choices."]
    if status and status.upper() not in _BY_FILTER:
        faults["job_status"] = [f"Select a valid choice. {status} is not one of the available choices."]
    if faults:
        raise invalid(faults)
    found = [
        one
        for one in state.jobs.values()
        if exchange.caller.email in (one.owner, *one.shared_with)
        and (not wanted or (state.latest(JOB, one.id) == COMPLETED) == (wanted == "completed"))
        and (not status or state.latest(JOB, one.id) == _BY_FILTER[status.upper()])
    ]
    ordering = query.get("ordering", "-dateInserted")
    if ordering.lstrip("-") == "name":
        found.sort(key=lambda one: (one.name, one.number), reverse=ordering.startswith("-"))
    else:
        found.sort(key=lambda one: one.number, reverse=ordering != "dateInserted")
    return json_answer(page_of(found, exchange.url, lambda one: job_summary(one, state)))


async def get_job(exchange: Exchange) -> Answer:
    """Answer row 8: one job, without a status."""
    return json_answer(job_document(job_of(exchange), exchange.state, exchange.origin))


async def update_job(exchange: Exchange) -> Answer:
    """Answer row 9: change a saved job. Once it was submitted this answers 200 and changes nothing."""
    record = job_of(exchange)
    body = await exchange.fields()
    if record.submitted is not None:
        if not exchange.emulator.settings.ignore_late_changes:
            raise refused("A submitted job can't be changed.")
    else:
        rules = rules_for(exchange.emulator, exchange.caller.email)
        document = await asyncio.to_thread(rules.check, {**record.document, "tags": record.tags, **body})
        # Looked at again: it may have been submitted or deleted meanwhile.
        record = job_of(exchange)
        if record.submitted is None:
            record = replace(record, document=document, tags=document["tags"])
            exchange.state.put(record)
    told = ("isLowPriority", "name", "projectId")
    return json_answer({"id": record.id, **{name: record.document[name] for name in told}})


async def delete_job(exchange: Exchange) -> Answer:
    """Answer row 10: delete a job and its results, when its cluster is stopped."""
    record = job_of(exchange)
    if record.cluster_up:
        raise refused("The job can't be deleted while its cluster is running.")
    state = exchange.state
    gone = state.output_files(record.id)
    if exchange.query.get("deleteInputFiles", "").lower() in ("true", "1"):
        inputs = [one for each in record.document["jobanalyses"] for one in each["inputFiles"]]
        gone += [state.files[one["id"]] for one in inputs if one["id"] in state.files]
    exchange.emulator.work.forget(record.id)
    state.remove(record)
    await delete_files(exchange, {one.id: one for one in gone}.values())
    return empty_answer(204)


async def submit_job(exchange: Exchange) -> Answer:
    """Answer row 11: start a saved job. For one that was submitted before, 200 without effect."""
    record = job_of(exchange)
    state = exchange.state
    exchange.emulator.counters.submits[record.id] += 1
    if record.submitted is None:
        missing = _missing_files(exchange, record)
        if missing:
            raise refused(f"The job can't be submitted: input files were deleted: {', '.join(missing)}.")
    state.change_job(record.id, submissions=record.submissions + 1)
    exchange.emulator.work.submit(record.id)
    return empty_answer(200)


def _missing_files(exchange: Exchange, record: JobRecord) -> list[str]:
    rules = rules_for(exchange.emulator, record.owner)
    named = [record.document["paramFile"], record.document["caseFile"]]
    for analysis in record.document["jobanalyses"]:
        named += [*analysis["inputFiles"], analysis["preProcessScript"], analysis["postProcessScript"]]
        named += [one["templateFile"] for one in analysis["templateTasks"]]
    missing = [one["id"] for one in named if one is not None and rules.file(one["id"]) is None]
    return [
        exchange.state.files[one].name if one in exchange.state.files else one
        for one in dict.fromkeys(missing)
    ]


async def stop_job(exchange: Exchange) -> Answer:
    """Answer row 12: end the commands with SIGTERM; results are kept."""
    record = job_of(exchange)
    if not exchange.emulator.work.stop(record.id):
        raise refused("The job is not running.")
    return empty_answer(202)


async def force_stop_job(exchange: Exchange) -> Answer:
    """Answer row 13: end the commands with hardly any patience."""
    record = job_of(exchange)
    if not exchange.emulator.work.force_stop(record.id):
        raise refused("The job is not running.")
    return empty_answer(202)


async def list_statuses(exchange: Exchange) -> Answer:
    """Answer row 14: the job's history, newest first; now and then 504 instead."""
    record = job_of(exchange)
    emulator = exchange.emulator
    emulator.status_requests += 1
    every = emulator.settings.gateway_timeout_every
    if every and emulator.status_requests % every == 0:
        return gateway_answer(504)
    told = emulator.clock.now() - timedelta(seconds=emulator.settings.statuses_late)
    history = [one for one in reversed(exchange.state.history(JOB, record.id)) if one.date <= told]
    offset = emulator.settings.mixed_dates
    return json_answer(page_of(history, exchange.url, lambda one: status_document(one, offset=offset)))


async def list_cluster_statuses(exchange: Exchange) -> Answer:
    """Answer row 15: the cluster's history, newest first; 404 until there is a cluster."""
    history = exchange.state.history(CLUSTER, job_of(exchange).id)[::-1]
    if not history:
        raise not_found()
    return json_answer(page_of(history, exchange.url, lambda one: status_document(one, offset=False)))


async def list_job_files(exchange: Exchange) -> Answer:
    """Answer row 16: results of the ended runs."""
    return files_answer(exchange, exchange.state.output_files(job_of(exchange).id))


async def list_instances(exchange: Exchange) -> Answer:
    """Answer row 24: the machines of an executing job."""
    instances = exchange.emulator.work.instances(job_of(exchange).id)
    return json_answer(page_of(instances, exchange.url, lambda one: one.to_document()))


async def get_connection_details(exchange: Exchange) -> Answer:
    """Answer row 25: how to reach the cluster."""
    instances = exchange.emulator.work.instances(job_of(exchange).id)
    return json_answer({"instances": [one.to_document() for one in instances]})


async def get_load(exchange: Exchange) -> Answer:
    """Answer row 26: made-up load of the cluster, a value an hour."""
    record = job_of(exchange)
    text = exchange.query.get("hours", "1")
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:6]) <= 1000:
        raise invalid({"hours": ["A valid integer is required."]})
    running = bool(exchange.emulator.work.instances(record.id))
    load = [{"hoursAgo": hour, "cpu": 100.0 if running else 0.0} for hour in range(int(text))]
    return json_answer({"clusterId": record.cluster_id or None, "measurements": load})


async def share_job(exchange: Exchange) -> Answer:
    """Answer row 27: let another user see a job."""
    record = job_of(exchange)
    email = (await exchange.fields()).get("email")
    if not isinstance(email, str) or "@" not in email:
        raise invalid({"email": ["Enter a valid email address."]})
    if email not in record.shared_with:
        exchange.state.change_job(record.id, shared_with=[*record.shared_with, email])
    return json_answer({"recipient": {"email": email}, "supportDesk": None}, 201)


async def attach_storage_device(exchange: Exchange) -> Answer:
    """Answer row 28: give a job a storage device, before it is submitted."""
    record = job_of(exchange)
    device = (await exchange.fields()).get("storageDevice")
    device_id = device.get("id") if isinstance(device, dict) else None
    known = exchange.state.devices.get(str(device_id))
    if known is None or known.owner != exchange.caller.email:
        raise invalid({"storageDevice": [f'Invalid pk "{device_id}" - object does not exist.']})
    if record.submitted is not None:
        raise refused("A storage device is attached before the job is submitted.")
    if known.id not in record.storage_device_ids:
        exchange.state.change_job(record.id, storage_device_ids=[*record.storage_device_ids, known.id])
    return json_answer({"job": record.id, "storageDevice": {"id": known.id}}, 201)


async def list_tags(exchange: Exchange) -> Answer:
    """Answer row 29: a job's tags."""
    return json_answer(page_of(job_of(exchange).tags, exchange.url, lambda one: {"name": one}))


async def add_tag(exchange: Exchange) -> Answer:
    """Answer row 29: give a job a tag."""
    record, name = job_of(exchange), await _tag_name(exchange)
    if name not in record.tags:
        exchange.state.change_job(record.id, tags=[*record.tags, name])
    return json_answer({"name": name}, 201)


async def delete_tag(exchange: Exchange) -> Answer:
    """Answer row 29: take a tag off a job."""
    record, name = job_of(exchange), await _tag_name(exchange)
    exchange.state.change_job(record.id, tags=[one for one in record.tags if one != name])
    return empty_answer(204)


async def _tag_name(exchange: Exchange) -> str:
    name = (await exchange.fields()).get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 255:
        raise invalid({"name": ["This field is required."]})
    return name


async def set_custom_fields(exchange: Exchange) -> Answer:
    """Answer row 30: set custom fields of a job."""
    record = job_of(exchange)
    fields = {**record.custom_fields, **await exchange.fields()}
    exchange.state.change_job(record.id, custom_fields=fields)
    return json_answer(fields)


async def assign_project(exchange: Exchange) -> Answer:
    """Answer row 31: charge a job to a project."""
    if exchange.values["org"] != catalog.ORGANIZATION:
        raise not_found()
    record = job_of(exchange)
    project = (await exchange.fields()).get("projectId")
    if not catalog.is_project(project):
        raise invalid({"projectId": [f'Invalid pk "{project}" - object does not exist.']})
    exchange.state.change_job(record.id, document={**record.document, "projectId": project})
    return json_answer({"jobId": record.id, "projectId": project})


ENDPOINTS = [
    Endpoint("/jobs/", SCOPE, {"GET": list_jobs, "POST": create_job}),
    Endpoint(
        "/jobs/{job}/",
        SCOPE,
        {"GET": get_job, "PUT": update_job, "PATCH": update_job, "DELETE": delete_job},
    ),
    Endpoint("/jobs/{job}/submit/", "job-submission", {"POST": submit_job}),
    Endpoint("/jobs/{job}/stop/", SCOPE, {"POST": stop_job}),
    Endpoint("/jobs/{job}/force_stop/", SCOPE, {"POST": force_stop_job}),
    Endpoint("/jobs/{job}/statuses/", SCOPE, {"GET": list_statuses}),
    Endpoint("/jobs/{job}/cluster_statuses/", SCOPE, {"GET": list_cluster_statuses}),
    Endpoint("/jobs/{job}/files/", SCOPE, {"GET": list_job_files}),
    Endpoint("/jobs/{job}/instances/", SCOPE, {"GET": list_instances}),
    Endpoint("/jobs/{job}/connection_details/", SCOPE, {"GET": get_connection_details}),
    Endpoint("/jobs/{job}/cluster-load-measurements/", SCOPE, {"GET": get_load}),
    Endpoint("/jobs/{job}/share/", SCOPE, {"POST": share_job}),
    Endpoint("/jobs/{job}/storage-devices/", SCOPE, {"POST": attach_storage_device}),
    Endpoint("/jobs/{job}/tags/", SCOPE, {"GET": list_tags, "POST": add_tag, "DELETE": delete_tag}),
    Endpoint("/jobs/{job}/custom-fields/", SCOPE, {"POST": set_custom_fields}),
    Endpoint("/organizations/{org}/jobs/{job}/project-assignment/", "user", {"POST": assign_project}),
]
