# SPDX-License-Identifier: Apache-2.0
"""A job that waits says for what, also before it has asked for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session
from world import World, interface

from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.services.waiting import why
from scale_airflow.services.work_details import job_details
from scale_airflow.store.models import Job, JobType, QueueEntry, Scheduler


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


def queue(world: World, job_type: JobType, **options: Any) -> Job:
    event = user_event(world.session, "me")
    job = queue_job(world.session, job_type=job_type, data={}, event=event, **options)
    world.session.commit()
    return job


def shown(world: World, job: Job) -> str | None:
    found = world.reload(job)
    assert job_details(world.session, job.id).why == why(world.session, found)
    return why(world.session, found)


def test_its_turn(world: World) -> None:
    job_type = world.job_type("one", interface({}, {}))
    first, second = queue(world, job_type), queue(world, job_type)
    assert shown(world, first) == "It is the next in the queue, which waits for a free place in Airflow."
    assert shown(world, second) == "It waits for its turn: 1 in the queue comes before it."
    queue(world, job_type, priority=1)
    assert shown(world, second) == "It waits for its turn: 2 in the queue come before it."
    world.dispatch()
    assert shown(world, first) == "Airflow has its task, which waits for a worker."
    world.run(first)
    assert shown(world, first) is None


def test_the_turn_of_a_recipe(world: World) -> None:
    job_type = world.job_type("one", interface({}, {}))
    jobs = [{"name": "only", "job_type": {"name": "one", "version": "1.0"}}]
    recipe_type = world.recipe_type("recipe", jobs)
    queue(world, job_type)
    data = {"input_data": [{"name": "scene", "file_id": world.source().id}]}
    event = user_event(world.session, "me")
    recipe = queue_recipe(world.session, recipe_type=recipe_type, data=data, event=event)
    world.session.commit()
    assert shown(world, recipe.jobs[0]) == "It waits for its turn: 1 in the queue comes before it."


def test_pauses_and_limits(world: World) -> None:
    job_type = world.job_type("one", interface({}, {}), max_scheduled=1)
    first, second = queue(world, job_type), queue(world, job_type)
    world.dispatch()
    assert world.claim(first).answer == "go"
    assert shown(world, first) is None
    assert shown(world, second) == "1 jobs of type one 1.0 run, which is its max_scheduled."
    world.session.execute(update(JobType).where(JobType.name == "one").values(is_paused=True))
    world.session.commit()
    assert shown(world, second) == "Job type one 1.0 is paused."
    world.session.execute(update(Scheduler).values(is_paused=True))
    world.session.commit()
    assert shown(world, second) == "The scheduler is paused."


def test_what_airflow_said_comes_first(world: World) -> None:
    job = queue(world, world.job_type("one", interface({}, {})))
    world.session.execute(update(Job).values(why="Airflow: no."))
    world.session.commit()
    assert shown(world, job) == "Airflow: no."
    world.session.execute(update(Job).values(why=None))
    world.session.query(QueueEntry).delete()
    world.session.commit()
    assert shown(world, job) == "It is on its way into Airflow."
