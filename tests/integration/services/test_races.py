# SPDX-License-Identifier: Apache-2.0
"""Several at once on one database, in real threads: nothing is lost, doubled, or waits in a circle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from concurrency import Aside, at_once
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session
from world import World

from scale_airflow.compiler.dag_files import DagFile
from scale_airflow.engine import publishing
from scale_airflow.services import dispatch, jobs
from scale_airflow.services.events import user_event
from scale_airflow.services.locks import lock_job
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.store.models import DagFileRow, Job, QueueEntry, RecipeType, utcnow
from scale_airflow.store.session import transaction


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


def data(world: World) -> dict[str, Any]:
    return {
        "version": "1.0",
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }


def queue(world: World, job_type: Any, **options: Any) -> Job:
    job = queue_job(
        world.session, job_type=job_type, data=data(world), event=user_event(world.session, "me"), **options
    )
    world.session.commit()
    return job


def count(world: World, model: Any) -> int:
    world.session.expire_all()
    return world.session.execute(select(func.count()).select_from(model)).scalar_one()


def dispatch_aside(world: World) -> int:
    with transaction() as session:
        return dispatch.dispatch(session, world.settings)


def test_a_dispatch_does_not_wait_for_a_job_that_is_being_canceled(world: World) -> None:
    job_type = world.job_type("one")
    canceled, other = queue(world, job_type), queue(world, job_type)
    held = lock_job(world.session, canceled.id)
    with Aside(world.session, lambda: dispatch_aside(world)) as aside:
        assert not aside.until_stuck(), "the two would wait for each other"
        jobs.cancel_locked(world.session, held)
        world.session.commit()
    assert aside.result() == 1
    assert world.reload(other).dispatched is not None
    assert (world.reload(canceled).status, world.reload(canceled).dispatched) == ("CANCELED", None)
    assert (count(world, QueueEntry), count(world, DagRun)) == (0, 1)


def test_what_airflow_refuses_holds_up_nothing_else_and_comes_later(world: World) -> None:
    refused = [queue(world, world.job_type("unpublished"), priority=1)]
    refused += [queue(world, refused[0].job_type, priority=1) for _ in range(dispatch.BATCH + 5)]
    other = queue(world, world.job_type("one"), priority=100)
    dag_id = refused[0].dag_id
    kept = world.session.execute(
        text("DELETE FROM serialized_dag WHERE dag_id = :dag_id RETURNING id"), {"dag_id": dag_id}
    ).all()
    assert kept
    world.session.commit()
    assert world.dispatch() == 1
    assert world.reload(other).dispatched is not None
    assert all("is not published" in str(world.reload(job).why) for job in refused)
    with world.session.no_autoflush:
        waiting = select(func.count()).select_from(QueueEntry).where(QueueEntry.not_before > utcnow())
        assert world.session.execute(waiting).scalar_one() == len(refused), "none is tried again at once"

    publish_again(world, refused[0])
    world.session.execute(update(QueueEntry).values(not_before=utcnow()))
    world.session.commit()
    assert world.dispatch() + world.dispatch() == len(refused)
    assert world.reload(refused[0]).why is None


def publish_again(world: World, job: Job) -> None:
    source = world.session.scalars(select(DagFileRow).where(DagFileRow.dag_id == job.dag_id)).one()
    world.session.execute(text("DELETE FROM dag_version WHERE dag_id = :id"), {"id": job.dag_id})
    world.session.commit()
    publishing.publish(DagFile(source.dag_id, source.file_name, source.source, source.sha256))


def test_one_entry_that_nobody_can_start_does_not_stop_the_tick(world: World) -> None:
    broken, other = queue(world, world.job_type("broken")), queue(world, world.job_type("other"))
    world.session.execute(
        text("UPDATE serialized_dag SET data = '{}', data_compressed = NULL WHERE dag_id = :id"),
        {"id": broken.dag_id},
    )
    world.session.commit()
    assert world.dispatch() == 1
    assert world.reload(other).dispatched is not None
    assert "could not be brought into Airflow" in str(world.reload(broken).why)
    assert cancel(broken.id).status == "CANCELED"
    assert count(world, QueueEntry) == 0


def cancel(job_id: int) -> Job:
    with transaction() as session:
        return jobs.cancel_job(session, job_id)


def test_a_type_at_its_limit_holds_up_no_other_type(world: World) -> None:
    limited = world.job_type("limited", max_scheduled=1)
    first = [queue(world, limited, priority=1) for _ in range(3)]
    other = queue(world, world.job_type("other"))
    assert world.dispatch() == 2
    assert [world.reload(job).dispatched is not None for job in (*first, other)] == [True, False, False, True]


def test_recipes_that_wait_for_a_full_type_leave_the_window_to_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SCALE__DISPATCH_WINDOW", "3")
    world.job_type("quick")
    world.job_type("scarce", max_scheduled=1)
    recipes = [queue_two_steps(world, "quick", "scarce") for _ in range(3)]
    for first, _ in recipes:
        world.dispatch()
        world.run(first)
    assert [world.reload(second).status for _, second in recipes] == ["QUEUED"] * 3
    other = queue(world, world.job_type("other"))
    assert world.claim(recipes[0][1]).answer == "go"
    assert world.dispatch() == 1, "the two that wait for a place of their type do not count"
    assert world.reload(other).dispatched is not None


def queue_two_steps(world: World, first: str, second: str) -> tuple[Job, Job]:
    name = f"{first} then {second}"
    recipe_type = world.session.scalars(select(RecipeType).where(RecipeType.name == name)).one_or_none()
    if recipe_type is None:
        link = {"output": "output", "input": "input"}
        recipe_type = world.recipe_type(
            name,
            [
                {
                    "name": "first",
                    "job_type": {"name": first, "version": "1.0"},
                    "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}],
                },
                {
                    "name": "second",
                    "job_type": {"name": second, "version": "1.0"},
                    "dependencies": [{"name": "first", "connections": [link]}],
                },
            ],
        )
    recipe = queue_recipe(
        world.session,
        recipe_type=recipe_type,
        data={
            "input_data": [{"name": "scene", "file_id": world.source().id}],
            "workspace_id": world.workspace().id,
        },
        event=user_event(world.session, "me"),
    )
    world.session.commit()
    made = {job.recipe_job_name: job for job in recipe.jobs}
    return made["first"], made["second"]


def test_two_dispatchers_take_each_entry_once(world: World) -> None:
    job_type = world.job_type("one")
    for _ in range(12):
        queue(world, job_type)
    taken = at_once([lambda: dispatch_aside(world)] * 4)
    assert sum(taken) == 12
    assert (count(world, QueueEntry), count(world, DagRun)) == (0, 12)


def test_dispatch_and_cancel_at_once(world: World) -> None:
    job_type = world.job_type("one")
    world.job_type("quick")
    lone = [queue(world, job_type) for _ in range(6)]
    in_recipes = [queue_two_steps(world, "quick", "one")[0] for _ in range(4)]
    canceled = [*lone[::2], *in_recipes[::2]]
    cancels = [(lambda number: lambda: cancel(number))(job.id) for job in canceled]
    results = at_once([*cancels, lambda: dispatch_aside(world), lambda: dispatch_aside(world)])
    assert not [result for result in results if isinstance(result, Exception)]
    world.dispatch()
    assert count(world, QueueEntry) == 0
    for job in (*lone, *in_recipes):
        found = world.reload(job)
        assert found.status == ("CANCELED" if job in canceled else "QUEUED")
        if job in canceled:
            assert found.run_id is None or world.task(found).state == "failed"
        else:
            assert world.task(found).state is None


def test_a_recipe_of_which_nothing_is_left_to_run_makes_no_run(world: World) -> None:
    world.job_type("quick")
    world.job_type("one")
    first, second = queue_two_steps(world, "quick", "one")
    cancel(first.id)
    assert world.dispatch() == 0
    assert (count(world, QueueEntry), count(world, DagRun)) == (0, 0)
    assert (world.reload(first).status, world.reload(second).status) == ("CANCELED", "BLOCKED")
