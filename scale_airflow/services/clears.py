# SPDX-License-Identifier: Apache-2.0
"""A user cleared a task in Airflow: of a job that ended FAILED or CANCELED, that is a requeue."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from scale_airflow.engine import runs, tasks
from scale_airflow.services import repairs
from scale_airflow.services.locks import latest_execution
from scale_airflow.services.requeue import requeue_cleared
from scale_airflow.store.models import Job, utcnow


def was_cleared(session: Session, job: Job, task_instance_id: uuid.UUID) -> bool:
    """Say whether the task of a locked job that is over is to run again because it was cleared.

    Airflow also tries a task again whose worker died after it had reported the failure for good: that is no
    wish for another try of the job.

    :param task_instance_id: of the task's present try, which is not over.
    """
    execution = latest_execution(session, job)
    earlier = execution.task_instance_id if execution is not None else None
    if earlier is not None:
        return tasks.was_cleared(session, task_instance_id, since=earlier)
    # It was canceled before it started, and its task ended in the same transaction, which may have been this
    # moment. So if the task is not over, it was cleared.
    return job.status == "CANCELED" and tasks.unfinished_try(session, task_instance_id)


def follow_clear(session: Session, job: Job) -> None:
    """Queue a locked job, FAILED or CANCELED, once more, whose task a user cleared.

    A clear takes the DAG's priority; the job keeps its own.
    """
    before = job.status
    requeue_cleared(session, job)
    if job.status == "QUEUED" and job.dispatched is None:
        # Requeued before, and canceled before its turn: this time it is in Airflow already.
        job.dispatched = utcnow()
    if job.run_id is not None:
        runs.set_priority(
            session, dag_id=job.dag_id, run_id=job.run_id, priority=job.priority, task_ids=[job.task_id]
        )
    execution = latest_execution(session, job)
    repairs.record(
        session,
        "job-requeued-task-cleared",
        job,
        before=f"job {before}, task cleared",
        after=f"job {job.status}",
        text="Its task was cleared in Airflow: it has one more try.",
        execution_id=execution.id if execution is not None else None,
    )
