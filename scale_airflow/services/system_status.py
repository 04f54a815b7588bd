# SPDX-License-Identifier: Apache-2.0
"""The state of the whole system: scheduler, queue and the resources of all nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.config import settings
from scale_airflow.engine.health import component_health
from scale_airflow.services.admission import online
from scale_airflow.services.room import holds_room
from scale_airflow.store.models import Job, JobExecution, Node, Scheduler


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of what jobs need: CPUs, and memory and disk in MiB."""

    cpus: float = 0.0
    mem: float = 0.0
    disk: float = 0.0


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """The state of the whole system.

    :param scheduler_hostname: where Airflow's scheduler runs or last ran; None if it never did.
    :param queue_depth: how many jobs are QUEUED.
    :param total: what the active nodes that are online have; None without any.
    :param scheduled: what executions hold on these, running or reserved; None without any node.
    """

    scheduler_is_online: bool
    scheduler_is_paused: bool
    scheduler_hostname: str | None
    queue_depth: int
    total: Resources | None
    scheduled: Resources | None


def system_status(session: Session) -> SystemStatus:
    """Return the state of the whole system now."""
    health = component_health(session)["scheduler"]
    scheduler = session.get(Scheduler, 1)
    depth = session.scalar(select(func.count()).select_from(Job).where(Job.status == "QUEUED")) or 0
    total, scheduled = _resources(session)
    return SystemStatus(
        scheduler_is_online=health.is_alive,
        scheduler_is_paused=scheduler is not None and scheduler.is_paused,
        scheduler_hostname=health.hostname,
        queue_depth=depth,
        total=total,
        scheduled=scheduled,
    )


def _resources(session: Session) -> tuple[Resources | None, Resources | None]:
    found = online(settings())
    nodes, *total = session.execute(
        select(
            func.count(),
            _sum(Node.cpus),
            _sum(Node.mem_mib),
            _sum(Node.disk_mib),
        ).where(found)
    ).one()
    if not nodes:
        return None, None
    scheduled = session.execute(
        select(
            _sum(JobExecution.cpus_scheduled),
            _sum(JobExecution.mem_scheduled),
            _sum(JobExecution.disk_total_scheduled),
        )
        .join(Node, Node.id == JobExecution.node_id)
        .where(found, holds_room())
    ).one()
    return Resources(*map(float, total)), Resources(*map(float, scheduled))


def _sum(column: Any) -> Any:
    return func.coalesce(func.sum(column), 0.0)
