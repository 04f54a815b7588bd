# SPDX-License-Identifier: Apache-2.0
"""Runs as Scale's jobs are: one that was deleted in Airflow is made anew when a job of it is to run, so that
no job is lost with it; and each task has its own job's priority."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.engine import runs
from scale_airflow.engine.serialized import PublishedDag
from scale_airflow.store.models import Job


def restore_run(session: Session, job: Job, shown: dict[str, PublishedDag]) -> bool:
    """Create the run of a locked job again if Airflow has it no more; its tasks are as Scale's jobs are.

    :param shown: see :func:`~scale_airflow.engine.runs.create_run`.
    :returns: whether it was created.
    :raises EngineError: if its DAG is gone as well.
    """
    if job.run_id is None or runs.run_state(session, job.dag_id, job.run_id) is not None:
        return False
    same_run = Job.id == job.id if job.recipe_id is None else Job.recipe_id == job.recipe_id
    family = session.scalars(select(Job).where(same_run).order_by(Job.id)).all()
    conf = {"scale_job_id": job.id} if job.recipe_id is None else {"scale_recipe_id": job.recipe_id}
    address: dict[str, Any] = {"dag_id": job.dag_id, "run_id": job.run_id}
    runs.create_run(session, **address, conf=conf, priority=job.priority, shown=shown)
    if job.recipe_id is not None:
        weigh_tasks(session, job.recipe_id, but=job.priority)
    completed = [found.task_id for found in family if found.status == "COMPLETED"]
    ended = [found.task_id for found in family if found.status in ("FAILED", "CANCELED")]
    runs.mark_success(session, **address, task_ids=completed)
    runs.cancel_tasks(session, **address, task_ids=ended)
    return True


def weigh_tasks(session: Session, recipe_id: int, *, but: int) -> None:
    """Let each task of a recipe's run have the priority of its own job.

    :param but: the priority that the tasks have already.
    """
    rows = session.execute(
        select(Job.dag_id, Job.run_id, Job.priority, func.array_agg(Job.task_id))
        .where(Job.recipe_id == recipe_id, Job.run_id.is_not(None), Job.priority != but)
        .group_by(Job.dag_id, Job.run_id, Job.priority)
    )
    for dag_id, run_id, priority, task_ids in rows.all():
        runs.set_priority(session, dag_id=dag_id, run_id=str(run_id), priority=priority, task_ids=task_ids)
