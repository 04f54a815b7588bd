# SPDX-License-Identifier: Apache-2.0
"""Row locks, taken in one order everywhere: recipe, job, execution, node; Airflow's rows come last.

So the reports of two jobs of one recipe wait for each other instead of both missing that they were the last
parent, and no two transactions wait for each other in a circle. Whoever goes through several jobs in one
transaction (the tick, an agent's beat) could not keep that order: it takes what is free (``try_…``) and
leaves the rest for its next turn, so it never waits for a row that somebody else holds. Whoever changes
thousands on demand locks all recipes first, then all jobs (``lock_jobs``), each kind in the order of its ids.

No lock keeps others from referring to a row, as the pieces of a log do.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from sqlalchemy import or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from scale_airflow.errors import NotFound
from scale_airflow.services.listing import among
from scale_airflow.services.lookup import MAX_ID
from scale_airflow.store.models import Job, JobExecution, JobType, Recipe

RowT = TypeVar("RowT", Job, JobExecution)


def lock_job(session: Session, job_id: int) -> Job:
    """Return a job as it is now, locked together with its recipe.

    :raises NotFound: if there is none of this id.
    """
    recipe_id = None
    if 0 < job_id <= MAX_ID:
        recipe_id = session.execute(select(Job.recipe_id).where(Job.id == job_id)).scalar()
    return lock_job_of(session, job_id, recipe_id)


def lock_job_of(session: Session, job_id: int, recipe_id: int | None) -> Job:
    """Do as :func:`lock_job`, for who has found out already whose job it is: that never changes.

    :param recipe_id: of its recipe, None if it has none.
    """
    job = None
    if recipe_id is not None:
        _lock(session, Recipe.id, recipe_id, wait=True)
    if 0 < job_id <= MAX_ID:
        job = _locked(session, Job, Job.id, job_id, wait=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


def try_lock_job(session: Session, job_id: int) -> Job | None:
    """Return a job as it is now, locked together with its recipe; None if somebody else is at one of them."""
    recipe_id = session.execute(select(Job.recipe_id).where(Job.id == job_id)).scalar()
    return try_lock_job_of(session, job_id, recipe_id)


def try_lock_job_of(session: Session, job_id: int, recipe_id: int | None) -> Job | None:
    """Do as :func:`try_lock_job`, for who knows the id of the job's recipe (None if it has none)."""
    if recipe_id is not None and not try_lock_recipe(session, recipe_id):
        return None
    return _locked(session, Job, Job.id, job_id, wait=False)


def try_lock_recipe(session: Session, recipe_id: int) -> bool:
    """Lock a recipe, which keeps everybody else from its jobs; False if somebody else is at it."""
    return _lock(session, Recipe.id, recipe_id, wait=False)


def lock_jobs(session: Session, job_ids: Collection[int], statuses: Collection[str]) -> list[int]:
    """Lock many jobs together with their recipes, each kind in the order of its ids.

    Jobs of Scale's own types are left out: they are no one's to cancel or requeue.

    :param statuses: only jobs that are in one of these states, now that nobody else changes them.
    :returns: the ids of those that are locked.
    """
    asked = among(Job.id, job_ids)
    recipes = select(Job.recipe_id).where(asked, Job.status.in_(statuses), Job.recipe_id.is_not(None))
    held = session.scalars(
        select(Recipe.id).where(Recipe.id.in_(recipes)).order_by(Recipe.id).with_for_update(key_share=True)
    ).all()
    # One that has come into such a state this moment may be of a recipe that is not held.
    is_safe = or_(Job.recipe_id.is_(None), among(Job.recipe_id, held))
    own = select(JobType.id).where(JobType.is_system)
    return list(
        session.scalars(
            select(Job.id)
            .where(asked, Job.status.in_(statuses), is_safe, Job.job_type_id.not_in(own))
            .order_by(Job.id)
            .with_for_update(of=Job, key_share=True)
        )
    )


def lock_execution(session: Session, execution_id: int) -> JobExecution | None:
    """Return an execution as it is now, locked (its job is locked already), or None if there is none."""
    return _locked(session, JobExecution, JobExecution.id, execution_id, wait=True)


def latest_execution(session: Session, job: Job) -> JobExecution | None:
    """Return a locked job's latest execution, locked too, or None if it never had one."""
    return session.scalars(
        select(JobExecution)
        .where(JobExecution.job_id == job.id, JobExecution.exe_num == job.num_exes)
        .with_for_update(of=JobExecution, key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _lock(session: Session, column: InstrumentedAttribute[int], identity: int, *, wait: bool) -> bool:
    query = select(column).where(column == identity)
    return session.execute(query.with_for_update(key_share=True, skip_locked=not wait)).first() is not None


def _locked(
    session: Session, model: type[RowT], column: InstrumentedAttribute[int], identity: int, *, wait: bool
) -> RowT | None:
    return session.scalars(
        select(model)
        .where(column == identity)
        .with_for_update(of=model, key_share=True, skip_locked=not wait)
        .execution_options(populate_existing=True)
    ).one_or_none()
