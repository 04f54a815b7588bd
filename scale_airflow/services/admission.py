# SPDX-License-Identifier: Apache-2.0
"""Whether a job may start on a node now, and if not why: one function, asked by claims and reservations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.services import room
from scale_airflow.services.lookup import lock_name
from scale_airflow.store.models import Job, JobExecution, JobType, Node, Scheduler, utcnow

#: A waiting execution asks more often than it is noted that it did.
_NOTED_ANEW = timedelta(seconds=5)
#: A waiting execution that is of no use on its node is woken up for another one no more often than this.
_SENT_AGAIN = timedelta(seconds=30)
#: Beats that an agent may miss before its node counts as offline.
MISSED_BEATS = 15


@dataclass(frozen=True, slots=True)
class Decision:
    """Go, or wait for the reason that is given.

    :param asks_for: what it waits for in the order of priority: room on the ``node`` or a place of its
        ``type``.
    :param is_of_node: this very node takes nothing, or never anything so large: another one may.
    """

    go: bool
    reason: str | None = None
    asks_for: Literal["node", "type"] | None = None
    is_of_node: bool = False


@dataclass(frozen=True, slots=True)
class Used:
    """What the running and reserved executions of a node hold: CPUs, MiB of memory, MiB of disk."""

    cpus: float
    mem_mib: float
    disk_mib: float


def find_node(session: Session, *, agent_id: str | None, hostname: str) -> Node | None:
    """Return the node of a worker host and lock it, so that two claims never share the same room."""
    found = None
    if agent_id:
        found = _lock_node(session, Node.slave_id == agent_id)
    # An agent whose scratch folder is new has another id now; a task that waited has the old one.
    return found or _lock_node(session, and_(Node.hostname == hostname, Node.is_active))


def other_nodes(session: Session, node: Node | None, needs: room.Amounts, settings: Settings) -> list[Node]:
    """Return the other nodes that take work and are large enough, but for those that somebody is at."""
    cpus, mem, disk, gpus = needs
    query = (
        select(Node)
        .where(
            takes_work(settings),
            Node.cpus >= cpus,
            Node.mem_mib >= mem,
            Node.disk_mib >= disk,
            Node.gpus >= gpus,
        )
        .order_by(Node.id)
        .with_for_update(of=Node, key_share=True, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    if node is not None:
        query = query.where(Node.id != node.id)
    return list(session.scalars(query))


def _lock_node(session: Session, known: ColumnElement[bool]) -> Node | None:
    return session.scalars(
        select(Node)
        .where(known)
        .with_for_update(of=Node, key_share=True)
        .execution_options(populate_existing=True)
    ).first()


def is_online(node: Node, settings: Settings) -> bool:
    """Tell whether the node's agent has been heard of lately, and has not said that it ends."""
    return (
        node.stopped is None
        and node.last_offer is not None
        and utcnow() - node.last_offer < _silence(settings)
    )


def takes_work(settings: Settings) -> ColumnElement[bool]:
    """Tell, in a query over nodes, whether one takes new work: active, online and not paused."""
    return and_(online(settings), Node.is_paused.is_(False))


def online(settings: Settings) -> ColumnElement[bool]:
    """Tell, in a query over nodes, whether one is active and :func:`is_online`."""
    return and_(Node.is_active, Node.stopped.is_(None), Node.last_offer > utcnow() - _silence(settings))


def _silence(settings: Settings) -> timedelta:
    return timedelta(seconds=max(settings.agent_beat_interval * MISSED_BEATS, 15))


