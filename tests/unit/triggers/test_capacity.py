# SPDX-License-Identifier: Apache-2.0
"""The capacity trigger fires when there is room, or nothing more to wait for, and outlives outages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from unit.execution.fake_runtime import FakeRuntime, fake_runtime

from scale_airflow.execution.order import ClaimRequest
from scale_airflow.triggers import capacity
from scale_airflow.triggers.capacity import CapacityTrigger

REQUEST = ClaimRequest("d", "r", "t", -1, 1, "id", "host", None, None).to_dict()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRuntime]:
    for name in ("SETTLING_PAUSE", "FIRST_PAUSE", "LONGEST_PAUSE", "_AWAY_PAUSE"):
        monkeypatch.setattr(capacity, name, 0.01)
    with fake_runtime() as server:
        connection = {"conn_type": "scale", "host": server.url, "password": "first"}
        monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(connection))
        yield server


def fire() -> dict[str, Any]:
    async def run() -> list[Any]:
        return [event.payload async for event in CapacityTrigger(REQUEST).run()]

    (payload,) = asyncio.run(asyncio.wait_for(run(), 20))
    return dict(payload)


def script(runtime: FakeRuntime, *answers: Any) -> None:
    left = list(answers)
    runtime.script["/runtime/reserve/"] = lambda body: left.pop(0)


def test_another_triggerer_can_go_on() -> None:
    path, arguments = CapacityTrigger(REQUEST, "other").serialize()
    assert path == f"{CapacityTrigger.__module__}.{CapacityTrigger.__qualname__}"
    assert json.loads(json.dumps(arguments)) == {"request": REQUEST, "connection_id": "other"}
    assert CapacityTrigger(**arguments).serialize() == (path, arguments)


def test_fires_once_there_is_room(runtime: FakeRuntime) -> None:
    full = (200, {"ready": False, "reason": "full"})
    script(runtime, full, full, (200, {"ready": True, "reason": None}))
    assert fire() == {"ready": True, "reason": None}
    assert runtime.bodies("/reserve/") == [REQUEST] * 3


@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
def test_fires_when_there_is_nothing_to_wait_for(runtime: FakeRuntime, status: int) -> None:
    script(runtime, (status, {"detail": "The try is over."}))
    payload = fire()
    assert payload["ready"] is False
    assert "The try is over." in payload["reason"]


def test_outlives_a_server_that_is_away(runtime: FakeRuntime) -> None:
    script(runtime, (503, {}), (500, "<html>"), (200, {"x": 1}), (200, {"ready": True, "reason": None}))
    assert fire()["ready"] is True


def test_reads_the_connection_again_when_the_secret_was_rotated(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(body: Any) -> Any:
        connection = {"conn_type": "scale", "host": runtime.url, "password": "second"}
        monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(connection))
        runtime.script["/runtime/reserve/"] = (200, {"ready": True, "reason": None})
        return 401, {}

    runtime.script["/runtime/reserve/"] = refuse
    assert fire()["ready"] is True
    assert [authorization for *_, authorization in runtime.requests] == ["Bearer first", "Bearer second"]
