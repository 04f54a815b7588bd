# SPDX-License-Identifier: Apache-2.0
"""Tasks of many runs are canceled and revived at once, in as many statements as for a few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from statements import statements

from scale_airflow.compiler import names
from scale_airflow.compiler.dag_files import DagFile
from scale_airflow.compiler.dags import weight_of
from scale_airflow.engine.many_runs import TaskAddress, cancel_tasks_of_runs, revive_tasks_of_runs
from scale_airflow.engine.runs import create_run, run_state

SECOND = names.task_id("second job")

Look = Callable[[str, str], None]


def states(session: Session) -> dict[tuple[str, str], str | None]:
    from airflow.models.taskinstance import TaskInstance

    rows = session.execute(select(TaskInstance.run_id, TaskInstance.task_id, TaskInstance.state))
    return {(row.run_id, row.task_id): row.state for row in rows}


def set_tasks(session: Session, run_id: str, task_id: str, **values: Any) -> None:
    from airflow.models.taskinstance import TaskInstance

    session.execute(
        update(TaskInstance)
        .where(TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
        .values(**values)
    )
    session.commit()


@pytest.fixture
def dag_id(session: Session, published: DagFile) -> str:
    for number in range(6):
        create_run(session, dag_id=published.dag_id, run_id=f"run-{number}", conf={}, priority=5)
    session.commit()
    return published.dag_id


def test_what_is_not_over_ends_and_the_rest_stays(session: Session, dag_id: str) -> None:
    from airflow.models.taskinstance import TaskInstance

    before = [None, "scheduled", "queued", "running", "deferred", "success"]
    for number, state in enumerate(before):
        set_tasks(session, f"run-{number}", "first", state=state)
    with statements(session) as seen:
        ended = cancel_tasks_of_runs(
            session,
            [TaskAddress(dag_id, f"run-{number}", "first") for number in range(6)]
            + [TaskAddress(dag_id, "gone", "first"), TaskAddress("gone", "run-1", "first")],
        )
    assert ended == 5
    assert len(seen) == 3
    session.commit()
    now = states(session)
    assert [now[(f"run-{number}", "first")] for number in range(6)] == ["failed"] * 5 + ["success"]
    assert {now[(f"run-{number}", SECOND)] for number in range(6)} == {None}, "nobody asked for these"
    unended = select(func.count()).where(TaskInstance.state == "failed", TaskInstance.end_date.is_(None))
    assert session.scalar(unended) == 0
    assert cancel_tasks_of_runs(session, []) == 0


def test_a_task_canceled_before_its_turn_waits_again(session: Session, dag_id: str, schedule: Look) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory

    canceled = [TaskAddress(dag_id, f"run-{number}", SECOND) for number in range(3)]
    assert cancel_tasks_of_runs(session, canceled) == 3
    session.commit()
    for number in range(3):
        schedule(dag_id, f"run-{number}")
    with statements(session) as few:
        assert revive_tasks_of_runs(session, {canceled[0]: 2}) == 1
    with statements(session) as seen:
        assert revive_tasks_of_runs(session, {canceled[1]: 7, canceled[2]: 7}) == 2
    assert len(seen) == len(few)
    session.commit()
    weights = select(TaskInstance.run_id, TaskInstance.priority_weight).where(
        TaskInstance.task_id == SECOND, TaskInstance.run_id.in_(["run-0", "run-1", "run-3"])
    )
    assert dict(session.execute(weights).all()) == {  # type: ignore[arg-type]
        "run-0": weight_of(2),
        "run-1": weight_of(7),
        "run-3": weight_of(5),
    }
    assert session.scalar(select(func.count()).select_from(TaskInstanceHistory)) == 0, "it never had a try"
    set_tasks(session, "run-0", "first", state="success")
    schedule(dag_id, "run-0")
    assert states(session)[("run-0", SECOND)] == "scheduled"
    assert run_state(session, dag_id, "run-0") == "running"


def test_a_task_that_was_tried_has_a_new_try(session: Session, dag_id: str, schedule: Look) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory

    addresses = {TaskAddress(dag_id, f"run-{number}", SECOND): 3 for number in range(2)}
    for number in range(2):
        schedule(dag_id, f"run-{number}")
        set_tasks(session, f"run-{number}", SECOND, state="failed", try_number=1)
    before = session.scalars(select(TaskInstance.id).where(TaskInstance.task_id == SECOND)).all()
    assert revive_tasks_of_runs(session, addresses) == 2
    session.commit()
    kept = session.scalars(select(TaskInstanceHistory.task_instance_id)).all()
    after = session.scalars(
        select(TaskInstance).where(TaskInstance.id.not_in(before), TaskInstance.task_id == SECOND)
    ).unique()
    assert set(kept) < set(before)
    assert {(task.run_id, task.state, task.priority_weight, task.pool) for task in after} == {
        (f"run-{number}", None, weight_of(3), names.pool_name("finder", "1.0")) for number in range(2)
    }


def test_what_waits_or_succeeded_is_not_revived(session: Session, dag_id: str) -> None:
    set_tasks(session, "run-0", SECOND, state="success", try_number=1)
    before = states(session)
    addresses = {TaskAddress(dag_id, f"run-{number}", SECOND): 3 for number in range(2)}
    assert revive_tasks_of_runs(session, addresses) == 0
    assert revive_tasks_of_runs(session, {}) == 0
    assert states(session) == before
