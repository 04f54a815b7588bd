# SPDX-License-Identifier: Apache-2.0
"""Which backend runs a job type under this installation's configuration."""

from __future__ import annotations

from typing import Literal

from scale_airflow.config import Settings
from scale_airflow.errors import InvalidRequest
from scale_airflow.store.models import JobType


def backend_of(job_type: JobType, settings: Settings) -> Literal["docker", "process"]:
    """Return the backend that runs jobs of a type.

    :raises InvalidRequest: if no backend may run them; the text says what to change.
    """
    wanted = "process" if settings.backend == "process" or not job_type.uses_docker else "docker"
    label = f"Job type {job_type.name} {job_type.version}"
    if wanted == "process" and not settings.allow_process_jobs:
        instead = "[scale] backend = docker" if settings.backend == "process" else "uses_docker for it"
        raise InvalidRequest(
            f"{label} would run as a plain process of the worker, which [scale] allow_process_jobs forbids: "
            f"set {instead}, or allow it."
        )
    if wanted == "docker" and not job_type.docker_image:
        raise InvalidRequest(f"{label} has no docker_image: set one before a job of it is queued.")
    return "process" if wanted == "process" else "docker"
