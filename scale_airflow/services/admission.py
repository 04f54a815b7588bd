# SPDX-License-Identifier: Apache-2.0
"""Whether a job may start on a node now, and if not why: one function, asked by claims and reservations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.services import room
from scale_airflow.services.lookup import lock_name
from scale_airflow.store.models import Job, JobExecution, JobType, Node, Scheduler, utcnow

#: A waiting execution asks more often than it is noted that it did.
_NOTED_ANEW = timedelta(seconds=5)
#: Beats that an agent may miss before its node counts as offline.
MISSED_BEATS = 15


@dataclass(frozen=True, slots=True)
class Decision:
    """Go, or wait for the reason that is given.

    :param asks_for: what it waits for in the order of priority: room on the ``node`` or a place of its
        ``type``.
    """

    go: bool
    reason: str | None = None
    asks_for: Literal["node", "type"] | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """What the running and reserved executions of a node hold: CPUs, MiB of memory, MiB of disk."""

    cpus: float
    mem_mib: float
    disk_mib: float


def find_node(session: Session, *, agent_id: str | None, hostname: str) -> Node | None:
    """Return the node of a worker host and lock it, so that two claims never share the same room."""
    known = Node.slave_id == agent_id if agent_id else and_(Node.hostname == hostname, Node.is_active)
    return session.scalars(
        select(Node)
        .where(known)
        .with_for_update(of=Node, key_share=True)
        .execution_options(populate_existing=True)
    ).first()


def is_online(node: Node, settings: Settings) -> bool:
    """Tell whether the node's agent has been heard of lately."""
    limit = timedelta(seconds=max(settings.agent_beat_interval * MISSED_BEATS, 15))
    return node.last_offer is not None and utcnow() - node.last_offer < limit


def admit(
    session: Session,
    *,
    job: Job,
    execution: JobExecution,
    node: Node | None,
    hostname: str,
    settings: Settings,
) -> Decision:
    """Decide whether an execution may start on a node now (the caller holds the node's lock)."""
    job_type = job.job_type
    scheduler = session.get(Scheduler, 1)
    if scheduler is not None and scheduler.is_paused:
        return Decision(False, "The scheduler is paused.")
    if job_type.is_paused:
        return Decision(False, f"Job type {job_type.name} {job_type.version} is paused.")
    refused = _node_refuses(node, hostname, settings)
    if refused:
        return Decision(False, refused)
    assert node is not None
    me = room.Claimant(execution.id, job.id, job.priority, execution.queued, room.needs_of(job))
    if job_type.max_scheduled is not None:
        # Claims on several nodes take turns: together they start no more than this.
        lock_name(session, "places of a job type", str(job_type.id))
        refused = _no_place(session, job_type, me)
        if refused:
            return Decision(False, refused, "type")
    return _room(session, execution, node, me)


def note_waiting(execution: JobExecution, node: Node | None, decision: Decision) -> None:
    """Remember what an execution waits for in vain, so that it is served before those that come after it."""
    if decision.go or decision.asks_for is None or node is None:
        if execution.asked is not None:
            execution.asked, execution.asks_for = None, None
    elif (
        execution.asked is None
        or (execution.node_id, execution.asks_for) != (node.id, decision.asks_for)
        or utcnow() - execution.asked > _NOTED_ANEW
    ):
        execution.asked, execution.asks_for, execution.node_id = utcnow(), decision.asks_for, node.id
    if not decision.go and execution.reserved is not None:
        execution.reserved = None


def used_of(session: Session, node: Node) -> Used:
    """Return what the running and reserved executions of a node hold."""
    holders, _ = room.claimants_on(session, node)
    return Used(*(sum((holder.needs[index] for holder in holders), 0.0) for index in range(3)))


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


def _no_place(session: Session, job_type: JobType, me: room.Claimant) -> str | None:
    label = f"type {job_type.name} {job_type.version}"
    running, before = room.places_of_type(session, job_type, me)
    if running >= (job_type.max_scheduled or 0):
        return f"{running} jobs of {label} run, which is its max_scheduled."
    if before and running + len(before) >= (job_type.max_scheduled or 0):
        return f"The next place of {label} is kept for job {before[0].job_id}, which is more urgent."
    return None


def _room(session: Session, execution: JobExecution, node: Node, me: room.Claimant) -> Decision:
    holders, waiters = room.claimants_on(session, node, but=execution)
    total = node.cpus, node.mem_mib, node.disk_mib
    names = "CPUs", "MiB of memory", "MiB of disk"
    for what, wanted, there in zip(names, me.needs, total, strict=True):
        if wanted > there:
            return Decision(False, f"It needs {wanted:g} {what}; node {node.hostname} has {there:g} in all.")
    for index, (what, wanted, there) in enumerate(zip(names, me.needs, total, strict=True)):
        left = there - sum(holder.needs[index] for holder in holders)
        if wanted > left + 1e-6:
            free = f"{max(left, 0.0):g} of {there:g} free now"
            return Decision(False, f"It needs {wanted:g} {what}; node {node.hostname} has {free}.", "node")
    if execution.reserved is not None and utcnow() - execution.reserved < room.RESERVATION:
        return Decision(True)
    first = room.first_served(me, holders, waiters, total)
    if first is not None:
        reason = f"Node {node.hostname} keeps room for job {first.job_id}, which comes first."
        return Decision(False, reason, "node")
    return Decision(True)
