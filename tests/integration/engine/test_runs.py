# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.compiler.bundle import version_of_file
from scale_airflow.compiler.dag_files import DagFile, job_dag_file, recipe_dag_file
from scale_airflow.compiler.dags import weight_of
from scale_airflow.engine.publishing import hide, publish
from scale_airflow.engine.runs import (
    cancel_tasks,
    clear_tasks,
    create_run,
    fail_run,
    finish_run,
    mark_success,
    run_conf,
    run_state,
    set_priority,
)
from scale_airflow.errors import EngineError
from scale_airflow.store.session import transaction

RUN = "scale-recipe-1"
SECOND = names.task_id("second job")

Look = Callable[[str, str], None]


def tasks(session: Session, dag_id: str, run_id: str = RUN) -> dict[str, Any]:
    from airflow.models.taskinstance import TaskInstance

    session.expire_all()
    found = session.scalars(
        select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    ).unique()
    return {task.task_id: task for task in found}


def states(session: Session, dag_id: str, run_id: str = RUN) -> dict[str, str | None]:
    return {name: task.state for name, task in tasks(session, dag_id, run_id).items()}


def started(session: Session, dag_id: str, task_id: str, state: str = "running") -> Any:
    """Bring a task into the state in which a worker left it."""
    task = tasks(session, dag_id)[task_id]
    task.try_number += task.state is None
    task.set_state(state, session=session)
    session.commit()
    return task


@pytest.fixture
def run(session: Session, published: DagFile) -> str:
    create_run(session, dag_id=published.dag_id, run_id=RUN, conf={}, priority=5)
    session.commit()
    return published.dag_id


def test_a_run_carries_what_it_was_given_and_knows_its_file(session: Session, published: DagFile) -> None:
    from airflow.models.dagrun import DagRun

    conf = {"scale": {"recipe_id": 1}}
    assert create_run(session, dag_id=published.dag_id, run_id=RUN, conf=conf, priority=5)
    run = session.scalars(select(DagRun)).unique().one()
    assert run.conf == conf == run_conf(session, published.dag_id, RUN)
    assert run_state(session, published.dag_id, RUN) == "queued"
    assert run.logical_date is None
    assert run.run_type == "manual"
    assert run.bundle_version == version_of_file(published.file_name)
    assert run_conf(session, published.dag_id, "other") is None
    assert run_state(session, published.dag_id, "other") is None


def test_creating_a_run_again_changes_nothing(session: Session, published: DagFile) -> None:
    address = {"dag_id": published.dag_id, "run_id": RUN}
    assert create_run(session, **address, conf={"a": 1}, priority=5)
    assert not create_run(session, **address, conf={"a": 2}, priority=6)
    session.commit()
    assert not create_run(session, **address, conf={"a": 3}, priority=7)
    assert run_conf(session, published.dag_id, RUN) == {"a": 1}
    assert {task.priority_weight for task in tasks(session, published.dag_id).values()} == {weight_of(5)}


def test_of_two_transactions_that_create_the_same_run_one_does(session: Session, published: DagFile) -> None:
    from airflow.models.dagrun import DagRun

    outcomes: list[bool | BaseException] = []
    start = threading.Barrier(4)

    def create() -> None:
        try:
            start.wait()
            with transaction() as own:
                outcomes.append(create_run(own, dag_id=published.dag_id, run_id=RUN, conf={}, priority=1))
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == [False, False, False, True]
    assert session.scalar(select(func.count()).select_from(DagRun)) == 1


def test_a_run_that_is_rolled_back_never_was(session: Session, published: DagFile) -> None:
    create_run(session, dag_id=published.dag_id, run_id=RUN, conf={}, priority=5)
    session.rollback()
    assert run_state(session, published.dag_id, RUN) is None
    assert tasks(session, published.dag_id) == {}


def test_a_run_of_an_unpublished_dag_is_an_error(session: Session, dags_dir: Path) -> None:
    with pytest.raises(EngineError, match=r"scale_job\.unknown is not published"):
        create_run(session, dag_id="scale_job.unknown", run_id=RUN, conf={}, priority=5)


@pytest.mark.parametrize(
    ("priority", "weight"),
    [
        (0, 1_000_000),
        (100, 999_900),
        (-5, 1_000_005),
        (2**31 - 1, 1_000_000 - 2**31 + 1),
        (-(2**31), 2**31 - 1),
        (10**12, -(2**31) + 1),
    ],
)
def test_low_priorities_weigh_more_and_fit_airflows_integers(
    session: Session, published: DagFile, priority: int, weight: int
) -> None:
    assert weight_of(priority) == weight
    create_run(session, dag_id=published.dag_id, run_id=RUN, conf={}, priority=priority)
    assert {task.priority_weight for task in tasks(session, published.dag_id).values()} == {weight}


