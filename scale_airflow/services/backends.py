# SPDX-License-Identifier: Apache-2.0
"""Which backend runs a job type under this installation's configuration."""

from __future__ import annotations

from typing import Literal

from scale_airflow.config import Settings
from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration
from scale_airflow.definitions.remote_settings import RemoteSettings
from scale_airflow.errors import InvalidDocument, InvalidRequest
from scale_airflow.store.models import JobType

BackendName = Literal["docker", "process", "rescale"]


def is_remote(job_type: JobType) -> bool:
    """Tell whether jobs of a type run on another system, so that a node has to hold only their files."""
    return bool((job_type.configuration or {}).get("remote"))


def remote_of(job_type: JobType) -> RemoteSettings | None:
    """Return where else jobs of a type run, None if they run on the nodes.

    :raises InvalidRequest: if its configuration was stored by a release that asked for less.
    """
    if not is_remote(job_type):
        return None
    try:
        return JobTypeConfiguration.parse(job_type.configuration).remote
    except InvalidDocument as error:
        raise InvalidRequest(f"{_label(job_type)} has a wrong configuration: {error}") from None


def backend_of(job_type: JobType, settings: Settings) -> BackendName:
    """Return the backend that runs jobs of a type: what says ``remote`` runs there, whatever [scale] backend.

    :raises InvalidRequest: if no backend may run them; the text says what to change.
    """
    label = _label(job_type)
    remote = remote_of(job_type)
    if remote is not None:
        if remote.walltime_hours(job_type.timeout) is None:
            raise InvalidRequest(
                f"{label} runs on Rescale and nothing ends its jobs there: give it a timeout, or a "
                "configuration.remote.hardware.walltime (hours)."
            )
        return "rescale"
    wanted = "process" if settings.backend == "process" or not job_type.uses_docker else "docker"
    if wanted == "process" and not settings.allow_process_jobs:
        instead = "[scale] backend = docker" if settings.backend == "process" else "uses_docker for it"
        raise InvalidRequest(
            f"{label} would run as a plain process of the worker, which [scale] allow_process_jobs forbids: "
            f"set {instead}, or allow it."
        )
    if wanted == "docker" and not job_type.docker_image:
        raise InvalidRequest(f"{label} has no docker_image: set one before a job of it is queued.")
    return "process" if wanted == "process" else "docker"


def _label(job_type: JobType) -> str:
    return f"Job type {job_type.name} {job_type.version}"
