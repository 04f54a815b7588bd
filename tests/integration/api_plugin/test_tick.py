# SPDX-License-Identifier: Apache-2.0
"""The tick on a real database: elected, woken by transactions, and back after the database was away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow import settings as airflow_settings
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from world import World

from scale_airflow.api_plugin.tick import Tick
from scale_airflow.services import daily_metrics, system_clock
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import DagFileRow, Job, Load, TriggerEvent, utcnow


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


def test_the_load_of_the_hour_is_recorded_and_daily_metrics_get_their_dag(world: World) -> None:
    rule = system_clock.own_rule(world.session, system_clock.JOB_LOAD)
    assert rule is not None
    last = TriggerEvent(
        type="JOB_LOAD", rule_id=rule.id, occurred=utcnow() - timedelta(hours=2), description={}
    )
    world.session.add(last)
    world.session.commit()

    def found(query: Any) -> list[Any]:
        world.session.rollback()
        return list(world.session.scalars(query))

    for _ in range(2):  # the second one finds that the hour has its load already
        tick = Tick()
        tick.start()
        until(lambda: len(office_holders(world)) == 1)
        until(lambda: bool(found(select(Load.measured))))
        until(lambda: any(daily_metrics.NAME in each for each in found(select(DagFileRow.dag_id))))
        tick.stop()
    loads = found(select(Load.measured))
    events = found(select(TriggerEvent.id).where(TriggerEvent.type == "JOB_LOAD"))
    # Unless a new hour has begun meanwhile, there is one.
    assert len(loads) == len(events) - 1 <= 2
