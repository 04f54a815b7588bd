# SPDX-License-Identifier: Apache-2.0
"""DAG runs: created, cleared, canceled and ended inside the caller's transaction.

Whoever changes task instances locks their run first, as Airflow's scheduler does: the two never wait for
each other in a circle, and the scheduler never writes over a change with a decision that it took before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from scale_airflow.compiler.bundle import version_of_file
from scale_airflow.compiler.dags import weight_of
from scale_airflow.engine.publishing import show
from scale_airflow.engine.serialized import PublishedDag, serialized_dag
from scale_airflow.errors import EngineError

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import DagRunState, TaskInstanceState
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session


def create_run(
    session: Session,
    *,
    dag_id: str,
    run_id: str,
    conf: Mapping[str, Any],
    priority: int,
    shown: dict[str, PublishedDag] | None = None,
) -> bool:
    """Create a run that the scheduler may start as soon as the caller commits.

    :param conf: what the run carries; shown in Airflow's UI.
    :param priority: Scale's, low first; becomes the weight of all its tasks, see
        :func:`~scale_airflow.compiler.dags.weight_of`.
    :param shown: the DAGs that this transaction has looked up and holds; added to. To be emptied when a part
        of the transaction is rolled back, which lets go of what was held since.
    :returns: False if there is such a run already, which is left alone.
    :raises EngineError: if the DAG was not published, or Airflow refuses the run.
    """
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy.exc import IntegrityError

    shown = {} if shown is None else shown
    if dag_id not in shown:
        show([dag_id], session)
        shown[dag_id] = serialized_dag(session, dag_id)
    dag = shown[dag_id]
    try:
        # A savepoint, so that it costs the caller nothing if there is such a run.
        with session.begin_nested():
            run = dag.dag.create_dagrun(
                run_id=run_id,
                run_after=datetime.now(timezone.utc),
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.REST_API,
                conf=dict(conf),
                state=DagRunState.QUEUED,
                session=session,
            )
            if dag.file_name is not None:
                # Tells every task which file it needs, and keeps the run with it.
                run.bundle_version = version_of_file(dag.file_name)
            session.flush()
            _set_weight(session, dag_id, run_id, priority)
    except IntegrityError:
        if run_state(session, dag_id, run_id) is None:
            raise
        return False
    except ValueError as error:
        raise EngineError(f"Airflow refuses a run {run_id} of {dag_id}: {error}") from error
    return True


def set_priority(
    session: Session,
    *,
    dag_id: str,
    run_id: str,
    priority: int,
    task_ids: Collection[str] | None = None,
) -> None:
    """Set the priority of a run's tasks, or of some of them; those that wait are started in its order."""
    session.flush()
    _set_weight(session, dag_id, run_id, priority, task_ids)


def clear_tasks(
    session: Session, *, dag_id: str, run_id: str, task_ids: Collection[str], priority: int
) -> int:
    """Let tasks of a run run again, on the revision that the run always had; the DAG need not be visible.

    What of them still runs by Airflow's books is over: its worker is told to stop.

    :param task_ids: the task and those after it, as the caller decides.
    :returns: how many task instances were cleared.
    :raises EngineError: if Airflow has no such run.
    """
    from airflow.models.taskinstance import clear_task_instances
    from airflow.utils.state import DagRunState, TaskInstanceState

    _locked_run(session, dag_id, run_id)
    show([dag_id], session)
    tasks = _locked_tasks(session, dag_id, run_id, task_ids)
    for task in tasks:
        if task.state == TaskInstanceState.RUNNING:
            # Else Airflow would wait for the worker to confirm, which a lost one never does.
            task.set_state(TaskInstanceState.FAILED, session=session)
    # One that waits already has nothing to clear, and no try to file in its history.
    over = [task for task in tasks if task.state is not None]
    clear_task_instances(over, session, dag_run_state=DagRunState.QUEUED, run_on_latest_version=False)
    # Clearing takes the DAG's weight; ours is the job's.
    set_priority(
        session,
        dag_id=dag_id,
        run_id=run_id,
        priority=priority,
        task_ids=[task.task_id for task in tasks],
    )
    return len(over)


def cancel_tasks(session: Session, *, dag_id: str, run_id: str, task_ids: Collection[str]) -> int:
    """End tasks of a run as failed: what waits never starts, what runs is stopped at its next heartbeat.

    Tasks after them become ``upstream_failed`` when the scheduler looks next. Those that are over stay so.

    :returns: how many task instances were ended; 0 if Airflow has no such run.
    """
    from airflow.utils.state import TaskInstanceState

    if _locked_run(session, dag_id, run_id, missing_ok=True) is None:
        return 0
    return _end_tasks(session, dag_id, run_id, TaskInstanceState.FAILED, task_ids=task_ids)


def mark_success(session: Session, *, dag_id: str, run_id: str, task_ids: Collection[str]) -> int:
    """Record as succeeded what Scale knows to be completed, whatever Airflow believed.

    A run that was over is looked at again by the scheduler; clear the tasks after these to let them run.

    :returns: how many task instances changed; 0 if Airflow has no such run.
    """
    from airflow.utils.state import TaskInstanceState

    return _mark(session, dag_id, run_id, TaskInstanceState.SUCCESS, task_ids)


