# SPDX-License-Identifier: Apache-2.0
"""A job that ended FAILED or CANCELED gets one more try (specification: Requeue Jobs)."""

from __future__ import annotations

from sqlalchemy.orm import Session

from scale_airflow.engine import runs
from scale_airflow.services import facts
from scale_airflow.services.jobs import follow_recipe, jobs_of
from scale_airflow.services.queue import new_execution, set_status
from scale_airflow.store.models import Job, Recipe, RecipeTypeRevision, utcnow

_STUCK = ("FAILED", "CANCELED", "BLOCKED")


def requeue_cleared(session: Session, job: Job) -> None:
    """Follow a clear in Airflow: the job, locked, FAILED or CANCELED, has a task there that runs again.

    A user may clear a failed task alone; those after it, which Airflow gave up as ``upstream_failed``, run
    again too if their jobs wait for this one.
    """
    waiting = requeue_locked(session, job)
    if waiting and job.run_id is not None:
        runs.clear_tasks(
            session,
            dag_id=job.dag_id,
            run_id=job.run_id,
            task_ids=[dependant.task_id for dependant in waiting],
            priority=job.priority,
        )


def requeue_locked(session: Session, job: Job) -> list[Job]:
    """Queue a locked job, FAILED or CANCELED, once more in Scale's own rows; Airflow is the caller's.

    A job that never had its data (canceled before its parents were complete, or refused what they made) waits
    for its parents again; where they are complete it is queued, or refused again, at once.

    :returns: the jobs of its recipe that were BLOCKED and wait for it again, parents first.
    """
    recipe = session.get_one(Recipe, job.recipe_id) if job.recipe_id is not None else None
    job.error_id, job.why, job.ended = None, None, None
    if job.num_exes > 0:
        job.max_tries = job.num_exes + 1
    if job.data:
        new_execution(session, job, facts.interface_of(job.job_type_rev))
    else:
        set_status(job, "BLOCKED")
    session.flush()
    if recipe is None:
        return []
    freed = _free(session, recipe)
    follow_recipe(session, recipe)
    # Only what still waits: a job that was refused again has blocked those after it.
    return [found for found in freed if found.id != job.id and found.status == "PENDING"]


def _free(session: Session, recipe: Recipe) -> list[Job]:
    """Let BLOCKED jobs wait again whose parents may still complete."""
    definition = facts.definition_of(session.get_one(RecipeTypeRevision, recipe.recipe_type_rev_id))
    by_name = {job.recipe_job_name: job for job in jobs_of(session, recipe)}
    freed = []
    for entry in definition.topological_order():
        job = by_name[entry.name]
        parents = [by_name[dependency.name] for dependency in entry.dependencies]
        if job.status == "BLOCKED" and not any(parent.status in _STUCK for parent in parents):
            set_status(job, "PENDING")
            freed.append(job)
    recipe.last_modified = utcnow()
    session.flush()
    return freed
