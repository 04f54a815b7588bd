# SPDX-License-Identifier: Apache-2.0
"""Stopping a job for good measure: also where it is over, was never started, or is gone.

(Rescale API: stop a job. What it answers for a job that is over is not documented.)
"""

from __future__ import annotations

from enum import Enum

from scale_airflow.errors import RescaleNotFound, RescaleRefused
from scale_airflow.rescale.calls import Flow
from scale_airflow.rescale.endpoints import force_stop_job, list_statuses, stop_job
from scale_airflow.rescale.models import JobStatus


class StopMode(str, Enum):
    """How a job is stopped."""

    GRACEFUL = "graceful"
    """Its command gets SIGTERM and its files are saved."""
    FORCE = "force"
    """At once; files that were not saved are lost."""


def stop(job_id: str, mode: StopMode = StopMode.GRACEFUL) -> Flow[str]:
    """Stop a job and say in a word what came of it: ``stopped``, ``over``, ``draft`` or ``gone``.

    :raises RescaleError: if the server refuses to stop a job that goes on, or does not answer.
    """
    try:
        yield force_stop_job(job_id) if mode is StopMode.FORCE else stop_job(job_id)
    except RescaleNotFound:
        return "gone"
    except RescaleRefused:
        # Also what is refused because there is nothing to stop.
        statuses: list[JobStatus] = yield list_statuses(job_id)
        if not statuses:
            return "draft"
        if not any(entry.status in ("Completed", "Stopping", "Force Stop") for entry in statuses):
            raise
        return "over"
    return "stopped"
