# SPDX-License-Identifier: Apache-2.0
"""Cancel thousands of jobs in one transaction and a handful of statements, with Airflow's tasks following.

What becomes of each is what :func:`scale_airflow.services.jobs.cancel_job` makes of one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, exists, select, update
from sqlalchemy.orm import Session

from scale_airflow.engine.many_runs import TaskAddress, cancel_tasks_of_runs
from scale_airflow.errors import InvalidRequest, NotFound
from scale_airflow.services.dispatch import wake
from scale_airflow.services.listing import among
from scale_airflow.services.locks import lock_jobs
from scale_airflow.services.recipe_members import members_of
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Job, JobExecution, QueueEntry, utcnow

CANCELABLE = ("PENDING", "BLOCKED", "QUEUED", "RUNNING", "FAILED")
"""What a job may be to be canceled."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What one request did to many jobs.

    :param matched: the ids of all jobs that were meant.
    :param changed: those of them that are not as before; the others were in no state for it.
    """

    matched: list[int]
    changed: list[int]


def matching(session: Session, wanted: JobFilter) -> list[int]:
    """Return the ids of the jobs that are meant.

    :raises InvalidRequest: if nothing says which: every job is not what anybody means.
    :raises NotFound: if there are none.
    """
    if wanted.means_all:
        raise InvalidRequest("Nothing says which jobs are meant.")
    found = list(session.scalars(wanted.applied(select(Job.id)).order_by(Job.id)))
    if not found:
        raise NotFound("No job matches these filters.")
    return found


def cancel_jobs(session: Session, wanted: JobFilter, *, message: str = "The job was canceled.") -> Changed:
    """Cancel all jobs that are meant; those that are COMPLETED or CANCELED, or Scale's own, stay as they are.

    Waiting jobs never start; what runs is killed within seconds. Jobs that depend on them are BLOCKED.

    :param message: what their executions say.
    :raises NotFound: if no job is meant.
    """
    session.flush()
    matched = matching(session, wanted)
    changed = lock_jobs(session, matched, CANCELABLE)
    if changed:
        _end_executions(session, changed, message)
        _end_jobs(session, changed)
        recipes = _recipes_of(session, changed)
        _block_dependants(session, recipes, set(changed))
        _leave_queue(session, changed, recipes)
        cancel_tasks_of_runs(session, _tasks_of(session, changed))
        wake(session)
        session.expire_all()  # all was changed past the objects that somebody may hold
    return Changed(matched, changed)


def _end_executions(session: Session, job_ids: Collection[int], message: str) -> None:
    now = utcnow()
    latest = and_(Job.id == JobExecution.job_id, Job.num_exes == JobExecution.exe_num)
    session.execute(
        update(JobExecution)
        .where(among(JobExecution.job_id, job_ids), JobExecution.status.in_(("QUEUED", "RUNNING")), latest)
        .values(
            status="CANCELED",
            ended=now,
            stop_requested=now,
            error_id=None,
            message=message,
            reserved=None,
            asked=None,
            asks_for=None,
        )
        .execution_options(synchronize_session=False)
    )


def _end_jobs(session: Session, job_ids: Collection[int]) -> None:
    now = utcnow()
    session.execute(
        update(Job)
        .where(among(Job.id, job_ids))
        .values(status="CANCELED", why=None, ended=now, last_status_change=now)
        .execution_options(synchronize_session=False)
    )


def _recipes_of(session: Session, job_ids: Collection[int]) -> list[int]:
    found = select(Job.recipe_id).where(among(Job.id, job_ids), Job.recipe_id.is_not(None)).distinct()
    return [int(number) for number in session.scalars(found) if number is not None]


def _block_dependants(session: Session, recipe_ids: Collection[int], canceled: set[int]) -> None:
    """Block, over all generations, the PENDING jobs that depend on those that were canceled now."""
    blocked: list[int] = []
    for recipe in members_of(session, recipe_ids):
        affected = {job.name for job in recipe.jobs.values() if job.id in canceled}
        for job, parents in recipe.parents_first():
            if any(parent.name in affected for parent in parents):
                affected.add(job.name)
                if job.status == "PENDING":
                    blocked.append(job.id)
    if blocked:
        session.execute(
            update(Job)
            .where(among(Job.id, blocked))
            .values(status="BLOCKED", last_status_change=utcnow())
            .execution_options(synchronize_session=False)
        )


def _leave_queue(session: Session, job_ids: Collection[int], recipe_ids: Collection[int]) -> None:
    """Take the jobs off the queue, and recipes that wait for their run with nothing left to run in it."""
    still = exists().where(Job.recipe_id == QueueEntry.recipe_id, Job.status == "QUEUED")
    for leaving in (among(QueueEntry.job_id, job_ids), and_(among(QueueEntry.recipe_id, recipe_ids), ~still)):
        session.execute(delete(QueueEntry).where(leaving).execution_options(synchronize_session=False))


def _tasks_of(session: Session, job_ids: Collection[int]) -> list[TaskAddress]:
    """Return where Airflow has the jobs' tasks, of those that it has at all.

    Also of those that wait to be dispatched anew: a user may have cleared their tasks meanwhile.
    """
    rows: Any = session.execute(
        select(Job.dag_id, Job.run_id, Job.task_id).where(among(Job.id, job_ids), Job.run_id.is_not(None))
    )
    return [TaskAddress(dag_id, run_id, task_id) for dag_id, run_id, task_id in rows]
