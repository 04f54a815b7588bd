# SPDX-License-Identifier: Apache-2.0
"""Strike processes over HTTP: creation, runtime endpoints, and their tasks as workers run them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import TriggerEvent
from strike_world import SUFFIX, StrikeWorld
from world import World

from scale_airflow.engine.connections import stored_connection
from scale_airflow.errors import ScaleApiError, WorkspaceError
from scale_airflow.operators.scale_ingest import ScaleIngestOperator
from scale_airflow.sensors.strike import StrikeSensor
from scale_airflow.services.strikes import switch_strike
from scale_airflow.store.session import transaction

CREATE = "/scale/api/strike/create/"
RUNTIME = "/scale/api/runtime/strikes"


def body(**changes: Any) -> dict[str, Any]:
    """The specification's own example."""
    return {
        "name": "my-strike-process",
        "title": "My Strike Process",
        "description": "This is my Strike process for detecting my favorite files!",
        "configuration": {
            "version": "1.0",
            "mount": "host:/my/path",
            "transfer_suffix": "_tmp",
            "files_to_ingest": [
                {"filename_regex": ".*txt", "workspace_path": "/my/path", "workspace_name": "raw"}
            ],
        },
        **changes,
    }


@pytest.fixture
def secret(world: World) -> dict[str, str]:
    connection = stored_connection(world.session, "scale_default")
    world.session.commit()
    assert connection is not None
    return {"Authorization": f"Bearer {connection.secret}"}


def test_create(client: httpx.Client, world: World, admin: dict[str, str]) -> None:
    answer = client.post(CREATE, json=body(), headers=admin)
    assert (answer.status_code, list(answer.json())) == (200, ["strike_id"]), answer.text
    again = client.post(CREATE, json=body(), headers=admin)
    assert again.status_code == 400
    assert [error["path"] for error in again.json()["errors"]] == ["/name"]


def test_create_says_what_is_wrong(client: httpx.Client, world: World, admin: dict[str, str]) -> None:
    wrong = body(configuration={"mount": "nowhere", "files_to_ingest": [], "extra": 1})
    answer = client.post(CREATE, json=wrong, headers=admin)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Configuration failed to validate."
    assert len(answer.json()["errors"]) >= 4
    both = body(configuration={**body()["configuration"], "mount": "nowhere"}, extra=1)
    told = client.post(CREATE, json=both, headers=admin).json()["errors"]
    assert [each["path"] for each in told] == ["/configuration/mount", "/extra"]
    assert client.post(CREATE, json=body(), headers=admin).status_code == 200
    elsewhere = {"filename_regex": ".*", "workspace_path": "a", "workspace_name": "none"}
    again = body(configuration={**body()["configuration"], "files_to_ingest": [elsewhere]})
    told = client.post(CREATE, json=again, headers=admin).json()["errors"]
    assert [each["path"] for each in told] == ["/name", "/configuration/files_to_ingest/0/workspace_name"]
    for other in ({}, [], {"name": 1}, body(name="", more=1), body(configuration=[])):
        answer = client.post(CREATE, json=other, headers=admin)
        assert answer.status_code == 400, answer.text
        assert answer.json()["errors"]


def test_create_needs_the_permission(client: httpx.Client, world: World, viewer: dict[str, str]) -> None:
    assert client.post(CREATE, json=body()).status_code == 401
    assert client.post(CREATE, json=body(), headers=viewer).status_code == 403


def test_the_runtime_endpoints_take_only_what_they_should(
    client: httpx.Client, world: World, admin: dict[str, str], secret: dict[str, str]
) -> None:
    for path in ("watch", "sweep", "moved", "settle", "progress", "batch", "cleared"):
        address = f"{RUNTIME}/1/{path}/"
        assert client.post(address, json={}).status_code == 401
        assert client.post(address, json={}, headers=admin).status_code == 403
        answer = client.post(address, json={}, headers=secret)
        assert (answer.status_code, bool(answer.json()["errors"])) == (400, True), answer.text
    for path in ("plan", "stored", "finish"):
        assert client.post(f"{RUNTIME}/1/batch/1/{path}/", json={}).status_code == 401
        answer = client.post(f"{RUNTIME}/1/batch/1/{path}/", json={}, headers=secret)
        assert answer.status_code == 403, answer.text


