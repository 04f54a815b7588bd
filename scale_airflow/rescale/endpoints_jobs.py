# SPDX-License-Identifier: Apache-2.0
"""Jobs: save, submit, follow, stop, delete; and what hangs on a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from scale_airflow.rescale.calls import Call, Repeat, Scope, path_of
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.models import (
    ClusterStatus,
    Instance,
    Job,
    JobStatus,
    JobSummary,
    JobUpdate,
    tag_name,
)
from scale_airflow.rescale.paging import PagedCall

State = Literal["completed", "not_completed"]


def list_jobs(
    *,
    state: State | None = None,
    job_status: str | None = None,
    ordering: str | None = "-dateInserted",
    page_size: int | None = 100,
    **filters: Any,
) -> PagedCall[JobSummary]:
    """List jobs, newest first. Rescale API: list all jobs.

    :param job_status: ``PENDING``, ``QUEUED``, ``STARTED``, ``VALIDATED``, ``EXECUTING``, ``COMPLETED``,
        ``STOPPING``, ``WAITING_FOR_CLUSTER``, ``FORCE_STOP`` or ``WAITING_FOR_QUEUE``.
    :param filters: further parameters, as they are.
    """
    query = {"state": state, "job_status": job_status, "ordering": ordering, **filters}
    return PagedCall(
        path_of("jobs"),
        JobSummary.from_document,
        query=query,
        scope=Scope.JOBS_USAGE,
        page_size=page_size,
    )


def create_job(body: Mapping[str, Any]) -> Call[Job]:
    """Save a job. It is not started and costs nothing yet. Rescale API: create a job.

    Must not be repeated blindly: :class:`~scale_airflow.errors.RescaleUncertain` says that it may exist.
    Rescale fails (500) at automations without ``environmentVariables``: they get empty ones.
    """
    return Call(
        "POST",
        path_of("jobs"),
        Job.from_document,
        body=_with_variables(body),
        scope=Scope.JOBS_USAGE,
        repeat=Repeat.NEVER,
    )


def _with_variables(body: Mapping[str, Any]) -> dict[str, Any]:
    automations = body.get("jobAutomations")
    if not isinstance(automations, list):
        return dict(body)
    empty: dict[str, Any] = {"environmentVariables": {}}
    return {
        **body,
        "jobAutomations": [{**empty, **row} if isinstance(row, Mapping) else row for row in automations],
    }


def get_job(job_id: str) -> Call[Job]:
    """Return a job as it was saved. Rescale API: get a specific job."""
    return _job("GET", job_id, parse=Job.from_document)


def update_job(job_id: str, changes: Mapping[str, Any]) -> Call[JobUpdate]:
    """Change a saved job. Rescale API: update a job.

    Rescale answers 200 also where it changes nothing, because the job was submitted: use
    :func:`~scale_airflow.rescale.conversations.change_job`, which looks.
    """
    return _job("PATCH", job_id, parse=JobUpdate.from_document, body=dict(changes))


def submit_job(job_id: str) -> Call[None]:
    """Start a saved job: from here on it costs money. Rescale API: submit a saved job.

    Must not be repeated blindly: read the job's statuses first.
    """
    return _job(
        "POST",
        job_id,
        "submit",
        scope=Scope.JOB_SUBMISSION,
        repeat=Repeat.NEVER,
        reads="nothing",
        advice="Look whether its input files still exist and whether it was submitted before.",
    )


def stop_job(job_id: str) -> Call[None]:
    """Stop a job: its commands are sent SIGTERM, its files are saved. Rescale API: stop a job."""
    return _job("POST", job_id, "stop", reads="nothing")


def force_stop_job(job_id: str) -> Call[None]:
    """Stop a job at once. Rescale API: stop a job (forced)."""
    return _job("POST", job_id, "force_stop", reads="nothing")


def delete_job(job_id: str, *, delete_input_files: bool = False) -> Call[None]:
    """Delete a job. Rescale API: delete a job.

    :param delete_input_files: delete its inputs as well, whoever else uses them.
    """
    return _job(
        "DELETE",
        job_id,
        query={"deleteInputFiles": "True" if delete_input_files else None},
        reads="nothing",
        advice="A job can be deleted only once its cluster has stopped.",
    )


def list_statuses(job_id: str) -> PagedCall[JobStatus]:
    """List the history of a job, newest first. Rescale API: list job status history.

    Rescale answers 504 here now and then, which means nothing and is tried again.
    """
    return _list(job_id, "statuses", parse=JobStatus.from_document, flaky=frozenset({504}))


def list_cluster_statuses(job_id: str) -> PagedCall[ClusterStatus]:
    """List the history of a job's cluster. Rescale API: list cluster status history.

    Until the cluster exists Rescale answers 404; here that is an empty list.
    """
    return _list(
        job_id,
        "cluster_statuses",
        parse=ClusterStatus.from_document,
        tolerate=frozenset({404}),
        flaky=frozenset({504}),
    )


def list_job_files(job_id: str, *, search: str | None = None) -> PagedCall[RemoteFile]:
    """List the output files of a job's finished runs. Rescale API: list job output files.

    :param search: part of the name.
    """
    return _list(job_id, "files", parse=RemoteFile.from_document, query={"search": search})


def list_instances(job_id: str) -> PagedCall[Instance]:
    """List the machines of an executing job, with the addresses for SSH."""
    return _list(job_id, "instances", parse=Instance.from_document)


def get_connection_details(job_id: str) -> Call[Any]:
    """Return how to connect to a job's cluster, as Rescale tells it."""
    return _job("GET", job_id, "connection_details", reads="json")