def test_the_priority_of_waiting_tasks_can_change(session: Session, run: str) -> None:
    set_priority(session, dag_id=run, run_id=RUN, priority=1, task_ids=["first"])
    found = tasks(session, run)
    assert found["first"].priority_weight == weight_of(1)
    assert found[SECOND].priority_weight == weight_of(5)


def test_an_edit_while_a_recipe_runs_leaves_it_on_its_revision(
    session: Session, run: str, recipe: dict[str, Any], schedule: Look
) -> None:
    schedule(run, RUN)
    recipe["jobs"] = recipe["jobs"][:1]
    edited = recipe_dag_file("terrain maps", "1.0.0", 2, "Terrain", recipe)
    publish(edited)
    assert edited.dag_id != run
    create_run(session, dag_id=edited.dag_id, run_id="scale-recipe-2", conf={}, priority=5)
    session.commit()
    schedule(edited.dag_id, "scale-recipe-2")
    assert states(session, edited.dag_id, "scale-recipe-2") == {"first": "scheduled"}
    started(session, run, "first", "success")
    schedule(run, RUN)
    assert states(session, run) == {"first": "success", SECOND: "scheduled"}


def test_a_clear_runs_the_old_revision_even_when_it_was_hidden(
    session: Session, run: str, recipe: dict[str, Any], schedule: Look, dags_dir: Path
) -> None:
    from airflow.models.dag import DagModel

    schedule(run, RUN)
    started(session, run, "first", "success")
    started(session, run, SECOND, "failed")
    schedule(run, RUN)
    assert run_state(session, run, RUN) == "failed"
    recipe["jobs"] = recipe["jobs"][:1]
    publish(recipe_dag_file("terrain maps", "1.0.0", 2, "Terrain", recipe))
    assert hide([run], session) == [run]
    session.commit()

    assert clear_tasks(session, dag_id=run, run_id=RUN, task_ids=[SECOND], priority=2) == 1
    session.commit()
    assert run_state(session, run, RUN) == "queued"
    assert not session.get_one(DagModel, run).is_stale
    assert not (dags_dir / run / ".airflowignore").exists()
    schedule(run, RUN)
    assert states(session, run) == {"first": "success", SECOND: "scheduled"}


def test_a_clear_keeps_pool_and_priority_and_is_a_new_try(session: Session, run: str, schedule: Look) -> None:
    from airflow.models.taskinstancehistory import TaskInstanceHistory

    schedule(run, RUN)
    before = started(session, run, "first", "failed")
    old_id, tries = before.id, before.try_number
    schedule(run, RUN)
    assert states(session, run) == {"first": "failed", SECOND: "upstream_failed"}
    clear_tasks(session, dag_id=run, run_id=RUN, task_ids=["first", SECOND], priority=2)
    session.commit()
    after = tasks(session, run)
    assert {task.priority_weight for task in after.values()} == {weight_of(2)}
    assert after["first"].pool == names.pool_name("maker", "1.0")
    assert after[SECOND].pool == names.pool_name("finder", "1.0")
    assert after["first"].id != old_id
    history = session.get_one(TaskInstanceHistory, old_id)
    assert (history.state, history.try_number) == ("failed", tries)
    schedule(run, RUN)
    assert states(session, run) == {"first": "scheduled", SECOND: None}
    assert tasks(session, run)["first"].try_number == tries + 1


def test_a_clear_leaves_what_still_waits_but_for_its_priority(
    session: Session, run: str, schedule: Look
) -> None:
    from airflow.models.taskinstancehistory import TaskInstanceHistory

    schedule(run, RUN)
    started(session, run, "first", "failed")
    waiting = tasks(session, run)[SECOND].id
    assert clear_tasks(session, dag_id=run, run_id=RUN, task_ids=["first", SECOND], priority=2) == 1
    session.commit()
    assert tasks(session, run)[SECOND].id == waiting
    assert tasks(session, run)[SECOND].priority_weight == weight_of(2)
    assert session.scalars(select(TaskInstanceHistory.task_id)).all() == ["first"]


def test_a_clear_of_what_airflow_believes_running_does_not_wait_for_its_worker(
    session: Session, run: str, schedule: Look
) -> None:
    schedule(run, RUN)
    lost = started(session, run, "first").id
    clear_tasks(session, dag_id=run, run_id=RUN, task_ids=["first"], priority=2)
    session.commit()
    schedule(run, RUN)
    again = tasks(session, run)["first"]
    assert again.state == "scheduled"
    assert again.id != lost


def test_a_clear_of_a_run_that_is_gone_is_an_error(session: Session, published: DagFile) -> None:
    with pytest.raises(EngineError, match="has no run scale-recipe-1"):
        clear_tasks(session, dag_id=published.dag_id, run_id=RUN, task_ids=["first"], priority=2)


