# SPDX-License-Identifier: Apache-2.0
"""What happens to a job after it was queued: it ends, its dependants follow, users cancel it.

All of it under the locks of :mod:`scale_airflow.services.locks`.
"""

from __future__ import annotations

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from scale_airflow.definitions.job_results import JobResults
from scale_airflow.definitions.recipe_data import RecipeData, job_data_for
from scale_airflow.engine import runs
from scale_airflow.errors import Conflict, InvalidDocument
from scale_airflow.services import facts
from scale_airflow.services.locks import latest_execution, lock_job
from scale_airflow.services.queue import check_job_data, make_ready, new_execution, set_status
from scale_airflow.store.models import (
    ErrorModel,
    Job,
    JobExecution,
    QueueEntry,
    Recipe,
    RecipeTypeRevision,
    utcnow,
)


def end_execution(
    execution: JobExecution, status: str, *, error: ErrorModel | None = None, message: str | None = None
) -> None:
    """Close an execution: from now on its token opens nothing."""
    execution.status = status
    execution.ended = utcnow()
    execution.error_id = error.id if error else None
    execution.message = message
    execution.reserved, execution.asked, execution.asks_for = None, None, None


def complete_job(session: Session, job: Job, results: JobResults) -> None:
    """End a job well and let its dependants follow."""
    job.results = results.to_document()
    job.error_id = None
    job.why = None
    job.ended = utcnow()
    set_status(job, "COMPLETED")
    session.flush()
    if job.recipe_id is not None:
        follow_recipe(session, session.get_one(Recipe, job.recipe_id))


def retry_or_fail(session: Session, job: Job, error: ErrorModel) -> bool:
    """After a failed execution: begin the next try, or end the job FAILED and block its dependants.

    Only SYSTEM errors are retried, up to ``max_tries`` in all; long-running jobs always.

    :returns: whether there is a next try.
    """
    may_retry = error.category == "SYSTEM" and job.num_exes < max(job.max_tries, 1)
    if may_retry or job.job_type.is_long_running:
        new_execution(session, job, facts.interface_of(job.job_type_rev))
        job.why = f"Try {job.num_exes - 1} failed: {error.title}."
        return True
    job.error_id = error.id
    job.why = None
    job.ended = utcnow()
    set_status(job, "FAILED")
    session.flush()
    block_dependants(session, job)
    return False


def error_named(session: Session, name: str) -> ErrorModel:
    """Return the error of this name, or the built-in ``unknown`` where it does not exist (any more)."""
    found = {
        error.name: error
        for error in session.scalars(select(ErrorModel).where(ErrorModel.name.in_({name, "unknown"})))
    }
    return found.get(name) or found["unknown"]


def cancel_job(session: Session, job_id: int) -> Job:
    """Cancel a job in any state but COMPLETED and CANCELED; a running container is gone within seconds.

    :raises NotFound: if there is none of this id.
    :raises Conflict: if it is COMPLETED or CANCELED already.
    """
    job = lock_job(session, job_id)
    if job.status in ("COMPLETED", "CANCELED"):
        raise Conflict(f"Job {job.id} is {job.status}: it can't be canceled any more.")
    if job.job_type.is_system:
        raise Conflict(f"Job {job.id} is of Scale's own type {job.job_type.name}: it can't be canceled.")
    cancel_locked(session, job)
    if job.run_id is not None:
        # Also while it waits to be dispatched anew: a user may have cleared its task in Airflow meanwhile.
        runs.cancel_tasks(session, dag_id=job.dag_id, run_id=job.run_id, task_ids=[job.task_id])
    return job


def cancel_locked(session: Session, job: Job, message: str = "The job was canceled.") -> None:
    """Cancel a locked job in Scale's own rows; what Airflow knows is the caller's."""
    execution = latest_execution(session, job)
    if execution is not None and execution.status in ("QUEUED", "RUNNING"):
        end_execution(execution, "CANCELED", message=message)
        execution.stop_requested = utcnow()
    session.execute(delete(QueueEntry).where(QueueEntry.job_id == job.id))
    job.why = None
    job.ended = utcnow()
    set_status(job, "CANCELED")
    session.flush()
    block_dependants(session, job)
    if job.recipe_id is not None and job.run_id is None:
        # A recipe of which nothing is left to run needs no run.
        still = exists().where(Job.recipe_id == QueueEntry.recipe_id, Job.status == "QUEUED")
        session.execute(delete(QueueEntry).where(QueueEntry.recipe_id == job.recipe_id, ~still))


def block_dependants(session: Session, job: Job) -> None:
    """Block, over all generations, the PENDING jobs of the recipe that depend on this one."""
    if job.recipe_id is None:
        return
    recipe = session.get_one(Recipe, job.recipe_id)
    definition = facts.definition_of(session.get_one(RecipeTypeRevision, recipe.recipe_type_rev_id))
    by_name = {found.recipe_job_name: found for found in jobs_of(session, recipe)}
    affected = {job.recipe_job_name}
    for entry in definition.topological_order():
        if any(dependency.name in affected for dependency in entry.dependencies):
            affected.add(entry.name)
            dependant = by_name[entry.name]
            if dependant.status == "PENDING":
                set_status(dependant, "BLOCKED")
    session.flush()


def jobs_of(session: Session, recipe: Recipe) -> list[Job]:
    """Return the jobs of a recipe, parents first."""
    return list(session.scalars(select(Job).where(Job.recipe_id == recipe.id).order_by(Job.id)))


def follow_recipe(session: Session, recipe: Recipe) -> None:
    """Queue what has all its parents COMPLETED now; complete the recipe with its last job."""
    jobs = jobs_of(session, recipe)
    by_name = {job.recipe_job_name: job for job in jobs}
    definition = facts.definition_of(session.get_one(RecipeTypeRevision, recipe.recipe_type_rev_id))
    data = RecipeData.parse(recipe.data)
    for entry in definition.topological_order():
        job = by_name[entry.name]
        parents = {dependency.name: by_name[dependency.name] for dependency in entry.dependencies}
        if job.status != "PENDING" or any(parent.status != "COMPLETED" for parent in parents.values()):
            continue
        results = {name: JobResults.parse(parent.results) for name, parent in parents.items()}
        interface = facts.interface_of(job.job_type_rev)
        try:
            job_data = job_data_for(definition, entry.name, interface, data, results)
            files = check_job_data(session, job_data, interface)
        except InvalidDocument as error:
            # What the parents made does not fit: the job fails with an execution that says so.
            execution = new_execution(session, job, interface)
            session.flush()
            refuse_start(session, job, execution, str(error))
            continue
        make_ready(session, job, job.job_type, interface, job_data, files)
    if all(job.status == "COMPLETED" for job in jobs):
        recipe.completed = utcnow()
    recipe.last_modified = utcnow()
    session.flush()


def refuse_start(session: Session, job: Job, execution: JobExecution, message: str) -> None:
    """End a locked job whose execution can't even start, in a way that another try would not mend."""
    error = error_named(session, "unknown")
    end_execution(execution, "FAILED", error=error, message=message)
    job.error_id = error.id
    job.why = None
    job.ended = utcnow()
    set_status(job, "FAILED")
    session.flush()
    block_dependants(session, job)
