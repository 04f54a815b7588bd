# SPDX-License-Identifier: Apache-2.0
"""Tasks of many runs at once, inside the caller's transaction: a handful of statements for thousands.

As everywhere (:mod:`scale_airflow.engine.runs`) the runs are locked before their task instances; here each
kind in the order of its ids, so that two who change many tasks never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scale_airflow.compiler.dags import weight_of
from scale_airflow.engine.publishing import show
from scale_airflow.engine.runs import ending, is_unfinished

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import ColumnElement, TableValuedAlias
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True, order=True)
class TaskAddress:
    """Where Airflow has a task."""

    dag_id: str
    run_id: str
    task_id: str


def cancel_tasks_of_runs(session: Session, tasks: Collection[TaskAddress]) -> int:
    """End tasks as failed: what waits never starts, what runs is stopped at its next heartbeat.

    Those that are over stay so, and runs that Airflow does not have (any more) are passed over.

    :returns: how many task instances were ended.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import update

    found = _locked_tasks(session, tasks)
    if not found:
        return 0
    ended = session.scalars(
        update(TaskInstance)
        .where(_among(found), is_unfinished())
        .values(**ending(TaskInstanceState.FAILED))
        .returning(TaskInstance.id)
        .execution_options(synchronize_session=False)
    ).all()
    return len(ended)


def revive_tasks_of_runs(session: Session, tasks: Mapping[TaskAddress, int]) -> int:
    """Let tasks that ended without success wait for those before them again, in runs that go on.

    A task that never was tried (canceled before its turn, or given up with one before it) is simply as it was
    at first; one that was gets a new try, as :func:`~scale_airflow.engine.runs.clear_tasks` gives it.

    :param tasks: each with Scale's priority of its job.
    :returns: how many task instances wait again; those that are not over, or succeeded, are left alone.
    """
    from airflow.models.taskinstance import TaskInstance, clear_task_instances
    from airflow.utils.state import DagRunState, TaskInstanceState
    from sqlalchemy import select

    lost = (TaskInstanceState.FAILED, TaskInstanceState.UPSTREAM_FAILED, TaskInstanceState.SKIPPED)
    found = _locked_tasks(session, tasks)
    if not found:
        return 0
    show({address.dag_id for address in tasks}, session)
    over = list(
        session.scalars(
            select(TaskInstance)
            .where(_among(found), TaskInstance.state.in_(lost))
            .order_by(TaskInstance.id)
            .execution_options(populate_existing=True)
        ).unique()
    )
    _forget_outcome(session, [task.id for task in over if task.try_number == 0])
    tried = [task for task in over if task.try_number > 0]
    # Called for each run: of several runs' tasks Airflow makes one condition as long as there are runs.
    for run in sorted({(task.dag_id, task.run_id) for task in tried}):
        own = [task for task in tried if (task.dag_id, task.run_id) == run]
        clear_task_instances(own, session, dag_run_state=DagRunState.QUEUED, run_on_latest_version=False)
    session.flush()
    _set_weights(session, over, tasks)
    return len(over)


def _locked_tasks(session: Session, tasks: Collection[TaskAddress]) -> list[UUID]:
    """Lock the runs and then the tasks; return the ids of those that Airflow has."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select, tuple_

    if not tasks:
        return []
    session.flush()
    wanted = _table(tasks)
    session.execute(
        select(DagRun.id)
        .where(tuple_(DagRun.dag_id, DagRun.run_id).in_(select(wanted.c.dag_id, wanted.c.run_id)))
        .order_by(DagRun.id)
        .with_for_update(of=DagRun)
    ).all()
    address = tuple_(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id)
    return list(
        session.scalars(
            select(TaskInstance.id)
            .where(address.in_(select(wanted.c.dag_id, wanted.c.run_id, wanted.c.task_id)))
            .order_by(TaskInstance.id)
            .with_for_update(of=TaskInstance)
        )
    )


def _table(tasks: Collection[TaskAddress]) -> TableValuedAlias:
    from sqlalchemy import Text, bindparam, column, func
    from sqlalchemy.dialects.postgresql import ARRAY

    def texts(name: str) -> Any:
        values = [getattr(address, name) for address in tasks]
        return bindparam(None, values, type_=ARRAY(Text), unique=True)

    return (
        func.unnest(texts("dag_id"), texts("run_id"), texts("task_id"))
        .table_valued(column("dag_id", Text), column("run_id", Text), column("task_id", Text))
        .render_derived()
    )


def _among(ids: list[UUID]) -> ColumnElement[bool]:
    """Return the condition that a task instance is one of these; one parameter for all of them."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import bindparam, cast, func
    from sqlalchemy.dialects.postgresql import ARRAY

    kind = ARRAY(TaskInstance.id.type)
    return TaskInstance.id == func.any(cast(bindparam(None, ids, type_=kind, unique=True), kind))


def _forget_outcome(session: Session, ids: list[UUID]) -> None:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import update

    if ids:
        session.execute(
            update(TaskInstance)
            .where(_among(ids))
            .values(state=None, start_date=None, end_date=None, duration=None)
            .execution_options(synchronize_session=False)
        )


def _set_weights(session: Session, found: list[Any], tasks: Mapping[TaskAddress, int]) -> None:
    """Give the tasks their weights, those of one priority in one statement; clearing took the DAG's."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import update

    by_weight: dict[int, list[UUID]] = {}
    for task in found:
        weight = weight_of(tasks[TaskAddress(task.dag_id, task.run_id, task.task_id)])
        by_weight.setdefault(weight, []).append(task.id)
    for weight, ids in by_weight.items():
        session.execute(
            update(TaskInstance)
            .where(_among(ids))
            .values(priority_weight=weight)
            .execution_options(synchronize_session=False)
        )
