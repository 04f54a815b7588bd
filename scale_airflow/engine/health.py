# SPDX-License-Identifier: Apache-2.0
"""Whether Airflow's components live, from the heartbeats in its database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_JOB_TYPES = {
    "scheduler": "SchedulerJob",
    "triggerer": "TriggererJob",
    "dag_processor": "DagProcessorJob",
}


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """The youngest process of one of Airflow's components.

    :param is_alive: its last heartbeat is younger than Airflow's own limit for the component.
    """

    component: str
    hostname: str | None
    is_alive: bool
    last_heartbeat: datetime | None


def component_health(session: Session) -> dict[str, ComponentHealth]:
    """Return the health of ``scheduler``, ``triggerer`` and ``dag_processor``."""
    return {component: _health(session, component) for component in _JOB_TYPES}


def _health(session: Session, component: str) -> ComponentHealth:
    from airflow.jobs.job import Job
    from sqlalchemy import select

    job = session.scalar(
        select(Job)
        .where(Job.job_type == _JOB_TYPES[component])
        .order_by(Job.latest_heartbeat.desc())
        .limit(1)
    )
    if job is None:
        return ComponentHealth(component, None, False, None)
    return ComponentHealth(component, job.hostname, bool(job.is_alive()), job.latest_heartbeat)
