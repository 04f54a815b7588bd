# SPDX-License-Identifier: Apache-2.0
"""A task that LocalExecutor has lost (its process was killed before the task began) still starts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from airflow.models.taskinstance import TaskInstance
from airflow_hand import AirflowHand
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from world import World

from scale_airflow.engine import lost_tasks, runs, tasks
from scale_airflow.services.checks import check_repairs
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job
from scale_airflow.services.reconcile import reconcile
from scale_airflow.services.strikes import create_strike
from scale_airflow.store.models import Job, Repair, utcnow


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "600")
    monkeypatch.setenv("AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT", "60")
    monkeypatch.setenv("AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL", "10")
    made = World(session)
    made.install(tmp_path)
    return made


def queued_job(world: World) -> Job:
    document = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    event = user_event(world.session, "me")
    job = queue_job(world.session, job_type=world.job_type("one"), data=document, event=event)
    world.session.commit()
    assert world.dispatch() == 1
    return job


def give_to_executor(world: World, task: TaskInstance, *, seconds_ago: float) -> None:
    """The scheduler has handed the task's first try to its executor."""
    world.session.execute(
        update(TaskInstance)
        .where(TaskInstance.id == task.id)
        .values(
            state="queued",
            try_number=1,
            max_tries=1_000_000,
            queued_dttm=utcnow() - timedelta(seconds=seconds_ago),
        )
    )
    world.session.commit()


def look(world: World) -> int:
    repaired = reconcile(world.session)
    world.session.commit()
    return repaired


def test_a_job_whose_task_was_lost_runs_all_the_same(world: World) -> None:
    hand = AirflowHand(world.session)
    job = queued_job(world)
    give_to_executor(world, world.task(job), seconds_ago=90)
    lost = world.task(job).id
    assert look(world) == 1
    task = world.task(job)
    assert (str(task.state), task.try_number) == ("up_for_retry", 1)
    assert task.id != lost, "should its start come after all, Airflow does not know it any more"
    assert not tasks.was_cleared(world.session, task.id, since=lost), "it is no user's clear"
    assert look(world) == 0

    hand.scheduler_looks()
    assert (str(world.task(job).state), world.task(job).try_number) == ("scheduled", 2)
    world.run(job)
    assert (world.reload(job).status, job.num_exes) == ("COMPLETED", 1), "it had not begun: no try is spent"


def test_the_repair_is_on_record_with_its_job(world: World) -> None:
    job = queued_job(world)
    give_to_executor(world, world.task(job), seconds_ago=90)
    look(world)
    repair = world.session.scalars(select(Repair)).one()
    assert (repair.kind, repair.job_id, repair.job_exe_id) == (
        "task-tried-again",
        job.id,
        world.execution(job).id,
    )
    assert (repair.before, repair.after) == (
        "job QUEUED, task queued",
        "job QUEUED, task up_for_retry",
    )


def test_a_task_that_waits_as_long_as_airflow_lets_it_is_left_alone(world: World) -> None:
    job = queued_job(world)
    give_to_executor(world, world.task(job), seconds_ago=75)
    assert look(world) == 0
    assert str(world.task(job).state) == "queued"


def test_a_task_that_starts_while_it_is_looked_at_is_left_alone(world: World) -> None:
    job = queued_job(world)
    give_to_executor(world, world.task(job), seconds_ago=90)
    (found,) = lost_tasks.lost_tasks(world.session)
    world.set_task_state(job, "running")
    assert not lost_tasks.try_again(world.session, found)
    assert str(world.task(job).state) == "running"


def test_a_strike_process_goes_on_though_its_task_was_lost(world: World, tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    strike = create_strike(
        world.session,
        {
            "name": "north",
            "configuration": {
                "version": "1.0",
                "mount": f"host:{tmp_path / 'incoming'}",
                "transfer_suffix": "_tmp",
                "files_to_ingest": [
                    {"filename_regex": ".*", "workspace_path": "new", "workspace_name": "raw"}
                ],
            },
        },
    )
    world.session.commit()
    runs.create_run(world.session, dag_id=strike.dag_id, run_id="now", conf={}, priority=5)
    world.session.commit()
    watch = select(TaskInstance).where(TaskInstance.dag_id == strike.dag_id, TaskInstance.task_id == "watch")
    give_to_executor(world, world.session.scalars(watch).one(), seconds_ago=90)

    assert look(world) == 1
    world.session.expire_all()
    assert str(world.session.scalars(watch).one().state) == "up_for_retry"
    assert f"task watch of {strike.dag_id} queued" in check_repairs(world.session)[1].problem
    AirflowHand(world.session).scheduler_looks()
    assert str(world.session.scalars(watch).one().state) == "scheduled"