def test_wrong_messages_are_never_a_fault_of_the_server(
    client: httpx.Client, inbox: StrikeWorld, secret: dict[str, str]
) -> None:
    task = inbox.task("watch").to_dict()
    file = {"name": "a", "size": 1, "mtime_ns": 1, "inode": 1, "problem": None}
    for change in (
        {"name": "../a"},
        {"name": ""},
        {"name": "x" * 300},
        {"size": -1},
        {"size": 2**70},
        {"name": "nul\0"},
    ):
        sent = {"task": task, "files": [{**file, **change}]}
        answer = client.post(f"{RUNTIME}/{inbox.strike_id}/sweep/", json=sent, headers=secret)
        assert answer.status_code == 400, (change, answer.text)
    for change in ({"mtime_ns": -(2**80)}, {"mtime_ns": 2**80}, {"inode": 2**80}):
        sent = {"task": task, "files": [{**file, "name": f"f{next(iter(change.values()))}", **change}]}
        answer = client.post(f"{RUNTIME}/{inbox.strike_id}/sweep/", json=sent, headers=secret)
        assert answer.status_code == 200, (change, answer.text)
    for number in (0, 999, 2**63, "x"):
        answer = client.post(
            f"{RUNTIME}/{number}/watch/", json={"task": task, "problem": None}, headers=secret
        )
        assert answer.status_code == 404, answer.text
    settle = {"task": task, "vanished": [-1, 2**80], "kept": []}
    answer = client.post(f"{RUNTIME}/{inbox.strike_id}/settle/", json=settle, headers=secret)
    assert answer.status_code == 200, answer.text
    wrong = {**task, "task_instance_id": "no uuid"}
    answer = client.post(
        f"{RUNTIME}/{inbox.strike_id}/watch/", json={"task": wrong, "problem": None}, headers=secret
    )
    assert answer.status_code == 403
    progress = {"version": "v", "transferring": [{"name": "a", "size": 2**80}, {"name": "b", "size": -5}]}
    answer = client.post(f"{RUNTIME}/{inbox.strike_id}/progress/", json=progress, headers=secret)
    assert answer.json() == {"is_changed": True}


@pytest.fixture
def inbox(world: World, tmp_path: Path) -> StrikeWorld:
    return StrikeWorld.make(world, tmp_path)


