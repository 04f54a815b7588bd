# SPDX-License-Identifier: Apache-2.0
"""Which queue entries may go into Airflow next, found without looking at those that may not.

A hundred thousand entries of a paused type cost as little as one: entries of the same job types are of one
kind, and what can't start is passed over by kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, literal, or_, select, text
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.services.admission import takes_work
from scale_airflow.services.room import gpus_needed, runs_elsewhere
from scale_airflow.store.models import Job, JobType, Node, QueueEntry, utcnow


@dataclass
class DispatchWindow:
    """What may still go into Airflow.

    :param room: how many more runs with a job that could run now.
    :param spare: how many more runs of any kind; beyond it only what can run to its end.
    :param places: how many more jobs of each limited type may be in Airflow.
    :param stuck: the types that hold up what comes to them: paused, full, or with a job in Airflow that is
        too large for every node.
    """

    room: int
    spare: int
    places: dict[int, int]
    stuck: list[int]
    passed: list[int] = field(default_factory=list)

    def has_place(self, job_type_ids: Sequence[int]) -> bool:
        """Tell whether one of these types has a place."""
        return any(self.places.get(number, 1) > 0 for number in job_type_ids)

    def take(self, job_type_ids: Sequence[int]) -> None:
        """Note that an entry of these types is in Airflow now."""
        self.room -= 1
        self.spare -= 1
        for number in job_type_ids:
            if number in self.places:
                self.places[number] -= 1

    def next_entries(self, session: Session, most: int) -> Sequence[Any]:
        """Return the most urgent entries that may go next, but for those that were passed over.

        :param most: how many at most; fewer may come though there are more.
        """
        closed = [number for number, left in self.places.items() if left <= 0]
        is_over = self.spare <= 0
        limit = min(most, self.room, most if is_over else self.spare)
        if limit <= 0:
            return []
        if not closed and not (is_over and self.stuck):
            return _in_order(session, self.passed, limit)
        return session.execute(
            _BY_KIND,
            {
                "now": utcnow(),
                "closed": closed,
                "stuck": self.stuck if is_over else [],
                "passed": self.passed,
                "most": limit,
            },
        ).all()


def open_window(session: Session, settings: Settings) -> DispatchWindow:
    """Look at what Scale has in Airflow and say what may follow.

    Runs that only wait for a type that is paused or full, or for a larger node, leave the window to others.
    They count against ``max_active_runs_total`` alone, and where they have used that up, work that none of
    them holds up goes on past it.
    """
    too_large = _too_large(session, settings)
    places, full, oversized = _types(session, too_large)
    in_airflow, runnable = _runs_in_airflow(session, full, too_large)
    return DispatchWindow(
        room=min(settings.dispatch_window, settings.max_active_runs_total) - runnable,
        spare=settings.max_active_runs_total - in_airflow,
        places=places,
        stuck=sorted({*full, *oversized}),
    )


def _too_large(session: Session, settings: Settings) -> ColumnElement[bool]:
    """Tell of a job, joined with its type, whether no node could ever take it.

    While no node takes work at all, that can't be said of any.
    """
    takes = takes_work(settings)
    if session.scalar(select(Node.id).where(takes).limit(1)) is None:
        return literal(False)
    fits = exists().where(
        takes,
        Node.disk_mib >= Job.disk_in_required + Job.disk_out_required,
        or_(
            runs_elsewhere(),
            and_(
                Node.cpus >= Job.cpus_required,
                Node.mem_mib >= Job.mem_required,
                Node.gpus >= gpus_needed(),
            ),
        ),
    )
    return and_(Job.status == "QUEUED", ~fits)


def _is_in_airflow() -> ColumnElement[bool]:
    return and_(Job.dispatched.is_not(None), Job.status.in_(("QUEUED", "RUNNING")))


def _types(session: Session, too_large: ColumnElement[bool]) -> tuple[dict[int, int], list[int], list[int]]:
    """Return the places that types with a limit have left, which of them are full, and types of large jobs.

    Full is a type of which nothing starts now: paused, or with as many running as may run. The last are those
    that have a job in Airflow which no node could ever take.
    """
    held = (
        select(
            Job.job_type_id,
            func.count().label("held"),
            func.count().filter(Job.status == "RUNNING").label("running"),
            func.count().filter(too_large).label("too_large"),
        )
        .join(JobType, JobType.id == Job.job_type_id)
        .where(_is_in_airflow())
        .group_by(Job.job_type_id)
        .subquery()
    )
    counts = [func.coalesce(held.c[name], 0).label(name) for name in ("held", "running", "too_large")]
    rows = session.execute(
        select(JobType.id, JobType.is_paused, JobType.max_scheduled, *counts)
        .outerjoin(held, held.c.job_type_id == JobType.id)
        .where(
            or_(JobType.is_paused, JobType.max_scheduled.is_not(None), held.c.too_large > 0),
            JobType.is_system.is_(False),
        )
    )
    places: dict[int, int] = {}
    full: list[int] = []
    oversized: list[int] = []
    for row in rows:
        if row.too_large:
            oversized.append(row.id)
        if row.is_paused or row.max_scheduled is not None:
            most = 0 if row.is_paused else row.max_scheduled
            places[row.id] = most - row.held
            if row.running >= most:
                full.append(row.id)
    return places, full, oversized


def _runs_in_airflow(session: Session, full: list[int], too_large: ColumnElement[bool]) -> tuple[int, int]:
    """Count the unfinished runs of Scale in Airflow: all, and those with a job that runs or could run now."""
    run = func.distinct(Job.dag_id + literal("\n") + Job.run_id)
    could_run = or_(Job.status == "RUNNING", and_(Job.job_type_id.not_in(full), ~too_large))
    row = session.execute(
        select(func.count(run), func.count(run).filter(could_run))
        .join(JobType, JobType.id == Job.job_type_id)
        .where(_is_in_airflow(), JobType.is_system.is_(False))
    ).one()
    return row[0], row[1]


def _in_order(session: Session, passed: list[int], limit: int) -> Sequence[Any]:
    query = select(
        QueueEntry.id, QueueEntry.job_id, QueueEntry.recipe_id, QueueEntry.job_type_ids, QueueEntry.priority
    ).where(or_(QueueEntry.not_before.is_(None), QueueEntry.not_before <= utcnow()))
    if passed:
        query = query.where(QueueEntry.id.not_in(passed))
    return session.execute(
        query.order_by(QueueEntry.priority, QueueEntry.queued, QueueEntry.id).limit(limit)
    ).all()


# From each kind to the next in the index, however many entries there are of one; then the first of each kind,
# and of the kinds with the most urgent first ones as many as are asked for. BETWEEN and not =: with that the
# planner may walk the other index, in the order of priority, past all that is of other kinds.
_BY_KIND = text(
    """
    WITH RECURSIVE kinds AS (
        (SELECT kind FROM scale_queue_entry ORDER BY kind LIMIT 1)
        UNION ALL
        SELECT (SELECT kind FROM scale_queue_entry WHERE kind > kinds.kind ORDER BY kind LIMIT 1)
        FROM kinds WHERE kinds.kind IS NOT NULL
    ),
    samples AS (
        SELECT sample.* FROM kinds CROSS JOIN LATERAL (
            SELECT kind, job_type_ids, later_type_ids FROM scale_queue_entry
            WHERE kind BETWEEN kinds.kind AND kinds.kind ORDER BY kind, priority, queued, id LIMIT 1
        ) sample
        WHERE NOT sample.job_type_ids <@ CAST(:closed AS bigint[])
        AND NOT (sample.job_type_ids || sample.later_type_ids) && CAST(:stuck AS bigint[])
    ),
    heads AS (
        SELECT head.* FROM samples CROSS JOIN LATERAL (
            SELECT kind, priority, queued, id FROM scale_queue_entry
            WHERE kind BETWEEN samples.kind AND samples.kind AND (not_before IS NULL OR not_before <= :now)
            AND id <> ALL (CAST(:passed AS bigint[]))
            ORDER BY kind, priority, queued, id LIMIT 1
        ) head
        ORDER BY priority, queued, id LIMIT :most
    )
    SELECT entry.* FROM heads CROSS JOIN LATERAL (
        SELECT id, job_id, recipe_id, job_type_ids, priority, queued FROM scale_queue_entry
        WHERE kind BETWEEN heads.kind AND heads.kind AND (not_before IS NULL OR not_before <= :now)
        AND id <> ALL (CAST(:passed AS bigint[]))
        ORDER BY kind, priority, queued, id LIMIT :most
    ) entry
    ORDER BY priority, queued, id LIMIT :most
    """
)
