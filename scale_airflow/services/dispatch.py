# SPDX-License-Identifier: Apache-2.0
"""From our queue into Airflow: at most a window of runs that have a task which could run now.

Airflow starts the runs of one DAG first come first served and looks at a few runs a loop, so a long queue of
runs would bury an urgent one. Jobs and recipes therefore wait here, in order of priority and then time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import BigInteger, and_, cast, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.config import Settings
from scale_airflow.engine import runs
from scale_airflow.errors import EngineError
from scale_airflow.services.locks import try_lock_job, try_lock_recipe
from scale_airflow.store.models import Job, JobType, QueueEntry, Recipe, Scheduler, utcnow

CHANNEL = "scale_dispatch"
#: How many entries one transaction takes: small enough to hold its locks for a moment only.
BATCH = 50
_RETRY_AFTER = timedelta(seconds=30)

log = logging.getLogger(__name__)


def wake(session: Session) -> None:
    """Tell the tick, once this transaction commits, that there is something to dispatch."""
    session.execute(text(f"NOTIFY {CHANNEL}"))


def dispatch(session: Session, settings: Settings) -> int:
    """Create or clear the runs of the most urgent queue entries that fit into the window.

    One transaction. The caller holds the tick's lock; should two dispatch at once all the same, each entry is
    taken once. Neither what somebody is changing at this moment nor what Airflow refuses holds up the rest.

    :returns: how many entries were taken off the queue.
    """
    scheduler = session.get(Scheduler, 1)
    if scheduler is not None and scheduler.is_paused:
        return 0
    limits = _limits(session)
    in_airflow, runnable = _runs_in_airflow(session, limits)
    room = min(settings.dispatch_window - runnable, settings.max_active_runs_total - in_airflow, BATCH)
    taken = 0
    passed: list[int] = []  # what was looked at and stays on the queue
    while taken < room and len(passed) < BATCH:
        entries = _next_entries(session, limits, passed, room - taken)
        if not entries:
            break
        for entry in entries:
            outcome = _start(session, entry) if limits.has_place(entry.job_type_ids) else "passed"
            if outcome == "taken":
                taken += 1
                limits.take_place(entry.job_type_ids)
                continue
            passed.append(entry.id)
            if outcome == "refused":
                break  # others were put back with it: look again
    return taken


@dataclass
class _Limits:
    """What job types that are paused, or have a ``max_scheduled``, leave room for.

    :param places: how many more jobs of each limited type may be in Airflow.
    :param full: the types of which nothing starts now: paused, or with as many running as may run.
    """

    places: dict[int, int]
    full: list[int]

    def has_place(self, job_type_ids: list[int]) -> bool:
        return any(self.places.get(number, 1) > 0 for number in job_type_ids)

    def take_place(self, job_type_ids: list[int]) -> None:
        for number in job_type_ids:
            if number in self.places:
                self.places[number] -= 1

    def without_place(self) -> list[int]:
        return [number for number, left in self.places.items() if left <= 0]


def _limits(session: Session) -> _Limits:
    in_airflow = (
        select(
            Job.job_type_id,
            func.count().label("held"),
            func.count().filter(Job.status == "RUNNING").label("running"),
        )
        .where(Job.dispatched.is_not(None), Job.status.in_(("QUEUED", "RUNNING")))
        .group_by(Job.job_type_id)
        .subquery()
    )
    rows = session.execute(
        select(
            JobType.id,
            JobType.is_paused,
            JobType.max_scheduled,
            func.coalesce(in_airflow.c.held, 0).label("held"),
            func.coalesce(in_airflow.c.running, 0).label("running"),
        )
        .outerjoin(in_airflow, in_airflow.c.job_type_id == JobType.id)
        .where(or_(JobType.is_paused, JobType.max_scheduled.is_not(None)), JobType.is_system.is_(False))
    )
    limits = _Limits({}, [])
    for row in rows:
        most = 0 if row.is_paused else row.max_scheduled
        limits.places[row.id] = most - row.held
        if row.running >= most:
            limits.full.append(row.id)
    return limits


def _runs_in_airflow(session: Session, limits: _Limits) -> tuple[int, int]:
    """Count the unfinished runs of Scale in Airflow: all, and those with a job that runs or could run now."""
    run = func.distinct(Job.dag_id + literal("\n") + Job.run_id)
    could_run = or_(Job.status == "RUNNING", Job.job_type_id.not_in(limits.full))
    row = session.execute(
        select(func.count(run), func.count(run).filter(could_run))
        .join(JobType, JobType.id == Job.job_type_id)
        .where(
            Job.dispatched.is_not(None),
            Job.status.in_(("QUEUED", "RUNNING")),
            JobType.is_system.is_(False),
        )
    ).one()
    return row[0], row[1]


def _next_entries(session: Session, limits: _Limits, passed: list[int], limit: int) -> Sequence[Any]:
    """Return the most urgent entries of which a type has a place, but for those that were looked at."""
    query = select(
        QueueEntry.id, QueueEntry.job_id, QueueEntry.recipe_id, QueueEntry.job_type_ids, QueueEntry.priority
    ).where(or_(QueueEntry.not_before.is_(None), QueueEntry.not_before <= utcnow()))
    if passed:
        query = query.where(QueueEntry.id.not_in(passed))
    without_place = limits.without_place()
    if without_place:
        query = query.where(
            ~QueueEntry.job_type_ids.contained_by(cast(array(without_place), ARRAY(BigInteger)))
        )
    return session.execute(
        query.order_by(QueueEntry.priority, QueueEntry.queued, QueueEntry.id).limit(limit)
    ).all()


def _start(session: Session, entry: Any) -> Literal["taken", "passed", "refused"]:
    """Bring one entry into Airflow; what Airflow refuses stays on the queue with the reason, for later."""
    waiting = _try_lock(session, entry)
    if waiting is None:
        return "passed"
    try:
        with session.begin_nested():
            if not _take(session, entry.id):
                return "passed"
            if isinstance(waiting, Recipe):
                _start_recipe(session, waiting, entry.priority)
            else:
                _start_job(session, waiting)
            session.flush()
    except EngineError as error:
        log.warning("Airflow does not take queue entry %s: %s", entry.id, error)
        # What waits for a first run of the same DAG fares no better now.
        _put_back(session, entry, f"Airflow: {error}", dag_id=None if waiting.run_id else waiting.dag_id)
        return "refused"
    except Exception as error:
        # Whatever is wrong with this one, it must not hold up all that come after it.
        log.exception("Queue entry %s could not be brought into Airflow", entry.id)
        reason = (
            f"It could not be brought into Airflow ({type(error).__name__}); the API server's log says why."
        )
        _put_back(session, entry, reason)
        return "refused"
    return "taken"


def _try_lock(session: Session, entry: Any) -> Recipe | Job | None:
    """Lock what an entry stands for; None if somebody is changing it, for instance canceling it."""
    if entry.recipe_id is None:
        return try_lock_job(session, entry.job_id)
    if not try_lock_recipe(session, entry.recipe_id):
        return None
    return session.get_one(Recipe, entry.recipe_id, populate_existing=True)


def _take(session: Session, entry_id: int) -> bool:
    """Take an entry off the queue; False if it is gone: its job was canceled a moment ago."""
    taken = session.execute(delete(QueueEntry).where(QueueEntry.id == entry_id).returning(QueueEntry.id))
    return taken.first() is not None


def _put_back(session: Session, entry: Any, reason: str, *, dag_id: str | None = None) -> None:
    """Leave an entry for later, and with ``dag_id`` all that wait for a first run of that DAG; say why.

    Rows that others are at stay as they are: they are tried in vain once more.
    """
    if dag_id is None:
        entries = QueueEntry.id == entry.id
        jobs = Job.id == entry.job_id if entry.job_id else Job.recipe_id == entry.recipe_id
    else:
        jobs = and_(Job.dag_id == dag_id, Job.run_id.is_(None))
        recipes = and_(Recipe.dag_id == dag_id, Recipe.run_id.is_(None))
        entries = or_(
            QueueEntry.job_id.in_(select(Job.id).where(jobs)),
            QueueEntry.recipe_id.in_(select(Recipe.id).where(recipes)),
        )
    free_entries = select(QueueEntry.id).where(entries).with_for_update(skip_locked=True)
    session.execute(
        update(QueueEntry)
        .where(QueueEntry.id.in_(free_entries))
        .values(not_before=utcnow() + _RETRY_AFTER)
        .execution_options(synchronize_session=False)
    )
    free_jobs = (
        select(Job.id)
        .where(jobs, Job.status == "QUEUED", Job.why.is_distinct_from(reason))
        .with_for_update(skip_locked=True, key_share=True)
    )
    session.execute(
        update(Job)
        .where(Job.id.in_(free_jobs))
        .values(why=reason)
        .execution_options(synchronize_session=False)
    )


def _start_recipe(session: Session, recipe: Recipe, priority: int) -> None:
    run_id = names.recipe_run_id(recipe.id)
    runs.create_run(
        session, dag_id=recipe.dag_id, run_id=run_id, conf={"scale_recipe_id": recipe.id}, priority=priority
    )
    recipe.run_id, recipe.dispatched = run_id, utcnow()
    session.execute(
        update(Job)
        .where(Job.recipe_id == recipe.id)
        .values(run_id=run_id, dispatched=recipe.dispatched, why=None)
    )
    canceled = session.scalars(
        select(Job.task_id).where(Job.recipe_id == recipe.id, Job.status == "CANCELED")
    ).all()
    if canceled:
        runs.cancel_tasks(session, dag_id=recipe.dag_id, run_id=run_id, task_ids=list(canceled))


def _start_job(session: Session, job: Job) -> None:
    if job.run_id is not None:
        tasks = [job.task_id, *_later_tasks(session, job)]
        runs.clear_tasks(session, dag_id=job.dag_id, run_id=job.run_id, task_ids=tasks, priority=job.priority)
    else:
        run_id = names.job_run_id(job.id)
        runs.create_run(
            session, dag_id=job.dag_id, run_id=run_id, conf={"scale_job_id": job.id}, priority=job.priority
        )
        job.run_id = run_id
    job.dispatched, job.why = utcnow(), None


def _later_tasks(session: Session, job: Job) -> list[str]:
    """Return the tasks of the jobs of the same recipe that wait for their parents (again)."""
    if job.recipe_id is None:
        return []
    return list(
        session.scalars(
            select(Job.task_id).where(
                Job.recipe_id == job.recipe_id, Job.id != job.id, Job.status.in_(("PENDING", "BLOCKED"))
            )
        )
    )
