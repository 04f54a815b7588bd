# SPDX-License-Identifier: Apache-2.0
"""Jobs that wait for room or for a place of their type get it in the order of priority."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session
from world import World

from scale_airflow.execution.order import ReserveAnswer
from scale_airflow.services import claims
from scale_airflow.services.events import user_event
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import Job, JobExecution, Node, utcnow


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # However slow the machine is, the node does not fall silent while a test goes on.
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "60")
    made = World(session)
    made.install(tmp_path)
    made.beat(cpus=2.0)
    return made


def queue(world: World, job_type: Any, **options: Any) -> Job:
    data = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(
        world.session, job_type=job_type, data=data, event=user_event(world.session, "me"), **options
    )
    world.session.commit()
    return job


def asks(world: World, job: Job) -> ReserveAnswer:
    """What the trigger of a deferred task does."""
    answer = claims.reserve(world.session, world.request(job), world.settings)
    world.session.commit()
    return answer


def pass_time(world: World, **columns: timedelta) -> None:
    world.session.execute(
        update(JobExecution).values(
            {name: getattr(JobExecution, name) - elapsed for name, elapsed in columns.items()}
        )
    )
    world.session.commit()


def test_what_becomes_free_goes_to_the_most_urgent_whoever_asks_first(world: World) -> None:
    job_type = world.job_type("one", cpus_required=2.0)
    first, ordinary = queue(world, job_type), queue(world, job_type)
    urgent = queue(world, job_type, priority=1)
    world.dispatch()
    order = world.claim(first).order
    assert order is not None
    assert world.claim(ordinary).answer == "wait"
    assert world.claim(urgent).answer == "wait"
    world.complete(order)
    refused = asks(world, ordinary)
    assert (refused.ready, refused.reason) == (
        False,
        f"Node worker-1 keeps room for job {urgent.id}, which comes first.",
    )
    assert world.reload(ordinary).why == refused.reason
    assert asks(world, urgent).ready
    assert world.claim(ordinary).answer == "wait"
    assert world.claim(urgent).answer == "go"


def test_who_asks_no_more_is_not_waited_for(world: World) -> None:
    job_type = world.job_type("one", cpus_required=2.0)
    first, ordinary = queue(world, job_type), queue(world, job_type)
    urgent = queue(world, job_type, priority=1)
    world.dispatch()
    order = world.claim(first).order
    assert order is not None
    for job in (ordinary, urgent):
        assert world.claim(job).answer == "wait"
    world.complete(order)
    assert not asks(world, ordinary).ready
    pass_time(world, asked=timedelta(seconds=16))
    assert asks(world, ordinary).ready


def test_a_canceled_job_keeps_no_room(world: World) -> None:
    job_type = world.job_type("one", cpus_required=2.0)
    first, ordinary = queue(world, job_type), queue(world, job_type)
    urgent = queue(world, job_type, priority=1)
    world.dispatch()
    order = world.claim(first).order
    assert order is not None
    for job in (ordinary, urgent):
        assert world.claim(job).answer == "wait"
    world.complete(order)
    cancel_job(world.session, urgent.id)
    world.session.commit()
    assert asks(world, ordinary).ready
    assert asks(world, urgent).ready, "its claim tells it that it is over"
    answer = world.claim(urgent)
    assert (answer.answer, answer.outcome) == ("over", "canceled")


def test_reserved_room_that_nobody_comes_for_is_free_again(world: World) -> None:
    job_type = world.job_type("one", cpus_required=2.0)
    gone, other = queue(world, job_type), queue(world, job_type)
    world.dispatch()
    assert asks(world, gone).ready
    assert world.claim(other).answer == "wait"
    pass_time(world, reserved=timedelta(seconds=61))
    assert world.claim(other).answer == "go"


def test_a_reservation_is_kept_against_more_urgent_ones(world: World) -> None:
    job_type = world.job_type("one", cpus_required=2.0)
    ordinary, urgent = queue(world, job_type), queue(world, job_type, priority=1)
    world.dispatch()
    assert asks(world, ordinary).ready
    assert not asks(world, urgent).ready
    assert world.claim(ordinary).answer == "go"


def test_a_reservation_on_a_node_that_was_paused_holds_nothing(world: World) -> None:
    job_type = world.job_type("one", cpus_required=2.0)
    job, other = queue(world, job_type), queue(world, job_type)
    world.dispatch()
    assert asks(world, job).ready
    world.session.execute(update(Node).values(is_paused=True))
    world.session.commit()
    assert world.claim(job).answer == "wait"
    world.session.execute(update(Node).values(is_paused=False))
    world.session.commit()
    assert asks(world, other).ready


def test_the_next_place_of_a_type_is_the_most_urgent_ones(world: World) -> None:
    world.beat(cpus=8.0)
    job_type = world.job_type("one", cpus_required=1.0, max_scheduled=3)
    first, ordinary = queue(world, job_type), queue(world, job_type)
    urgent = queue(world, job_type, priority=1)
    assert world.dispatch() == 3
    job_type.max_scheduled = 1
    world.session.commit()
    order = world.claim(first).order
    assert order is not None
    assert "max_scheduled" in str(world.claim(ordinary).reason)
    assert world.claim(urgent).answer == "wait"
    world.complete(order)
    assert f"kept for job {urgent.id}" in str(asks(world, ordinary).reason)
    assert asks(world, urgent).ready
    assert "max_scheduled" in str(asks(world, ordinary).reason)


def test_asking_again_changes_rows_seldom(world: World) -> None:
    job_type = world.job_type("one", cpus_required=2.0)
    first, waiting = queue(world, job_type), queue(world, job_type)
    world.dispatch()
    assert world.claim(first).answer == "go"
    assert world.claim(waiting).answer == "wait"
    before = world.execution(waiting).last_modified
    assert not asks(world, waiting).ready
    assert world.execution(waiting).last_modified == before
    pass_time(world, asked=timedelta(seconds=6))
    assert not asks(world, waiting).ready
    asked = world.execution(waiting).asked
    assert asked is not None
    assert utcnow() - asked < timedelta(seconds=5)
