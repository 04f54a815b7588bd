# SPDX-License-Identifier: Apache-2.0
"""What Airflow says about the tasks behind job executions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class TaskTry:
    """One try of a task: each has a task instance id of its own."""

    id: UUID
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: str | None
    hostname: str | None


@dataclass(frozen=True, slots=True)
class ExecutionTaskState:
    """What became, in Airflow, of the task of one execution.

    :param run_state: of its DAG run; None if Airflow has no such run any more.
    :param task_instance_id: of the task's present try; None if Airflow has no such task instance.
    :param task_state: of the present try; None while it waits to be looked at by the scheduler.
    :param try_number: of the present try.
    :param own_state: of the try that the execution claimed, from the present one or the history.
    :param is_own: the present try is the one that the execution claimed.
    :param own_is_known: Airflow still knows the try that the execution claimed; false also before its claim.
    """

    execution_id: int
    run_state: str | None
    task_instance_id: UUID | None
    task_state: str | None
    try_number: int | None
    own_state: str | None
    is_own: bool
    own_is_known: bool


#: A task in one of these has been given up, by Airflow or by a user.
GIVEN_UP = frozenset({"failed", "upstream_failed", "skipped", "removed"})
#: A task in one of these has yet to start, as one without a state has.
WAITING = frozenset({"scheduled", "queued", "up_for_retry", "up_for_reschedule", "deferred"})
_NOTE_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class JobTaskState:
    """The task of a job, of which Airflow believes something else than Scale.

    :param task_changed: when Airflow last changed it.
    :param run_queued: when its run, if that is not over, was last queued; a clear queues it anew.
    """

    job_id: int
    task_instance_id: UUID
    task_state: str | None
    task_changed: datetime | None
    run_queued: datetime | None

    @property
    def is_waiting(self) -> bool:
        """Whether the task has yet to start."""
        return self.task_state is None or self.task_state in WAITING


def running_try(session: Session, task_instance_id: UUID | str) -> TaskTry | None:
    """Return a task's try if Airflow has it as running now; None if not, or if it was cleared since."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    try:
        identifier = UUID(str(task_instance_id))
    except ValueError:
        return None
    row = session.execute(
        select(
            TaskInstance.id,
            TaskInstance.dag_id,
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.try_number,
            TaskInstance.state,
            TaskInstance.hostname,
        ).where(TaskInstance.id == identifier, TaskInstance.state == TaskInstanceState.RUNNING)
    ).one_or_none()
    return None if row is None else TaskTry(*row)


def unfinished_try(session: Session, task_instance_id: UUID) -> bool:
    """Say whether Airflow has this try of a task, and it is not over."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import State
    from sqlalchemy import or_, select

    known = [state for state in State.unfinished if state is not None]
    found = select(TaskInstance.id).where(
        TaskInstance.id == task_instance_id,
        or_(TaskInstance.state.is_(None), TaskInstance.state.in_(known)),
    )
    return session.execute(found).first() is not None


def was_cleared(session: Session, task_instance_id: UUID, *, since: UUID) -> bool:
    """Say whether a task was cleared between an earlier try and the present one, rather than just retried.

    A retry (of a task that failed, or whose worker died) leaves a task's ``max_tries`` as it is; a clear
    raises it to the tries so far and ``retries`` on top. The run's ``clear_number`` would not do: it also
    counts clears of the run's other tasks. A task that is cleared while it runs counts as retried: it was
    not over.

    :param task_instance_id: of the present try.
    :param since: the id of the earlier try. One of which Airflow has no record any more
        (``airflow db clean``) is long over, so it was not retried.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from sqlalchemy import select

    if since == task_instance_id:
        return False
    now = session.scalar(select(TaskInstance.max_tries).where(TaskInstance.id == task_instance_id))
    then = session.execute(
        select(TaskInstanceHistory.max_tries, TaskInstanceHistory.try_number).where(
            TaskInstanceHistory.task_instance_id == since
        )
    ).one_or_none()
    # What was ended before it ever started has no try that could be retried.
    return now is not None and (then is None or now > then.max_tries or then.try_number == 0)


