# SPDX-License-Identifier: Apache-2.0
"""From our queue into Airflow: at most a window of runs that have a task which could run now.

Airflow starts the runs of one DAG first come first served and looks at a few runs a loop, so a long queue of
runs would bury an urgent one. Jobs and recipes therefore wait here, in order of priority and then time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import and_, delete, or_, select, text, update
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.config import Settings
from scale_airflow.engine import runs
from scale_airflow.engine.serialized import PublishedDag
from scale_airflow.errors import EngineError
from scale_airflow.services.locks import try_lock_job_of, try_lock_recipe
from scale_airflow.services.restore import restore_run, weigh_tasks
from scale_airflow.services.window import open_window
from scale_airflow.store.models import Job, QueueEntry, Recipe, Scheduler, utcnow

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
    window = open_window(session, settings)
    shown: dict[str, PublishedDag] = {}
    taken = 0
    while taken < BATCH and len(window.passed) < BATCH:
        entries = window.next_entries(session, BATCH - taken)
        if not entries:
            break
        recipes = _recipes_of(session, entries)
        for entry in entries:
            if not window.has_place(entry.job_type_ids):
                continue  # those before it took the last: none of its kind comes again
            outcome = _start(session, entry, recipes.get(entry.job_id), shown)
            if outcome == "taken":
                taken += 1
                window.take(entry.job_type_ids)
                continue
            shown.clear()  # what it has held was let go of with it
            window.passed.append(entry.id)
            if outcome == "refused":
                break  # others were put back with it: look again
    return taken


def _recipes_of(session: Session, entries: Sequence[Any]) -> dict[int, int]:
    """Return the recipe of each entry's job that is of one."""
    jobs = [entry.job_id for entry in entries if entry.job_id is not None]
    if not jobs:
        return {}
    rows = session.execute(select(Job.id, Job.recipe_id).where(Job.id.in_(jobs)))
    return {job_id: recipe_id for job_id, recipe_id in rows if recipe_id is not None}


def _start(
    session: Session, entry: Any, recipe_id: int | None, shown: dict[str, PublishedDag]
) -> Literal["taken", "passed", "refused"]:
    """Bring one entry into Airflow; what Airflow refuses stays on the queue with the reason, for later.

    :param recipe_id: of the entry's job.
    :param shown: see :func:`~scale_airflow.engine.runs.create_run`.
    """
    waiting = _try_lock(session, entry, recipe_id)
    if waiting is None:
        return "passed"
    try:
        with session.begin_nested():
            if not _take(session, entry.id) or not _is_queued(session, waiting):
                return "passed"
            if isinstance(waiting, Recipe):
                _start_recipe(session, waiting, entry.priority, shown)
            else:
                _start_job(session, waiting, shown)
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


def _try_lock(session: Session, entry: Any, recipe_id: int | None) -> Recipe | Job | None:
    """Lock what an entry stands for; None if somebody is changing it, for instance canceling it."""
    if entry.recipe_id is None:
        return try_lock_job_of(session, entry.job_id, recipe_id)
    if not try_lock_recipe(session, entry.recipe_id):
        return None
    return session.get_one(Recipe, entry.recipe_id, populate_existing=True)


def _take(session: Session, entry_id: int) -> bool:
    """Take an entry off the queue; False if it is gone: its job was canceled a moment ago."""
    taken = session.execute(delete(QueueEntry).where(QueueEntry.id == entry_id).returning(QueueEntry.id))
    return taken.first() is not None


def _is_queued(session: Session, waiting: Recipe | Job) -> bool:
    """Tell whether something locked still waits; all of a recipe's jobs may have been canceled meanwhile."""
    if isinstance(waiting, Job):
        return waiting.status == "QUEUED"
    queued = select(Job.id).where(Job.recipe_id == waiting.id, Job.status == "QUEUED")
    return session.scalar(queued.limit(1)) is not None


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


def _start_recipe(session: Session, recipe: Recipe, priority: int, shown: dict[str, PublishedDag]) -> None:
    run_id = names.recipe_run_id(recipe.id)
    runs.create_run(
        session,
        dag_id=recipe.dag_id,
        run_id=run_id,
        conf={"scale_recipe_id": recipe.id},
        priority=priority,
        shown=shown,
    )
    recipe.run_id, recipe.dispatched = run_id, utcnow()
    session.execute(
        update(Job)
        .where(Job.recipe_id == recipe.id)
        .values(run_id=run_id, dispatched=recipe.dispatched, why=None)
    )
    weigh_tasks(session, recipe.id, but=priority)
    canceled = session.scalars(
        select(Job.task_id).where(Job.recipe_id == recipe.id, Job.status == "CANCELED")
    ).all()
    if canceled:
        runs.cancel_tasks(session, dag_id=recipe.dag_id, run_id=run_id, task_ids=list(canceled))


def _start_job(session: Session, job: Job, shown: dict[str, PublishedDag]) -> None:
    if restore_run(session, job, shown):
        pass  # all that is to run in it waits
    elif job.run_id is not None:
        tasks = [job.task_id, *_later_tasks(session, job)]
        runs.clear_tasks(session, dag_id=job.dag_id, run_id=job.run_id, task_ids=tasks, priority=job.priority)
        if job.recipe_id is not None:
            weigh_tasks(session, job.recipe_id, but=job.priority)
    else:
        run_id = names.job_run_id(job.id)
        runs.create_run(
            session,
            dag_id=job.dag_id,
            run_id=run_id,
            conf={"scale_job_id": job.id},
            priority=job.priority,
            shown=shown,
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
