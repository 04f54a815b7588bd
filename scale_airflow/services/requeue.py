# SPDX-License-Identifier: Apache-2.0
"""Jobs that ended FAILED or CANCELED get one more try, one or thousands (specification: Requeue Jobs).

A requeued job waits in Scale's queue like a new one; the tick clears its task in Airflow when it is its turn,
and those after it. What waits for parents that Airflow is at already is cleared here at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.orm import Session, selectinload

from scale_airflow.definitions.job_data import JobData
from scale_airflow.definitions.job_results import JobResults
from scale_airflow.definitions.recipe_data import RecipeData, job_data_for
from scale_airflow.engine import runs
from scale_airflow.engine.many_runs import TaskAddress, revive_tasks_of_runs
from scale_airflow.errors import Conflict, InvalidDocument
from scale_airflow.services import facts
from scale_airflow.services.cancel import Changed, matching
from scale_airflow.services.jobs import refuse_start
from scale_airflow.services.listing import among
from scale_airflow.services.locks import lock_job, lock_jobs
from scale_airflow.services.queue import make_ready, new_execution, set_status
from scale_airflow.services.queue_entries import enqueue
from scale_airflow.services.recipe_members import Member, Members, members_of
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Job, Recipe, utcnow

REQUEUEABLE = ("FAILED", "CANCELED")
"""What a job may be to be requeued."""

_STUCK = ("FAILED", "CANCELED", "BLOCKED")
#: How many jobs are in memory at once.
_CHUNK = 1000


def requeue_jobs(session: Session, wanted: JobFilter, *, priority: int | None = None) -> Changed:
    """Give all jobs that are meant one more try; those neither FAILED nor CANCELED stay as they are.

    A job that was queued before is QUEUED again. One that never was waits for its parents again (PENDING, or
    BLOCKED if one of them can't complete), and so do BLOCKED jobs that depend on it.

    :param priority: instead of the one that each has; lower runs first.
    :raises NotFound: if no job is meant.
    """
    matched = matching(session, wanted)
    changed = lock_jobs(session, matched, REQUEUEABLE)
    if changed:
        again = _begin_again(session, changed, priority=priority)
        enqueue(session, again.queued)
        revive_tasks_of_runs(session, _free_in_airflow(session, again))
    return Changed(matched, changed)


def requeue_job(session: Session, job_id: int) -> Job:
    """Give one job as many tries as its type allows, beside those that it had (the older request).

    :raises NotFound: if there is none of this id.
    :raises Conflict: if it is neither FAILED nor CANCELED, or Scale's own.
    """
    job = lock_job(session, job_id)
    if job.status not in REQUEUEABLE:
        raise Conflict("Job must be in the CANCELED or FAILED state for requeue")
    if job.job_type.is_system:
        raise Conflict(f"Job {job.id} is of Scale's own type {job.job_type.name}: it can't be requeued.")
    tries = job.num_exes + job.job_type.max_tries
    again = _begin_again(session, [job.id])
    if job.num_exes > 0:
        job.max_tries = tries
    enqueue(session, again.queued)
    revive_tasks_of_runs(session, _free_in_airflow(session, again))
    return job


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
    again = _begin_again(session, [job.id], is_in_airflow=True)
    freed = [member.id for recipe in again.recipes for member in again.freed_of(recipe)]
    found = {
        each.id: each
        for each in session.scalars(
            select(Job).where(among(Job.id, freed)).execution_options(populate_existing=True)
        )
    }
    # Only what still waits: a job that was refused again has blocked those after it.
    return [found[number] for number in freed if number != job.id and found[number].status == "PENDING"]


@dataclass
class _Again:
    """What was requeued.

    :param queued: the ids of the jobs that are QUEUED.
    :param recipes: the recipes of all jobs, as they are now.
    :param freed: the ids of those that wait for their parents again: BLOCKED before, or requeued.
    """

    queued: list[int] = field(default_factory=list)
    recipes: list[Members] = field(default_factory=list)
    freed: set[int] = field(default_factory=set)

    def freed_of(self, recipe: Members) -> Iterator[Member]:
        """Go through a recipe's jobs that wait again, parents first."""
        return (job for job, _ in recipe.parents_first() if job.id in self.freed)


def _begin_again(
    session: Session, job_ids: Sequence[int], *, priority: int | None = None, is_in_airflow: bool = False
) -> _Again:
    """Queue locked jobs, FAILED or CANCELED, once more in Scale's own rows.

    :param is_in_airflow: their tasks run again already, so that they need not be dispatched.
    """
    again = _Again()
    for start in range(0, len(job_ids), _CHUNK):
        for job in _load(session, job_ids[start : start + _CHUNK]):
            job.error_id, job.why, job.ended = None, None, None
            job.priority = job.priority if priority is None else priority
            if job.num_exes > 0:
                job.max_tries = job.num_exes + 1
            # Its signature says that it had its data, also where this is nothing: {}.
            if job.input_signature is not None or job.data:
                new_execution(session, job, facts.interface_of(job.job_type_rev))
                again.queued.append(job.id)
            else:
                set_status(job, "BLOCKED")
        session.flush()
    recipe_ids = _recipe_ids(session, job_ids)
    if recipe_ids:
        members = members_of(session, recipe_ids)
        ready = _free(session, members, again)
        again.queued += _queue_ready(session, ready)
        _touch(session, recipe_ids)
        again.recipes = members_of(session, recipe_ids) if ready else members
    if not is_in_airflow:
        _leave_airflow(session, again.queued)
    # Most was changed past the objects that somebody may hold.
    session.flush()
    session.expire_all()
    return again


def _load(session: Session, job_ids: Sequence[int]) -> list[Job]:
    return list(
        session.scalars(
            select(Job)
            .where(among(Job.id, job_ids))
            .order_by(Job.id)
            .options(selectinload(Job.job_type_rev), selectinload(Job.job_type))
            .execution_options(populate_existing=True)
        )
    )


def _recipe_ids(session: Session, job_ids: Sequence[int]) -> list[int]:
    found = select(Job.recipe_id).where(among(Job.id, job_ids), Job.recipe_id.is_not(None)).distinct()
    return sorted(int(number) for number in session.scalars(found) if number is not None)


def _free(session: Session, recipes: Sequence[Members], again: _Again) -> list[int]:
    """Let BLOCKED jobs wait again whose parents may still complete; return those whose parents have."""
    ready: list[int] = []
    for recipe in recipes:
        for job, parents in recipe.parents_first():
            if job.status == "BLOCKED" and not any(parent.status in _STUCK for parent in parents):
                job.status = "PENDING"
                again.freed.add(job.id)
            if job.status == "PENDING" and all(parent.status == "COMPLETED" for parent in parents):
                ready.append(job.id)
    if again.freed:
        session.execute(
            update(Job)
            .where(among(Job.id, again.freed))
            .values(status="PENDING", last_status_change=utcnow())
            .execution_options(synchronize_session=False)
        )
    return ready


def _queue_ready(session: Session, job_ids: Sequence[int]) -> list[int]:
    """Give PENDING jobs, whose parents are complete, their data and their first execution.

    :returns: those that are QUEUED now. What the parents of the others made does not fit: they are FAILED.
    """
    queued: list[int] = []
    for start in range(0, len(job_ids), _CHUNK):
        jobs = _load(session, job_ids[start : start + _CHUNK])
        given, faults = _data_of(session, jobs)
        files = facts.file_facts(session, {number for data in given.values() for number in data.file_ids()})
        places = facts.workspace_facts(
            session, {number for data in given.values() for number in data.workspace_ids()}
        )
        for job in jobs:
            interface = facts.interface_of(job.job_type_rev)
            if job.id in given:
                try:
                    given[job.id].check(interface, files, places)
                except InvalidDocument as error:
                    faults[job.id] = str(error)
            if job.id in faults:
                execution = new_execution(session, job, interface)
                session.flush()
                refuse_start(session, job, execution, faults[job.id])
            else:
                make_ready(session, job, job.job_type, interface, given[job.id], files)
                queued.append(job.id)
        session.flush()
    return queued


def _data_of(session: Session, jobs: Sequence[Job]) -> tuple[dict[int, JobData], dict[int, str]]:
    """Make the data of recipe jobs from their recipes' and what their parents made.

    :returns: by job, the data, or what is wrong with what the parents made.
    """
    recipe_ids = {job.recipe_id for job in jobs if job.recipe_id is not None}
    recipes = {
        recipe.id: recipe
        for recipe in session.scalars(
            select(Recipe).where(among(Recipe.id, recipe_ids)).options(selectinload(Recipe.recipe_type_rev))
        )
    }
    results = _results_of(session, recipe_ids)
    given: dict[int, JobData] = {}
    faults: dict[int, str] = {}
    for job in jobs:
        assert job.recipe_id is not None and job.recipe_job_name is not None  # noqa: PT018 - for types
        recipe = recipes[job.recipe_id]
        definition = facts.definition_of(recipe.recipe_type_rev)
        entry = definition.job(job.recipe_job_name)
        try:
            given[job.id] = job_data_for(
                definition,
                entry.name,
                facts.interface_of(job.job_type_rev),
                RecipeData.parse(recipe.data),
                {parent.name: results[recipe.id][parent.name] for parent in entry.dependencies},
            )
        except InvalidDocument as error:
            faults[job.id] = str(error)
    return given, faults


def _results_of(session: Session, recipe_ids: set[int]) -> Mapping[int, Mapping[str, JobResults]]:
    rows = session.execute(
        select(Job.recipe_id, Job.recipe_job_name, Job.results).where(
            among(Job.recipe_id, recipe_ids), Job.status == "COMPLETED"
        )
    )
    found: dict[int, dict[str, JobResults]] = {number: {} for number in recipe_ids}
    for recipe_id, name, results in rows:
        found[recipe_id][name] = JobResults.parse(results)  # type: ignore[index]
    return found


def _touch(session: Session, recipe_ids: Sequence[int]) -> None:
    session.execute(
        update(Recipe)
        .where(among(Recipe.id, recipe_ids))
        .values(last_modified=utcnow())
        .execution_options(synchronize_session=False)
    )


def _leave_airflow(session: Session, job_ids: Sequence[int]) -> None:
    """Note that jobs wait to be dispatched (again): until then they are none that Airflow has."""
    session.execute(
        update(Job)
        .where(among(Job.id, job_ids))
        .values(dispatched=None)
        .execution_options(synchronize_session=False)
    )


def _free_in_airflow(session: Session, again: _Again) -> dict[TaskAddress, int]:
    """Return the tasks of jobs that wait again for what Airflow is at, each with its priority.

    Those that come after a job in Scale's queue are cleared together with that one, at its turn.
    """
    queued = set(again.queued)
    found: dict[TaskAddress, int] = {}
    for recipe in again.recipes:
        if recipe.run_id is None:
            continue
        held: set[str] = set()
        for job, parents in recipe.parents_first():
            waits_here = job.id in queued or (job.status == "QUEUED" and not job.is_in_airflow)
            if waits_here or any(parent.name in held for parent in parents):
                held.add(job.name)
            elif job.id in again.freed and job.status == "PENDING":
                found[TaskAddress(recipe.dag_id, recipe.run_id, job.task_id)] = job.priority
    return found