def states_of(session: Session, candidates: FromClause) -> list[ExecutionTaskState]:
    """Compare executions with Airflow, all in one query.

    :param candidates: a subquery with the columns ``execution_id``, ``dag_id``, ``run_id``, ``task_id`` and
        ``task_instance_id`` (null before the claim); an execution whose run does not exist is in the answer.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from sqlalchemy import and_, select

    asked = candidates.c
    rows = session.execute(
        select(
            asked.execution_id,
            asked.task_instance_id.label("own_id"),
            DagRun._state.label("run_state"),
            TaskInstance.id.label("task_instance_id"),
            TaskInstance.state.label("task_state"),
            TaskInstance.try_number,
            TaskInstanceHistory.task_instance_id.label("past_id"),
            TaskInstanceHistory.state.label("past_state"),
        )
        .select_from(candidates)
        .outerjoin(DagRun, and_(DagRun.dag_id == asked.dag_id, DagRun.run_id == asked.run_id))
        .outerjoin(
            TaskInstance,
            and_(
                TaskInstance.dag_id == asked.dag_id,
                TaskInstance.run_id == asked.run_id,
                TaskInstance.task_id == asked.task_id,
                TaskInstance.map_index == -1,
            ),
        )
        .outerjoin(TaskInstanceHistory, TaskInstanceHistory.task_instance_id == asked.task_instance_id)
        .order_by(asked.execution_id)
    )
    return [_task_state(row) for row in rows]


def _task_state(row: Any) -> ExecutionTaskState:
    is_own = row.own_id is not None and row.own_id == row.task_instance_id
    return ExecutionTaskState(
        execution_id=row.execution_id,
        run_state=None if row.run_state is None else str(row.run_state),
        task_instance_id=row.task_instance_id,
        task_state=None if row.task_state is None else str(row.task_state),
        try_number=row.try_number,
        own_state=row.task_state if is_own else row.past_state,
        is_own=is_own,
        own_is_known=is_own or row.past_id is not None,
    )


def apart_in_live_runs(session: Session, jobs: FromClause) -> list[JobTaskState]:
    """Return the tasks of runs that are not over that are not as Scale's jobs are.

    :param jobs: a subquery with the columns ``job_id``, ``status``, ``weight`` (the ``priority_weight`` that
        its task should have), ``dag_id``, ``run_id`` and ``task_id``.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import DagRunState
    from sqlalchemy import and_, or_

    status, state = jobs.c.status, TaskInstance.state
    starts = or_(state.is_(None), state.in_(sorted(WAITING)))
    is_apart = or_(
        and_(status == "PENDING", state.in_(["success", "failed", "skipped", "removed"])),
        and_(status == "BLOCKED", state == "success"),
        and_(status.in_(["FAILED", "CANCELED"]), or_(state.is_(None), state.not_in(sorted(GIVEN_UP)))),
        and_(status == "COMPLETED", or_(starts, state.in_(sorted(GIVEN_UP)))),
        and_(status.in_(["PENDING", "QUEUED"]), starts, TaskInstance.priority_weight != jobs.c.weight),
    )
    return _apart(session, jobs, is_apart, DagRun._state.in_([DagRunState.QUEUED, DagRunState.RUNNING]))


def apart_in_any_run(session: Session, jobs: FromClause) -> list[JobTaskState]:
    """Return the tasks that did not end as Scale's jobs did, also of runs that are over.

    Scale's jobs outlive Airflow's runs: those whose run was deleted are not in the answer.

    :param jobs: as for :func:`apart_in_live_runs`.
    """
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import and_

    status, state = jobs.c.status, TaskInstance.state
    # Two queries: each begins at the few jobs, or the few tasks, that came to nothing. Asking for the state
    # of their runs as well would read all runs there ever were.
    return [
        *_apart(session, jobs, and_(status.in_(["FAILED", "CANCELED", "BLOCKED"]), state == "success")),
        *_apart(session, jobs, and_(status == "COMPLETED", state.in_(sorted(GIVEN_UP)))),
    ]


def _apart(
    session: Session,
    jobs: FromClause,
    is_apart: ColumnElement[bool],
    of_runs: ColumnElement[bool] | None = None,
) -> list[JobTaskState]:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import and_, null, select

    asked = jobs.c
    query = (
        select(
            asked.job_id,
            TaskInstance.id,
            TaskInstance.state,
            TaskInstance.updated_at,
            null() if of_runs is None else DagRun.queued_at,
        )
        .select_from(jobs)
        .join(
            TaskInstance,
            and_(
                TaskInstance.dag_id == asked.dag_id,
                TaskInstance.run_id == asked.run_id,
                TaskInstance.task_id == asked.task_id,
                TaskInstance.map_index == -1,
            ),
        )
        .where(is_apart)
        .order_by(asked.job_id)
    )
    if of_runs is not None:
        of_same = and_(DagRun.dag_id == asked.dag_id, DagRun.run_id == asked.run_id)
        query = query.join(DagRun, of_same).where(of_runs)
    return [
        JobTaskState(row[0], row[1], None if row[2] is None else str(row[2]), row[3], row[4])
        for row in session.execute(query)
    ]


def annotate(session: Session, task_instance_id: UUID, text: str) -> None:
    """Leave a note at a task's present try, where Airflow's pages show it; an earlier note of it goes."""
    from airflow.models.taskinstance import TaskInstanceNote
    from sqlalchemy.dialects.postgresql import insert

    now: Any = {"content": text[:_NOTE_LIMIT], "updated_at": datetime.now(timezone.utc)}
    statement = insert(TaskInstanceNote).values(
        ti_id=task_instance_id, user_id=None, created_at=now["updated_at"], **now
    )
    session.execute(statement.on_conflict_do_update(index_elements=["ti_id"], set_=now))
