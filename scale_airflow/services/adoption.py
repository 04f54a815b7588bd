# SPDX-License-Identifier: Apache-2.0
"""Runs that Scale did not create: started by hand in Airflow's UI, or of a DAG file in somebody's repository.

The first task's claim adopts the run: it becomes a recipe (or a job) of Scale like any other.
"""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.compiler import parameters
from scale_airflow.engine import runs
from scale_airflow.errors import InvalidRequest
from scale_airflow.execution.order import ClaimRequest
from scale_airflow.services.events import record_event
from scale_airflow.services.queue import Address, queue_job, queue_recipe
from scale_airflow.services.recipe_types import ensure_recipe_type
from scale_airflow.store.models import Job, JobTypeRevision, RecipeTypeRevision


def adopt(session: Session, request: ClaimRequest) -> None:
    """Make the recipe or job that a run of Airflow stands for, with the run's parameters as its data.

    Of several tasks that claim at once one adopts; the others find what it made.

    :raises InvalidRequest: if the DAG is nothing that Scale knows.
    :raises InvalidDocument: if the definition or the parameters are wrong.
    """
    key = f"scale-adopt {request.dag_id} {request.run_id}"
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
    done = session.execute(
        select(Job.id).where(Job.dag_id == request.dag_id, Job.run_id == request.run_id).limit(1)
    ).scalar()
    if done is not None:
        return
    answers = runs.run_conf(session, request.dag_id, request.run_id) or {}
    address = Address(request.dag_id, request.run_id, request.task_id)
    event = record_event(session, "USER", {"dag_id": request.dag_id, "run_id": request.run_id})
    revision = _recipe_revision(session, request)
    if revision is not None:
        queue_recipe(
            session,
            recipe_type=revision.recipe_type,
            revision=revision,
            data=parameters.recipe_data(revision.definition, answers),
            event=event,
            adopted=address,
        )
        return
    job_revision = session.scalars(
        select(JobTypeRevision).where(JobTypeRevision.dag_id == request.dag_id)
    ).one_or_none()
    if job_revision is None:
        raise InvalidRequest(
            f"DAG {request.dag_id} is neither a recipe type nor a job type of this Scale, and brings no "
            "definition."
        )
    queue_job(
        session,
        job_type=job_revision.job_type,
        revision=job_revision,
        data=parameters.job_data(job_revision.interface, answers),
        event=event,
        adopted=address,
    )


def _recipe_revision(session: Session, request: ClaimRequest) -> RecipeTypeRevision | None:
    if request.definition is not None:
        brought = request.definition
        missing = [key for key in ("name", "version", "definition") if key not in brought]
        if missing:
            raise InvalidRequest(
                f"What task {request.task_id} brings to be adopted lacks {', '.join(missing)}."
            )
        return ensure_recipe_type(
            session,
            name=brought["name"],
            version=brought["version"],
            title=brought.get("title"),
            definition=brought["definition"],
        )
    return session.scalars(
        select(RecipeTypeRevision).where(RecipeTypeRevision.dag_id == request.dag_id)
    ).one_or_none()