def hold_pauses(session: Session, *, to_change: bool = False) -> None:
    """Keep the scheduler's pause as it is until the end of this transaction.

    So that nothing starts once the answer to a pause has been given: who starts something looks at it under
    this lock, and who changes it waits for those that looked before.
    """
    lock = func.pg_advisory_xact_lock if to_change else func.pg_advisory_xact_lock_shared
    session.execute(select(lock(func.hashtextextended("scale pauses", 0))))


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
    hold_pauses(session)
    # As it is now, and stays until this has been decided: a pause counts from the moment of its answer.
    job_type, is_paused = session.execute(
        select(JobType, select(Scheduler.is_paused).where(Scheduler.id == 1).scalar_subquery())
        .where(JobType.id == job.job_type_id)
        .with_for_update(of=JobType, read=True)
        .execution_options(populate_existing=True)
    ).one()
    if is_paused:
        return Decision(False, "The scheduler is paused.")
    if job_type.is_paused:
        return Decision(False, f"Job type {job_type.name} {job_type.version} is paused.")
    refused = _node_refuses(node, hostname, settings)
    if refused:
        return Decision(False, refused, is_of_node=True)
    assert node is not None
    me = room.Claimant(execution.id, job.id, job.priority, execution.queued, room.needs_of(job))
    if not room.fits(me.needs, room.total_of(node)):
        return Decision(False, _too_large(session, me.needs, node, settings), is_of_node=True)
    if job_type.max_scheduled is not None:
        # Claims on several nodes take turns: together they start no more than this.
        lock_name(session, "places of a job type", str(job_type.id))
        refused = _no_place(session, job_type, job_type.max_scheduled, me)
        if refused:
            return Decision(False, refused, "type")
    return _room(session, execution, node, me)


def _too_large(session: Session, needs: room.Amounts, node: Node, settings: Settings) -> str:
    """Say what a node lacks for ever, and which other ones have it."""
    what, wanted, there = next(
        each for each in zip(room.NAMES, needs, room.total_of(node), strict=True) if each[1] > each[2]
    )
    lacks = f"It needs {wanted:g} {what}; node {node.hostname} has {there:g} in all"
    takes = takes_work(settings)
    others = [
        (hostname, is_working)
        for hostname, is_working, *total in session.execute(
            select(Node.hostname, takes, Node.cpus, Node.mem_mib, Node.disk_mib, Node.gpus)
            .where(Node.is_active, Node.id != node.id)
            .order_by(Node.hostname)
        )
        if room.fits(needs, (total[0], total[1], total[2], float(total[3])))
    ]
    working = [hostname for hostname, is_working in others if is_working]
    if working:
        return f"{lacks}. It waits for room on {', '.join(working)}."
    if others:
        names = ", ".join(hostname for hostname, _ in others)
        return f"{lacks}. It would fit on {names}, but no work starts there now."
    return f"{lacks}, and no other node has enough."


def note_waiting(execution: JobExecution, node: Node | None, decision: Decision) -> None:
    """Remember what an execution waits for in vain, so that it is served before those that come after it."""
    if decision.go or decision.asks_for is None or node is None:
        # That it was sent to another node stays noted while this one takes nothing.
        if execution.asked is not None and (decision.go or execution.asks_for is not None):
            execution.asked, execution.asks_for = None, None
    elif (
        execution.asked is None
        or (execution.node_id, execution.asks_for) != (node.id, decision.asks_for)
        or utcnow() - execution.asked > _NOTED_ANEW
    ):
        execution.asked, execution.asks_for, execution.node_id = utcnow(), decision.asks_for, node.id
    if not decision.go and execution.reserved is not None:
        execution.reserved = None


def may_be_sent(execution: JobExecution) -> bool:
    """Tell whether a waiting execution may be woken up for another node.

    Airflow picks the host, so it may find itself on the same one again: not more than once in a while.
    """
    is_noted = execution.asked is not None and execution.asks_for is None
    return not is_noted or execution.asked is None or utcnow() - execution.asked > _SENT_AGAIN


def note_sent(execution: JobExecution) -> None:
    """Remember that a waiting execution is woken up for another node."""
    execution.asked, execution.asks_for = utcnow(), None


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
        what = "has not been heard of" if node.stopped is None else "was stopped"
        return f"Node {node.hostname} is offline: its agent (`airflow scale node`) {what}."
    return None


def _no_place(session: Session, job_type: JobType, most: int, me: room.Claimant) -> str | None:
    label = f"type {job_type.name} {job_type.version}"
    running, before = room.places_of_type(session, job_type, me)
    if running >= most:
        return f"{running} jobs of {label} run, which is its max_scheduled."
    if before and running + len(before) >= most:
        return f"The next place of {label} is kept for job {before[0].job_id}, which is more urgent."
    return None


def _room(session: Session, execution: JobExecution, node: Node, me: room.Claimant) -> Decision:
    holders, waiters = room.claimants_on(session, node, but=execution)
    total = room.total_of(node)
    for index, (what, wanted, there) in enumerate(zip(room.NAMES, me.needs, total, strict=True)):
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
