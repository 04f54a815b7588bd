# SPDX-License-Identifier: Apache-2.0
"""A node on which too many jobs fail through the system is paused by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from world import World

from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import Job, Node


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__SCALE__MAX_NODE_ERRORS", "2")
    made = World(session)
    made.install(tmp_path)
    return made


def failed_job(world: World, name: str, error: str) -> Job:
    data = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(
        world.session,
        job_type=world.job_type(name, max_tries=1),
        data=data,
        event=user_event(world.session, "me"),
    )
    world.session.commit()
    world.dispatch()
    order = world.claim(job).order
    assert order is not None
    assert world.fail(order, error=error).decision == "failed"
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
