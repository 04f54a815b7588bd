# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import FromClause, Integer, Text, Uuid, column, values
from sqlalchemy.orm import Session

from scale_airflow.compiler.dag_files import DagFile
from scale_airflow.engine.runs import clear_tasks, create_run
from scale_airflow.engine.tasks import ExecutionTaskState, running_try, states_of

RUN = "scale-recipe-1"


def candidates(*rows: tuple[int, str, str, str, UUID | None]) -> FromClause:
    return (
        values(
            column("execution_id", Integer),
            column("dag_id", Text),
            column("run_id", Text),
            column("task_id", Text),
            column("task_instance_id", Uuid),
        )
        .data(list(rows))
        .alias("candidates")
    )


@pytest.fixture
def dag_id(session: Session, published: DagFile, schedule: Callable[[str, str], None]) -> str:
    create_run(session, dag_id=published.dag_id, run_id=RUN, conf={}, priority=5)
    session.commit()
    schedule(published.dag_id, RUN)
    return published.dag_id


def first_try(session: Session, dag_id: str, state: str) -> UUID:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    task = session.scalars(
        select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.task_id == "first")
    ).one()
    task.set_state(state, session=session)
    session.commit()
    return task.id


def test_a_try_counts_only_while_it_runs(session: Session, dag_id: str) -> None:
    identifier = first_try(session, dag_id, "running")
    found = running_try(session, str(identifier))
    assert found is not None
    assert (found.id, found.dag_id, found.run_id, found.task_id) == (identifier, dag_id, RUN, "first")
    assert (found.map_index, found.try_number, found.state) == (-1, 1, "running")
    clear_tasks(session, dag_id=dag_id, run_id=RUN, task_ids=["first"], priority=5)
    assert running_try(session, identifier) is None


@pytest.mark.parametrize("identifier", ["", "not an id", str(UUID(int=0))])
def test_an_unknown_try_does_not_run(session: Session, identifier: str) -> None:
    assert running_try(session, identifier) is None


def test_states_follow_an_execution_through_its_tries(session: Session, dag_id: str) -> None:
    identifier = first_try(session, dag_id, "running")
    asked = candidates((1, dag_id, RUN, "first", identifier), (2, dag_id, RUN, "first", None))
    claimed, waiting = states_of(session, asked)
    assert claimed == ExecutionTaskState(
        execution_id=1,
        run_state="running",
        task_instance_id=identifier,
        task_state="running",
        try_number=1,
        own_state="running",
        is_own=True,
        own_is_known=True,
    )
    assert (waiting.own_state, waiting.is_own, waiting.own_is_known) == (None, False, False)

    first_try(session, dag_id, "failed")
    clear_tasks(session, dag_id=dag_id, run_id=RUN, task_ids=["first"], priority=5)
    session.commit()
    cleared, _ = states_of(session, asked)
    assert cleared.task_instance_id != identifier
    assert cleared.task_state is None
    assert (cleared.own_state, cleared.is_own, cleared.own_is_known) == ("failed", False, True)


def test_runs_and_tries_that_airflow_lost_are_in_the_answer(session: Session, dag_id: str) -> None:
    lost, stranger = states_of(
        session,
        candidates((1, dag_id, "scale-recipe-9", "first", uuid4()), (2, dag_id, RUN, "first", uuid4())),
    )
    assert (lost.run_state, lost.task_instance_id, lost.own_is_known) == (None, None, False)
    assert stranger.run_state == "running"
    assert stranger.task_state == "scheduled"
    assert not stranger.own_is_known