def get_load_measurements(job_id: str, *, hours: int | None = None) -> Call[Any]:
    """Return the load of a job's cluster over the last hours, as Rescale tells it."""
    return _job("GET", job_id, "cluster-load-measurements", query={"hours": hours})


def share_job(job_id: str, email: str, message: str = "") -> Call[Any]:
    """Share a job with somebody, who gets an e-mail."""
    body = {"email": email, "message": message}
    return _job("POST", job_id, "share", body=body, repeat=Repeat.NEVER)


def attach_storage_device(job_id: str, device_id: str) -> Call[Any]:
    """Attach a storage device to a job; before it is submitted."""
    return _job("POST", job_id, "storage-devices", body={"storageDevice": {"id": device_id}})


def list_tags(job_id: str) -> PagedCall[str]:
    """List a job's tags."""
    return _list(job_id, "tags", parse=tag_name)


def add_tag(job_id: str, tag: str) -> Call[None]:
    """Give a job a tag, besides those that it has."""
    return _job("POST", job_id, "tags", body={"name": tag}, reads="nothing")


def delete_tag(job_id: str, tag: str) -> Call[None]:
    """Take a tag off a job."""
    return _job("DELETE", job_id, "tags", body={"name": tag}, reads="nothing")


def set_custom_fields(job_id: str, values: Mapping[str, Any]) -> Call[Any]:
    """Set a job's custom fields, which the organization defines."""
    return _job("POST", job_id, "custom-fields", body=dict(values))


def assign_project(organization: str, job_id: str, project_id: str) -> Call[Any]:
    """Charge a job to a project."""
    return Call(
        "POST",
        path_of("organizations", organization, "jobs", job_id, "project-assignment"),
        _as_it_is,
        body={"projectId": project_id},
        job_id=job_id,
    )


def _as_it_is(document: Any) -> Any:
    return document


def _job(method: str, job_id: str, *parts: str, parse: Any = _as_it_is, **values: Any) -> Call[Any]:
    values.setdefault("scope", Scope.JOBS_USAGE)
    return Call(method, path_of("jobs", job_id, *parts), parse, job_id=job_id, **values)


def _list(job_id: str, *parts: str, parse: Any, **values: Any) -> PagedCall[Any]:
    return PagedCall(path_of("jobs", job_id, *parts), parse, scope=Scope.JOBS_USAGE, job_id=job_id, **values)