def mark_failed(session: Session, *, dag_id: str, run_id: str, task_ids: Collection[str]) -> int:
    """Record as failed what Scale knows to have come to nothing, whatever Airflow believed.

    A run that was over is looked at again by the scheduler.

    :returns: how many task instances changed; 0 if Airflow has no such run.
    """
    from airflow.utils.state import TaskInstanceState

    return _mark(session, dag_id, run_id, TaskInstanceState.FAILED, task_ids)


def _mark(
    session: Session, dag_id: str, run_id: str, state: TaskInstanceState, task_ids: Collection[str]
) -> int:
    from airflow.utils.state import DagRunState, State

    run = _locked_run(session, dag_id, run_id, missing_ok=True)
    if run is None:
        return 0
    changed = _end_tasks(session, dag_id, run_id, state, task_ids=task_ids, finished_too=True)
    if changed and run.state in State.finished_dr_states:
        show([dag_id], session)
        run.set_state(DagRunState.QUEUED)
        session.flush()
    return changed


def fail_run(session: Session, *, dag_id: str, run_id: str) -> bool:
    """End a run and all that is unfinished in it as failed.

    :returns: False if it was over, or Airflow has no such run.
    """
    from airflow.utils.state import DagRunState, TaskInstanceState

    return _end_run(session, dag_id, run_id, DagRunState.FAILED, TaskInstanceState.FAILED)


def finish_run(session: Session, *, dag_id: str, run_id: str) -> bool:
    """End a run as succeeded; what is unfinished in it never starts.

    :returns: False if it was over, or Airflow has no such run.
    """
    from airflow.utils.state import DagRunState, TaskInstanceState

    return _end_run(session, dag_id, run_id, DagRunState.SUCCESS, TaskInstanceState.SKIPPED)


def run_state(session: Session, dag_id: str, run_id: str) -> str | None:
    """Return ``queued``, ``running``, ``success`` or ``failed``; None if Airflow has no such run."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    state = session.scalar(select(DagRun._state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return None if state is None else str(state)


def run_conf(session: Session, dag_id: str, run_id: str) -> dict[str, Any] | None:
    """Return what a run carries (a form's answers, for one started by hand); None if there is no such run."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    row = session.execute(
        select(DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    ).one_or_none()
    return None if row is None else dict(row[0] or {})


def _set_weight(
    session: Session, dag_id: str, run_id: str, priority: int, task_ids: Collection[str] | None = None
) -> None:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import update

    statement = update(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    if task_ids is not None:
        statement = statement.where(TaskInstance.task_id.in_(list(task_ids)))
    session.execute(
        statement.values(priority_weight=weight_of(priority)).execution_options(synchronize_session="fetch")
    )


def _end_run(
    session: Session, dag_id: str, run_id: str, run_state: DagRunState, task_state: TaskInstanceState
) -> bool:
    from airflow.utils.state import State

    run = _locked_run(session, dag_id, run_id, missing_ok=True)
    if run is None or run.state in State.finished_dr_states:
        return False
    _end_tasks(session, dag_id, run_id, task_state)
    run.set_state(run_state)
    session.flush()
    return True


def _locked_run(session: Session, dag_id: str, run_id: str, *, missing_ok: bool = False) -> DagRun | None:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    run = session.scalar(
        select(DagRun)
        .where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        .with_for_update(of=DagRun)
        .execution_options(populate_existing=True)
    )
    if run is None and not missing_ok:
        raise EngineError(f"Airflow has no run {run_id} of {dag_id}; it may have been deleted there")
    return run


def _locked_tasks(
    session: Session, dag_id: str, run_id: str, task_ids: Collection[str]
) -> list[TaskInstance]:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    return list(
        session.scalars(
            select(TaskInstance)
            .where(
                TaskInstance.dag_id == dag_id,
                TaskInstance.run_id == run_id,
                TaskInstance.task_id.in_(list(task_ids)),
            )
            .order_by(TaskInstance.task_id)
            .with_for_update(of=TaskInstance)
            .execution_options(populate_existing=True)
        ).unique()
    )


def _end_tasks(
    session: Session,
    dag_id: str,
    run_id: str,
    state: TaskInstanceState,
    *,
    task_ids: Collection[str] | None = None,
    finished_too: bool = False,
) -> int:
    """Set the state of task instances that are not over (or, on demand, of those with another outcome)."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import update

    statement = update(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    if task_ids is not None:
        statement = statement.where(TaskInstance.task_id.in_(list(task_ids)))
    if finished_too:
        statement = statement.where(TaskInstance.state.is_distinct_from(state))
    else:
        statement = statement.where(is_unfinished())
    ended = session.scalars(
        statement.values(**ending(state))
        .returning(TaskInstance.id)
        .execution_options(synchronize_session="fetch")
    )
    return len(ended.all())


def is_unfinished() -> ColumnElement[bool]:
    """Return the condition that a task instance is not over."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import State
    from sqlalchemy import or_

    unfinished = [known for known in State.unfinished if known is not None]
    return or_(TaskInstance.state.is_(None), TaskInstance.state.in_(unfinished))


def ending(state: TaskInstanceState) -> dict[str, Any]:
    """Return what an UPDATE sets in task instances that end, all at this moment, in a state."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import func

    now = datetime.now(timezone.utc)
    started = func.coalesce(TaskInstance.start_date, now)
    return {
        "state": state,
        "start_date": started,
        "end_date": now,
        "duration": func.extract("epoch", now - started),
        "next_method": None,
        "next_kwargs": None,
        "trigger_timeout": None,
    }
