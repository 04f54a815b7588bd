# SPDX-License-Identifier: Apache-2.0
"""A node on which too many jobs fail through the system is paused by itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from world import World

from scale_airflow.services.events import user_event
from scale_airflow.services.node_control import change_node
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import Job, JobExecution, Node, utcnow


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # However slow the machine is, the node does not fall silent while a test goes on.
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "60")
    monkeypatch.setenv("AIRFLOW__SCALE__MAX_NODE_ERRORS", "2")
    made = World(session)
    made.install(tmp_path)
    return made


def failed_job(world: World, name: str, error: str, decision: str = "failed", **fields: object) -> Job:
    data = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(
        world.session,
        job_type=world.job_type(name, **{"max_tries": 1, **fields}),
        data=data,
        event=user_event(world.session, "me"),
    )
    world.session.commit()
    world.dispatch()
    order = world.claim(job).order
    assert order is not None
    assert world.fail(order, error=error).decision == decision
    return job


def node(world: World) -> Node:
    world.session.expire_all()
    return world.session.scalars(select(Node)).one()


def test_system_errors_of_distinct_jobs_pause_the_node(world: World) -> None:
    failed_job(world, "one", "nfs")
    assert not node(world).is_paused
    failed_job(world, "two", "filesystem-io")
    found = node(world)
    assert (found.is_paused, found.is_paused_errors) == (True, True)
    assert found.pause_reason == "System Failure Rate Too High"


def test_errors_of_algorithms_do_not(world: World) -> None:
    from scale_airflow.services.errors import create_error

    create_error(
        world.session, {"name": "bad", "title": "Bad", "description": "Bad data.", "category": "ALGORITHM"}
    )
    world.session.commit()
    for name in ("one", "two", "three"):
        failed_job(world, name, "bad")
    assert not node(world).is_paused


def test_only_jobs_that_have_used_up_their_tries_ask_for_it(world: World) -> None:
    failed_job(world, "one", "nfs", decision="retry", max_tries=3)
    failed_job(world, "two", "nfs", decision="retry", max_tries=3)
    assert not node(world).is_paused
    failed_job(world, "three", "nfs")
    assert node(world).is_paused_errors, "then all that failed lately count"


def test_long_running_jobs_count_though_they_are_always_tried_again(world: World) -> None:
    for name in ("one", "two"):
        failed_job(world, name, "nfs", decision="retry", is_long_running=True)
    assert node(world).is_paused_errors


def test_failures_of_one_job_count_once(world: World) -> None:
    job = failed_job(world, "one", "nfs", decision="retry", max_tries=2)
    order = world.claim(job).order
    assert order is not None
    assert world.fail(order, error="nfs").decision == "failed"
    assert not node(world).is_paused


def test_old_failures_do_not_count(world: World) -> None:
    failed_job(world, "one", "nfs")
    long_ago = utcnow() - timedelta(seconds=61)
    world.session.execute(update(JobExecution).values(ended=long_ago))
    world.session.commit()
    failed_job(world, "two", "nfs")
    assert not node(world).is_paused


def test_a_node_that_somebody_has_paused_stays_as_it_is(world: World) -> None:
    failed_job(world, "one", "nfs")
    data = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    event = user_event(world.session, "me")
    two = world.job_type("two", max_tries=1)
    job = queue_job(world.session, job_type=two, data=data, event=event)
    world.session.commit()
    world.dispatch()
    order = world.claim(job).order
    assert order is not None
    change_node(world.session, node(world).id, {"is_paused": True, "pause_reason": "dust"})
    world.session.commit()
    assert world.fail(order, error="nfs").decision == "failed", "what runs goes on and ends as it ends"
    found = node(world)
    assert (found.is_paused_errors, found.pause_reason) == (False, "dust")


def test_an_administrator_lets_it_go_on(world: World) -> None:
    for name in ("one", "two"):
        failed_job(world, name, "nfs")
    assert node(world).is_paused_errors
    change_node(world.session, node(world).id, {"is_paused": False})
    world.session.commit()
    found = node(world)
    assert (found.is_paused, found.is_paused_errors, found.pause_reason) == (False, False, None)
