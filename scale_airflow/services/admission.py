# SPDX-License-Identifier: Apache-2.0
"""Whether a job may start on a node now, and if not why: one function, asked by claims and reservations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.store.models import Job, JobExecution, JobType, Node, Scheduler, utcnow

#: A reservation that nobody came for is room again after this time.
RESERVATION = timedelta(seconds=60)
#: Beats that an agent may miss before its node counts as offline.
MISSED_BEATS = 15


@dataclass(frozen=True, slots=True)
class Decision:
    """Go, or wait for the reason that is given."""

    go: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """What the running and reserved executions of a node hold: CPUs, MiB of memory, MiB of disk."""

    cpus: float
    mem_mib: float
    disk_mib: float


def find_node(session: Session, *, agent_id: str | None, hostname: str) -> Node | None:
    """Return the node of a worker host and lock it, so that two claims never share the same room."""
    known = Node.slave_id == agent_id if agent_id else and_(Node.hostname == hostname, Node.is_active)
    return session.scalars(select(Node).where(known).with_for_update()).first()


def is_online(node: Node, settings: Settings) -> bool:
    """Tell whether the node's agent has been heard of lately."""
    limit = timedelta(seconds=max(settings.agent_beat_interval * MISSED_BEATS, 15))
    return node.last_offer is not None and utcnow() - node.last_offer < limit


def admit(
    session: Session,
    *,
    job: Job,
    job_type: JobType,
    execution: JobExecution,
    node: Node | None,
    hostname: str,
    settings: Settings,
) -> Decision:
    """Decide whether an execution may start on a node now (the caller holds the node's lock)."""
    scheduler = session.get(Scheduler, 1)
    if scheduler is not None and scheduler.is_paused:
        return Decision(False, "The scheduler is paused.")
    if job_type.is_paused:
        return Decision(False, f"Job type {job_type.name} {job_type.version} is paused.")
    refused = _node_refuses(node, hostname, settings)
    if refused:
        return Decision(False, refused)
    assert node is not None
    if job_type.max_scheduled is not None:
        running = _running_of_type(session, job_type, execution)
        if running >= job_type.max_scheduled:
            return Decision(
                False,
                f"{running} jobs of type {job_type.name} {job_type.version} run, which is its max_scheduled.",
            )
    return _room(session, job, execution, node)


def used_of(session: Session, node: Node, but: JobExecution | None = None) -> Used:
    """Return what the running and reserved executions of a node hold, all but one of them."""
    live = or_(
        JobExecution.status == "RUNNING",
        and_(JobExecution.status == "QUEUED", JobExecution.reserved > utcnow() - RESERVATION),
    )
    query = select(
        func.sum(JobExecution.cpus_scheduled),
        func.sum(JobExecution.mem_scheduled),
        func.sum(JobExecution.disk_total_scheduled),
    ).where(JobExecution.node_id == node.id, live)
    if but is not None:
        query = query.where(JobExecution.id != but.id)
    cpus, mem, disk = session.execute(query).one()
    return Used(cpus or 0.0, mem or 0.0, disk or 0.0)


def _node_refuses(node: Node | None, hostname: str, settings: Settings) -> str | None:
    if node is None:
        return f"No node is known for host {hostname}: start its agent there with `airflow scale node`."
    if not node.is_active:
        return f"Node {node.hostname} is not active."
    if node.is_paused:
        because = f": {node.pause_reason}" if node.pause_reason else ""
        return f"Node {node.hostname} is paused{because}."
    if not is_online(node, settings):
        return f"Node {node.hostname} is offline: its agent (`airflow scale node`) has not been heard of."
    return None


def _running_of_type(session: Session, job_type: JobType, but: JobExecution) -> int:
    return session.execute(
        select(func.count())
        .select_from(JobExecution)
        .join(Job, Job.id == JobExecution.job_id)
        .where(
            Job.job_type_id == job_type.id,
            JobExecution.id != but.id,
            or_(
                JobExecution.status == "RUNNING",
                and_(JobExecution.status == "QUEUED", JobExecution.reserved > utcnow() - RESERVATION),
            ),
        )
    ).scalar_one()


def _room(session: Session, job: Job, execution: JobExecution, node: Node) -> Decision:
    used = used_of(session, node, but=execution)
    disk = job.disk_in_required + job.disk_out_required
    wishes = (
        ("CPUs", job.cpus_required, used.cpus, node.cpus),
        ("MiB of memory", job.mem_required, used.mem_mib, node.mem_mib),
        ("MiB of disk", disk, used.disk_mib, node.disk_mib),
    )
    for what, wanted, _, total in wishes:
        if wanted > total:
            return Decision(False, f"It needs {wanted:g} {what}; node {node.hostname} has {total:g} in all.")
    for what, wanted, taken, total in wishes:
        if taken + wanted > total:
            return Decision(
                False,
                f"It needs {wanted:g} {what}; node {node.hostname} has {max(total - taken, 0.0):g} of "
                f"{total:g} free now.",
            )
    return Decision(True)
