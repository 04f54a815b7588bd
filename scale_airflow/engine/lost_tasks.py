# SPDX-License-Identifier: Apache-2.0
"""Tasks that an executor has lost: queued, and never started.

An executor that can take a task back (Celery, Kubernetes) is asked to do so by Airflow's scheduler after
``[scheduler] task_queued_timeout``. LocalExecutor can't, and does not notice that the process that was about
to start a task was killed: the task stays ``queued``, and what follows it waits, until the scheduler is
restarted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID

from scale_airflow.engine.bundle_row import configured_bundle

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class LostTask:
    """A task of a generated DAG that an executor was given long ago."""

    id: UUID
    dag_id: str
    run_id: str
    task_id: str


def patience() -> timedelta:
    """Return how long a task may be ``queued``: until Airflow must have done what it does about it."""
    from airflow.configuration import conf

    limit = conf.getfloat("scheduler", "task_queued_timeout", fallback=600.0)
    interval = conf.getfloat("scheduler", "task_queued_timeout_check_interval", fallback=120.0)
    return timedelta(seconds=limit + 2 * interval)


def lost_tasks(session: Session) -> Sequence[LostTask]:
    """Return the tasks of generated DAGs that are ``queued`` for longer than :func:`patience`."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    columns: Any = (TaskInstance.id, TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id)
    rows: Any = session.execute(_only_lost(select(*columns)).order_by(TaskInstance.queued_dttm))
    return [LostTask(*row) for row in rows]


def try_again(session: Session, lost: LostTask) -> bool:
    """Have a lost task tried once more; should its lost start still come, Airflow refuses it.

    :returns: False if it is not lost any more.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    # The run first, as the scheduler locks them.
    session.execute(
        select(DagRun.id)
        .where(DagRun.dag_id == lost.dag_id, DagRun.run_id == lost.run_id)
        .with_for_update(of=DagRun)
    )
    task = session.scalars(
        _only_lost(select(TaskInstance))
        .where(TaskInstance.id == lost.id)
        .with_for_update(of=TaskInstance, skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if task is None:
        return False
    # A try of its own: the executor takes the same one for running still, and would not start it again.
    task.prepare_db_for_next_try(session)
    task.clear_next_method_args()
    task.end_date = datetime.now(timezone.utc)
    task.state = TaskInstanceState.UP_FOR_RETRY
    session.flush()
    return True


def _only_lost(query: Select[Any]) -> Select[Any]:
    from airflow.models.dag import DagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import TaskInstanceState

    return query.join(DagModel, DagModel.dag_id == TaskInstance.dag_id).where(
        TaskInstance.state == TaskInstanceState.QUEUED,
        TaskInstance.queued_dttm < datetime.now(timezone.utc) - patience(),
        DagModel.bundle_name == configured_bundle().name,
    )
