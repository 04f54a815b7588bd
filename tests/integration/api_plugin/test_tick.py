# SPDX-License-Identifier: Apache-2.0
"""The tick on a real database: elected, woken by transactions, and back after the database was away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from airflow import settings as airflow_settings
from sqlalchemy import text
from sqlalchemy.orm import Session
from world import World

from scale_airflow.api_plugin.tick import Tick
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import Job


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # So long that only a notification explains a quick dispatch.
    monkeypatch.setenv("AIRFLOW__SCALE__TICK_INTERVAL", "600")
    made = World(session)
    made.install(tmp_path)
    return made


@pytest.fixture
def ticks(world: World) -> Iterator[list[Tick]]:
    started = [Tick(), Tick()]
    for tick in started:
        tick.start()
    until(lambda: len(office_holders(world)) == 1)
    yield started
    for tick in started:
        tick.stop()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def office_holders(world: World) -> list[int]:
    """The database processes that listen as the tick."""
    assert airflow_settings.engine is not None
    with airflow_settings.engine.connect() as connection:
        query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 0x73 AND granted"
        return [row.pid for row in connection.execute(text(query))]


def queue(world: World, name: str) -> Job:
    data = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(
        world.session, job_type=world.job_type(name), data=data, event=user_event(world.session, "me")
    )
    world.session.commit()
    return job


def test_what_is_queued_is_dispatched_at_once_by_one_of_them(world: World, ticks: list[Tick]) -> None:
    job = queue(world, "one")
    until(lambda: world.reload(job).dispatched is not None)
    assert len(office_holders(world)) == 1


def test_another_one_takes_over_when_the_connection_is_lost(world: World, ticks: list[Tick]) -> None:
    (holder,) = office_holders(world)
    world.session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": holder})
    world.session.commit()
    until(lambda: office_holders(world) not in ([], [holder]))
    job = queue(world, "one")
    until(lambda: world.reload(job).dispatched is not None)