@pytest.mark.parametrize(
    "state", [None, "scheduled", "queued", "running", "deferred", "up_for_retry", "restarting"]
)
def test_a_canceled_task_ends_as_failed_whatever_it_did(
    session: Session, run: str, schedule: Look, state: str | None
) -> None:
    schedule(run, RUN)
    task = tasks(session, run)["first"]
    task.state = state
    session.commit()
    assert cancel_tasks(session, dag_id=run, run_id=RUN, task_ids=["first"]) == 1
    session.commit()
    canceled = tasks(session, run)["first"]
    assert canceled.state == "failed"
    assert canceled.end_date is not None
    assert canceled.duration is not None
    schedule(run, RUN)
    assert states(session, run) == {"first": "failed", SECOND: "upstream_failed"}
    schedule(run, RUN)
    assert run_state(session, run, RUN) == "failed"


@pytest.mark.parametrize("state", ["success", "failed", "upstream_failed", "skipped"])
def test_what_is_over_is_not_canceled(session: Session, run: str, state: str) -> None:
    started(session, run, "first", state)
    assert cancel_tasks(session, dag_id=run, run_id=RUN, task_ids=["first"]) == 0
    assert states(session, run)["first"] == state


def test_a_task_canceled_before_its_turn_never_starts(session: Session, run: str, schedule: Look) -> None:
    assert cancel_tasks(session, dag_id=run, run_id=RUN, task_ids=[SECOND]) == 1
    session.commit()
    schedule(run, RUN)
    started(session, run, "first", "success")
    schedule(run, RUN)
    assert states(session, run) == {"first": "success", SECOND: "failed"}
    assert run_state(session, run, RUN) == "failed"


def test_canceling_in_a_run_that_is_gone_does_nothing(session: Session, published: DagFile) -> None:
    address = {"dag_id": published.dag_id, "run_id": RUN}
    assert cancel_tasks(session, **address, task_ids=["first"]) == 0
    assert mark_success(session, **address, task_ids=["first"]) == 0
    assert not fail_run(session, **address)


def test_what_scale_knows_completed_succeeds_and_the_run_goes_on(
    session: Session, run: str, schedule: Look
) -> None:
    schedule(run, RUN)
    started(session, run, "first", "failed")
    schedule(run, RUN)
    schedule(run, RUN)
    assert run_state(session, run, RUN) == "failed"
    assert mark_success(session, dag_id=run, run_id=RUN, task_ids=["first"]) == 1
    clear_tasks(session, dag_id=run, run_id=RUN, task_ids=[SECOND], priority=5)
    session.commit()
    schedule(run, RUN)
    assert states(session, run) == {"first": "success", SECOND: "scheduled"}
    assert mark_success(session, dag_id=run, run_id=RUN, task_ids=["first"]) == 0


def test_the_last_job_completed_behind_airflows_back_ends_the_run_well(
    session: Session, run: str, schedule: Look
) -> None:
    schedule(run, RUN)
    started(session, run, "first", "success")
    started(session, run, SECOND, "failed")
    schedule(run, RUN)
    assert run_state(session, run, RUN) == "failed"
    mark_success(session, dag_id=run, run_id=RUN, task_ids=[SECOND])
    session.commit()
    schedule(run, RUN)
    assert run_state(session, run, RUN) == "success"


def test_a_run_can_be_ended(session: Session, run: str, schedule: Look) -> None:
    schedule(run, RUN)
    started(session, run, "first", "success")
    assert fail_run(session, dag_id=run, run_id=RUN)
    session.commit()
    assert states(session, run) == {"first": "success", SECOND: "failed"}
    assert run_state(session, run, RUN) == "failed"
    assert not finish_run(session, dag_id=run, run_id=RUN)


def test_a_run_can_be_finished(session: Session, run: str) -> None:
    assert finish_run(session, dag_id=run, run_id=RUN)
    session.commit()
    assert states(session, run) == {"first": "skipped", SECOND: "skipped"}
    assert run_state(session, run, RUN) == "success"


@pytest.mark.parametrize("name", ["漢字 with spaces. and dots..", "x" * 255, '"""', "a\nb", "../etc"])
def test_every_name_runs(session: Session, dags_dir: Path, name: str, schedule: Look) -> None:
    recipe = {
        "version": "1.0",
        "input_data": [{"name": "workspace_id", "type": "property"}],
        "jobs": [
            {"name": "x " * 127 + "x", "job_type": {"name": name, "version": name}},
            {"name": "y", "job_type": {"name": name, "version": name}},
        ],
    }
    interface = {"version": "1.0", "command": name, "command_arguments": name}
    for dag_file in (
        recipe_dag_file(name, name, 1, name, recipe),
        job_dag_file(name, name, 1, name, interface),
    ):
        publish(dag_file)
        assert create_run(session, dag_id=dag_file.dag_id, run_id=RUN, conf={}, priority=5)
        session.commit()
        schedule(dag_file.dag_id, RUN)
        assert set(states(session, dag_file.dag_id).values()) == {"scheduled"}
        assert {task.pool for task in tasks(session, dag_file.dag_id).values()} == {
            names.pool_name(name, name)
        }
