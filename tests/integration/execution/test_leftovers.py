# SPDX-License-Identifier: Apache-2.0
"""The node agent finds and removes the containers of its host, and no others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_bench import await_true
from docker_engine import Engine
from unit.execution.fake_runtime import fake_runtime, make_settings

from scale_airflow.execution.agent import NodeAgent
from scale_airflow.execution.leftovers import Leftovers
from scale_airflow.hooks.client import RuntimeClient

pytestmark = pytest.mark.docker


@pytest.fixture
def client(engine: Engine) -> Iterator[Any]:
    made = engine.client()
    yield made
    for container in made.containers(all=True, filters={"label": "scale.execution"}):
        made.remove_container(container["Id"], force=True)
    made.close()


def start(client: Any, labels: dict[str, str], *, command: str = "600") -> str:
    made = client.create_container(
        "scale-busybox:1",
        ["sleep", command],
        labels=labels,
        host_config=client.create_host_config(network_mode="none"),
    )
    client.start(made)
    return str(made["Id"])


def test_only_this_agent_s_containers(engine: Engine, client: Any, tmp_path: Path) -> None:
    mine = start(client, {"scale.execution": "5", "scale.agent": "me"})
    ended = start(client, {"scale.execution": "6", "scale.agent": "me"}, command="0")
    client.wait(ended)
    others = [
        start(client, {"scale.execution": "5", "scale.agent": "other"}),
        start(client, {"scale.execution": "7"}),
        start(client, {"x": "y"}),
    ]
    leftovers = Leftovers(make_settings(tmp_path, backend="docker", docker_url=engine.url), "me")
    assert leftovers.running() == (5, 6)
    leftovers.kill(5)
    leftovers.kill(5)
    leftovers.kill(99)
    assert leftovers.running() == (6,)
    leftovers.kill(6)
    assert leftovers.running() == ()
    assert all(client.inspect_container(each)["State"]["Running"] for each in others)
    left = {container["Id"] for container in client.containers(all=True)}
    assert mine not in left
    for each in others:
        client.remove_container(each, force=True)
    leftovers.close()


def test_what_is_canceled_goes_though_its_worker_is_dead_and_it_ignores_sigterm(
    engine: Engine, client: Any, tmp_path: Path
) -> None:
    """Nobody but the agent is there to kill it: its next beat says that it is not to run."""
    stubborn = client.create_container(
        "scale-busybox:1",
        ["/bin/sh", "-c", "trap '' TERM; while true; do sleep 1; done"],
        labels={"scale.execution": "5", "scale.agent": "me"},
        host_config=client.create_host_config(network_mode="none"),
    )
    client.start(stubborn)
    settings = make_settings(tmp_path, backend="docker", docker_url=engine.url)
    canceled: list[int] = []

    def answer(_body: Any) -> tuple[int, Any]:
        return 200, {"node_id": 1, "stop": canceled, "forget": [], "interval": 0.05}

    with fake_runtime() as runtime:
        runtime.script["/runtime/nodes/beat/"] = answer
        agent = NodeAgent(settings, lambda: RuntimeClient(runtime.url, "secret"), "me", "worker-1")
        stop = threading.Event()
        thread = threading.Thread(target=agent.run, args=(stop,))
        thread.start()
        try:
            runtime.wait_for(lambda: runtime.bodies("/nodes/beat/"))
            assert client.inspect_container(stubborn)["State"]["Running"]
            canceled.append(5)
            await_true(lambda: not client.containers(all=True, filters={"id": stubborn["Id"]}), 120)
            runtime.wait_for(lambda: runtime.bodies("/nodes/beat/")[-1]["executions"] == [], 120)
        finally:
            stop.set()
            thread.join()


def test_an_engine_that_is_away_hides_nothing(engine: Engine, client: Any, tmp_path: Path) -> None:
    start(client, {"scale.execution": "5", "scale.agent": "me"})
    settings = make_settings(tmp_path, backend="docker", docker_url=engine.url)
    leftovers = Leftovers(settings, "me")
    assert leftovers.running() == (5,)
    leftovers.close()
    leftovers._settings = make_settings(tmp_path, backend="docker", docker_url=f"unix://{tmp_path}/none")
    assert leftovers.running() == (5,)
    leftovers.kill(5)
    assert leftovers.running() == (5,)


def test_no_engine_is_wanted_for_process_jobs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = make_settings(tmp_path, backend="process", docker_url=f"unix://{tmp_path}/none")
    assert Leftovers(settings, "me").running() == ()
    assert caplog.records == []
