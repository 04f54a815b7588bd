# SPDX-License-Identifier: Apache-2.0
"""Room on a node and places of a job type, given away in the order of priority.

Jobs that wait ask again every few seconds. So that the urgent ones don't lose to whoever happens to ask
first, what has just become free is kept for those that asked lately and come first; and so that small ones
don't pass a big job for ever, nothing is given away that it would still miss once what runs now has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Integer, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from scale_airflow.services.backends import is_remote
from scale_airflow.store.models import Job, JobExecution, JobType, Node, utcnow

#: A reservation that nobody came for is room again after this time.
RESERVATION = timedelta(seconds=60)
#: Who waits asks more often than this; who does not is forgotten.
_ASKS_AGAIN = timedelta(seconds=15)
_TINY = 1e-6

Amounts = tuple[float, float, float, float]
"""CPUs, MiB of memory, MiB of disk, GPUs."""
NAMES = ("CPUs", "MiB of memory", "MiB of disk", "GPUs")
NOTHING: Amounts = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Claimant:
    """An execution that holds room, or waits for it."""

    execution_id: int
    job_id: int
    priority: int
    queued: datetime
    needs: Amounts

    @property
    def order(self) -> tuple[int, datetime, int]:
        """The lower comes first."""
        return self.priority, self.queued, self.execution_id


def needs_of(job: Job) -> Amounts:
    """Return what a job needs on a node; disk for its inputs too, which may have to be copied there.

    One that runs on another system needs disk alone: its products come to the node.
    """
    disk = job.disk_in_required + job.disk_out_required
    if is_remote(job.job_type):
        return 0.0, 0.0, disk, 0.0
    gpus = (job.job_type.configuration or {}).get("gpus_required", 0)
    return job.cpus_required, job.mem_required, disk, float(gpus)


def gpus_needed() -> ColumnElement[int]:
    """Return how many GPUs a job of a type needs, in a query over job types."""
    return func.coalesce(cast(JobType.configuration["gpus_required"].astext, Integer), 0)


def runs_elsewhere() -> ColumnElement[bool]:
    """Tell, in a query over job types, whether jobs of a type run on another system."""
    return func.coalesce(JobType.configuration.has_key("remote"), False)


def total_of(node: Node) -> Amounts:
    """Return what a node has in all."""
    return node.cpus, node.mem_mib, node.disk_mib, float(node.gpus)


def claimants_on(
    session: Session, node: Node, but: JobExecution | None = None
) -> tuple[list[Claimant], list[Claimant]]:
    """Return who holds room on a node (running or reserved), and who has asked for it lately in vain."""
    now = utcnow()
    query = (
        select(
            JobExecution.id,
            JobExecution.job_id,
            JobExecution.queued,
            JobExecution.cpus_scheduled,
            JobExecution.mem_scheduled,
            JobExecution.disk_total_scheduled,
            JobExecution.gpus_scheduled,
            Job.priority,
            Job.cpus_required,
            Job.mem_required,
            (Job.disk_in_required + Job.disk_out_required).label("disk_required"),
            gpus_needed().label("gpus_required"),
            runs_elsewhere().label("elsewhere"),
            _holds(now).label("holds"),
        )
        .join(Job, Job.id == JobExecution.job_id)
        .join(JobType, JobType.id == Job.job_type_id)
        .where(JobExecution.node_id == node.id, _INDEXED, or_(_holds(now), _waits(now, "node")))
    )
    if but is not None:
        query = query.where(JobExecution.id != but.id)
    holders, waiters = [], []
    for row in session.execute(query):
        if row.holds:
            needs = (
                row.cpus_scheduled or 0.0,
                row.mem_scheduled or 0.0,
                row.disk_total_scheduled or 0.0,
                float(row.gpus_scheduled or 0),
            )
            holders.append(Claimant(row.id, row.job_id, row.priority, row.queued, needs))
        else:
            needs = row.cpus_required, row.mem_required, row.disk_required, float(row.gpus_required)
            if row.elsewhere:
                needs = 0.0, 0.0, row.disk_required, 0.0
            waiters.append(Claimant(row.id, row.job_id, row.priority, row.queued, needs))
    return holders, waiters


def first_served(
    me: Claimant, holders: Iterable[Claimant], waiters: Iterable[Claimant], total: Amounts
) -> Claimant | None:
    """Return who comes first and would miss the room that ``me`` asks for and that is free; None if nobody.

    :param total: what the node has.
    """
    free = _less(total, _sum(holder.needs for holder in holders))
    head: Claimant | None = None  # the first that does not fit now
    beside_head = NOTHING  # what will still be held once all before it have ended
    taker: Claimant | None = None
    for other in sorted((each for each in waiters if each.order < me.order), key=lambda each: each.order):
        if not fits(other.needs, total):
            continue
        passes = head is None or fits(_sum((head.needs, beside_head, other.needs)), total)
        if fits(other.needs, free) and passes:
            # It takes this when it asks next. Equals are served as they ask: nothing lies idle for them. But
            # what a larger one has waited for is not given away in pieces the moment it is there.
            if other.priority < me.priority or not fits(other.needs, me.needs):
                free, taker = _less(free, other.needs), other
                beside_head = _sum((beside_head, other.needs))
        elif head is None:
            head = other
            beside_head = _sum(holder.needs for holder in holders if holder.order > head.order)
    if not fits(me.needs, free):
        return taker
    if head is not None and not fits(_sum((head.needs, beside_head, me.needs)), total):
        return head
    return None


def places_of_type(session: Session, job_type: JobType, me: Claimant) -> tuple[int, list[Claimant]]:
    """Return how many executions of a type run or have room reserved, and who waits and is more urgent."""
    now = utcnow()
    rows = session.execute(
        select(
            JobExecution.id,
            JobExecution.job_id,
            JobExecution.queued,
            Job.priority,
            _holds(now).label("holds"),
        )
        .join(Job, Job.id == JobExecution.job_id)
        .where(
            _INDEXED,
            Job.job_type_id == job_type.id,
            JobExecution.id != me.execution_id,
            or_(_holds(now), and_(_waits(now, "type"), Job.priority < me.priority)),
        )
        .order_by(Job.priority, JobExecution.queued, JobExecution.id)
    ).all()
    waiters = [
        Claimant(row.id, row.job_id, row.priority, row.queued, NOTHING) for row in rows if not row.holds
    ]
    return len(rows) - len(waiters), waiters


# As the index ix_scale_job_execution_room has it: else every execution that ever ran on the node is read.
_INDEXED = or_(
    JobExecution.status == "RUNNING", JobExecution.reserved.is_not(None), JobExecution.asked.is_not(None)
)


def holds_room() -> ColumnElement[bool]:
    """Tell of an execution whether it runs, or has room reserved."""
    return and_(_INDEXED, _holds(utcnow()))


def _holds(now: datetime) -> ColumnElement[bool]:
    reserved = func.coalesce(JobExecution.reserved > now - RESERVATION, False)
    return or_(JobExecution.status == "RUNNING", and_(JobExecution.status == "QUEUED", reserved))


def _waits(now: datetime, what: str) -> ColumnElement[bool]:
    return and_(
        JobExecution.status == "QUEUED",
        JobExecution.asks_for == what,
        JobExecution.asked > now - _ASKS_AGAIN,
    )


def fits(needs: Amounts, room: Amounts) -> bool:
    """Tell whether there is as much of everything as is needed."""
    return all(need <= there + _TINY for need, there in zip(needs, room, strict=True))


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    cpus, mem, disk, gpus = NOTHING
    for each in amounts:
        cpus, mem, disk, gpus = cpus + each[0], mem + each[1], disk + each[2], gpus + each[3]
    return cpus, mem, disk, gpus


def _less(room: Amounts, needs: Amounts) -> Amounts:
    return room[0] - needs[0], room[1] - needs[1], room[2] - needs[2], room[3] - needs[3]
