# SPDX-License-Identifier: Apache-2.0
"""From our queue into Airflow: at most a window of runs that have a task which could run now.

Airflow starts the runs of one DAG first come first served and looks at a few runs a loop, so a long queue of
runs would bury an urgent one. Jobs and recipes therefore wait here, in order of priority and then time.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import timedelta

from sqlalchemy import BigInteger, and_, cast, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.config import Settings
from scale_airflow.engine import publishing, runs
from scale_airflow.errors import EngineError
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

    One transaction; the caller holds the tick's lock, so that no two dispatch at once.

    :returns: how many entries were taken off the queue.
    """
    scheduler = session.get(Scheduler, 1)
    if scheduler is not None and scheduler.is_paused:
        return 0
    room = min(
        settings.dispatch_window - _runs_in_airflow(session, runnable_only=True),
        settings.max_active_runs_total - _runs_in_airflow(session, runnable_only=False),
        BATCH,
    )
    if room <= 0:
        return 0
    places = _places(session)
    full = [number for number, left in places.items() if left <= 0]
    taken = 0
    for entry in _next_entries(session, full, room):
        if not any(places.get(number, 1) > 0 for number in entry.job_type_ids):
            continue  # an entry of this very batch took the last place of its type
        if _start(session, entry):
            taken += 1
            for number in entry.job_type_ids:
                if number in places:
                    places[number] -= 1
    return taken


def blocked_job_types(session: Session) -> list[int]:
    """Return the ids of the job types that have no room: paused, or at their ``max_scheduled``."""
    return [number for number, left in _places(session).items() if left <= 0]


def _places(session: Session) -> Counter[int]:
    """Return how many more jobs of each limited type may be in Airflow; unlimited types are left out."""
    running = (
        select(Job.job_type_id, func.count().label("count"))
        .where(Job.dispatched.is_not(None), Job.status.in_(("QUEUED", "RUNNING")))
        .group_by(Job.job_type_id)
        .subquery()
    )
    rows = session.execute(
        select(JobType.id, JobType.is_paused, JobType.max_scheduled, func.coalesce(running.c.count, 0))
        .outerjoin(running, running.c.job_type_id == JobType.id)
        .where(or_(JobType.is_paused, JobType.max_scheduled.is_not(None)), JobType.is_system.is_(False))
    )
    places: Counter[int] = Counter()
    for number, is_paused, max_scheduled, count in rows:
        places[number] = 0 if is_paused else max_scheduled - count
    return places


def _runs_in_airflow(session: Session, *, runnable_only: bool) -> int:
    """Count the unfinished runs of Scale in Airflow, or those with a job that could run or runs now."""
    query = (
        select(func.count(func.distinct(Job.dag_id + literal("\n") + Job.run_id)))
        .join(JobType, JobType.id == Job.job_type_id)
        .where(
            Job.dispatched.is_not(None),
            Job.status.in_(("QUEUED", "RUNNING")),
            JobType.is_system.is_(False),
        )
    )
    if runnable_only:
        query = query.where(or_(Job.status == "RUNNING", JobType.is_paused.is_(False)))
    return session.execute(query).scalar_one()


def _next_entries(session: Session, full: list[int], limit: int) -> list[QueueEntry]:
    query = select(QueueEntry).where(or_(QueueEntry.not_before.is_(None), QueueEntry.not_before <= utcnow()))
    if full:
        blocked = cast(array(full), ARRAY(BigInteger))
        query = query.where(~QueueEntry.job_type_ids.contained_by(blocked))
    query = query.order_by(QueueEntry.priority, QueueEntry.queued, QueueEntry.id)
    return list(session.scalars(query.limit(limit).with_for_update(skip_locked=True)))


def _start(session: Session, entry: QueueEntry) -> bool:
    """Bring one entry into Airflow; what Airflow refuses stays on the queue with the reason, for later."""
    try:
        with session.begin_nested():
            if entry.recipe_id is not None:
                _start_recipe(session, entry.recipe_id, entry.priority)
            else:
                assert entry.job_id is not None
                _start_job(session, entry.job_id)
            session.delete(entry)
            session.flush()
    except EngineError as error:
        log.warning("Airflow does not take queue entry %s: %s", entry.id, error)
        entry.not_before = utcnow() + _RETRY_AFTER
        waiting = Job.id == entry.job_id if entry.job_id else Job.recipe_id == entry.recipe_id
        session.execute(
            update(Job).where(and_(waiting, Job.status == "QUEUED")).values(why=f"Airflow: {error}")
        )
        return False
    return True


def _start_recipe(session: Session, recipe_id: int, priority: int) -> None:
    recipe = session.get_one(Recipe, recipe_id)
    run_id = names.recipe_run_id(recipe_id)
    publishing.show([recipe.dag_id], session)
    runs.create_run(
        session, dag_id=recipe.dag_id, run_id=run_id, conf={"scale_recipe_id": recipe_id}, priority=priority
    )
    recipe.run_id, recipe.dispatched = run_id, utcnow()
    session.execute(
        update(Job).where(Job.recipe_id == recipe_id).values(run_id=run_id, dispatched=recipe.dispatched)
    )
    canceled = session.scalars(
        select(Job.task_id).where(Job.recipe_id == recipe_id, Job.status == "CANCELED")
    ).all()
    if canceled:
        runs.cancel_tasks(session, dag_id=recipe.dag_id, run_id=run_id, task_ids=list(canceled))


def _start_job(session: Session, job_id: int) -> None:
    job = session.get_one(Job, job_id)
    publishing.show([job.dag_id], session)
    if job.run_id is not None:
        tasks = [job.task_id, *_later_tasks(session, job)]
        runs.clear_tasks(session, dag_id=job.dag_id, run_id=job.run_id, task_ids=tasks, priority=job.priority)
    else:
        run_id = names.job_run_id(job.id)
        runs.create_run(
            session, dag_id=job.dag_id, run_id=run_id, conf={"scale_job_id": job.id}, priority=job.priority
        )
        job.run_id = run_id
    job.dispatched = utcnow()


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