@pytest.fixture
def served(
    api_server: Any, inbox: StrikeWorld, secret: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The API server on a port, and the connection to it as workers have it."""
    config = uvicorn.Config(
        api_server, host="127.0.0.1", port=0, log_level="error", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    connection = {
        "conn_type": "scale",
        "host": address,
        "password": secret["Authorization"].removeprefix("Bearer "),
    }
    monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(connection))
    yield address
    server.should_exit = True
    thread.join(30)


def context(inbox: StrikeWorld, task_id: str) -> Any:
    """What Airflow gives a task: here, which try it is."""
    task = inbox.task(task_id).to_dict()
    return {"ti": SimpleNamespace(**{**task, "id": task["task_instance_id"], "map_index": -1})}


def deferred(sensor: StrikeSensor, given: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(given)
    return caught.value


async def fired(trigger: Any) -> TriggerEvent:
    async for event in trigger.run():
        return event  # type: ignore[no-any-return]
    raise AssertionError("The trigger ended without an event")


def test_sensor_trigger_and_operator_bring_a_file_in(served: str, inbox: StrikeWorld) -> None:
    sensor = StrikeSensor(task_id="watch", strike_id=inbox.strike_id)
    given = context(inbox, "watch")
    waiting = deferred(sensor, given)
    assert waiting.method_name == "resume"
    inbox.drop("a.h5", "content", suffix=SUFFIX)
    event = asyncio.run(asyncio.wait_for(fired(waiting.trigger), 20))
    with pytest.raises(TaskDeferred) as caught:
        sensor.resume(given, event.payload)
    assert [row.status for row in inbox.ingests()] == ["TRANSFERRING"]
    inbox.end_transfer("a.h5")
    event = asyncio.run(asyncio.wait_for(fired(caught.value.trigger), 20))
    assert sensor.resume(given, event.payload) == 1
    operator = ScaleIngestOperator(task_id="ingest", strike_id=inbox.strike_id)
    counts = operator.execute(context(inbox, "ingest"))
    assert counts == {"ingested": 1, "duplicates": 0, "errored": 0, "postponed": 0}
    inbox.check()


def test_a_workspace_that_is_away_fails_the_task_and_the_next_one_goes_on(
    served: str, inbox: StrikeWorld
) -> None:
    inbox.drop("a.h5", "content")
    sensor = StrikeSensor(task_id="watch", strike_id=inbox.strike_id)
    operator = ScaleIngestOperator(task_id="ingest", strike_id=inbox.strike_id)
    assert sensor.execute(context(inbox, "watch")) == 1
    inbox.workspace.rename(inbox.workspace.with_name("away"))
    with pytest.raises(WorkspaceError, match="workspace raw can't be used"):
        operator.execute(context(inbox, "ingest"))
    inbox.workspace.with_name("away").rename(inbox.workspace)
    assert deferred(sensor, context(inbox, "watch")).trigger.retry_after <= 30
    inbox.let_time_pass()
    assert sensor.execute(context(inbox, "watch")) == 1
    assert operator.execute(context(inbox, "ingest"))["ingested"] == 1
    inbox.check()


def test_a_task_that_was_replaced_is_sent_away(served: str, inbox: StrikeWorld) -> None:
    old = context(inbox, "watch")
    context(inbox, "watch")
    sensor = StrikeSensor(task_id="watch", strike_id=inbox.strike_id)
    with pytest.raises(ScaleApiError, match="does not run try"):
        sensor.execute(old)


def test_a_strike_process_that_is_gone_costs_nothing(served: str, inbox: StrikeWorld) -> None:
    sensor = StrikeSensor(task_id="watch", strike_id=12345)
    waiting = deferred(sensor, context(inbox, "watch"))
    assert (waiting.trigger.directory, waiting.trigger.retry_after) == (None, 60.0)


def test_no_secret_is_in_what_the_trigger_keeps(
    served: str, inbox: StrikeWorld, secret: dict[str, str]
) -> None:
    waiting = deferred(StrikeSensor(task_id="watch", strike_id=inbox.strike_id), context(inbox, "watch"))
    assert secret["Authorization"].removeprefix("Bearer ") not in json.dumps(waiting.trigger.serialize())


def test_a_triggerer_that_sees_something_else_does_not_wake_the_worker_all_the_time(
    served: str, inbox: StrikeWorld
) -> None:
    sensor = StrikeSensor(task_id="watch", strike_id=inbox.strike_id)
    given = context(inbox, "watch")
    waiting = deferred(sensor, given)
    assert waiting.trigger.delay == 0
    event = {"reason": "the directory has changed", "digest": waiting.trigger.digest}
    with pytest.raises(TaskDeferred) as needless:
        sensor.resume(given, event)
    assert needless.value.trigger.delay == 30
    inbox.drop("notes.txt", "content", suffix=SUFFIX)
    with pytest.raises(TaskDeferred) as needed:
        sensor.resume(given, event)
    assert needed.value.trigger.delay == 0


def test_a_strike_process_that_is_switched_off_is_left_alone(served: str, inbox: StrikeWorld) -> None:
    with transaction() as session:
        switch_strike(session, inbox.strike_id, is_active=False)
    inbox.drop("a.h5", "content")
    sensor = StrikeSensor(task_id="watch", strike_id=inbox.strike_id)
    given = context(inbox, "watch")
    waiting = deferred(sensor, given)
    assert waiting.trigger.directory is None
    assert [path.name for path in inbox.files()] == ["a.h5"]
    waiting.trigger.interval = 0.05
    with transaction() as session:
        switch_strike(session, inbox.strike_id, is_active=True)
    event = asyncio.run(asyncio.wait_for(fired(waiting.trigger), 20))
    assert event.payload["reason"] == "the Strike process was changed"
    assert sensor.resume(given, event.payload) == 1
