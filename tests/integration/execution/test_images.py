# SPDX-License-Identifier: Apache-2.0
"""Images come from a registry when the policy says so, with the login of an Airflow connection."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from docker_bench import Bench
from docker_engine import Engine
from registry_stub import Registry, registry
from unit.execution.fake_runtime import FakeRuntime, make_order

from scale_airflow.execution.order import ClaimAnswer, ExecutionOrder
from scale_airflow.operators.scale_job import ScaleJobOperator

pytestmark = pytest.mark.docker


@pytest.fixture
def forget(engine: Engine) -> Iterator[list[str]]:
    """Images to be removed from the engine afterwards."""
    names: list[str] = []
    yield names
    client = engine.client()
    for name in names:
        if client.images(name):
            client.remove_image(name, force=True)
    client.close()


@pytest.fixture
def open_registry(forget: list[str]) -> Iterator[Registry]:
    with registry("none") as made:
        forget.append(made.image)
        yield made


def test_the_three_policies(bench: Bench, runtime: FakeRuntime, open_registry: Registry) -> None:
    order = bench.order("echo $MARK", image=open_registry.image)
    bench.run(order, docker_pull="never")
    assert f"{order.image} is not on this host" in bench.failure()["message"]
    assert "docker_pull = never" in bench.failure()["message"]
    assert open_registry.requests == []
    told = []
    for policy, change in (("missing", None), ("missing", "second"), ("never", None), ("always", None)):
        if change:
            open_registry.change(change)
        runtime.requests.clear()
        open_registry.requests.clear()
        bench.run(order, docker_pull=policy)
        told.append((bench.out().strip(), bool(open_registry.requests)))
        assert bench.completion()["environment"]["image"].startswith(
            f"{open_registry.host}/team/tool@sha256:"
        )
    # What is there is taken as it is, except by "always".
    assert told == [("first", True), ("first", False), ("first", False), ("second", True)]


def test_an_image_that_the_registry_does_not_have(bench: Bench, open_registry: Registry) -> None:
    bench.run(bench.order("", image=f"{open_registry.host}/team/none:1"), docker_pull="missing")
    report = bench.failure()
    assert report["error_name"] == "unknown"
    assert f"The image {open_registry.host}/team/none:1 can't be used: " in report["message"]


class Task:
    """The task of a job whose image the registry has."""

    def __init__(self, root: Path, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, engine: Engine):
        self.runtime, self.monkeypatch, self.root = runtime, monkeypatch, root
        scale = {"conn_type": "scale", "host": runtime.url, "password": "the-secret"}
        monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(scale))
        monkeypatch.setenv("AIRFLOW__SCALE__WORK_DIR", str(root / "work"))
        monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(root))
        monkeypatch.setenv("AIRFLOW__SCALE__DOCKER_URL", engine.url)
        monkeypatch.setenv("AIRFLOW__SCALE__DOCKER_NETWORK_MODE", "none")
        # What lies in the user's own configuration is not to help.
        monkeypatch.setenv("DOCKER_CONFIG", str(root / "no-docker-config"))

    def connection(self, connection_id: str, host: str, password: str) -> None:
        document = {"conn_type": "docker", "host": host, "login": Registry.user, "password": password}
        self.monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", json.dumps(document))

    def run(self, image: str) -> None:
        order: ExecutionOrder = make_order(self.root, "echo", "ran", image=image, backend="docker")
        answers = [ClaimAnswer("go", order, None, None)]
        self.runtime.script["/runtime/claim/"] = lambda body: (200, answers.pop(0).to_dict())
        instance = SimpleNamespace(
            dag_id="d", run_id="r", task_id="t", map_index=None, try_number=1, id=uuid.UUID(int=5)
        )
        context: Any = {"ti": instance}
        ScaleJobOperator(task_id="t").execute(context)


@pytest.fixture
def task(tmp_path: Path, runtime: FakeRuntime, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Task:
    return Task(tmp_path, runtime, monkeypatch, engine)


def own_connection(host: str) -> str:
    return "docker_" + host.replace(".", "_").replace(":", "_")


# docker-py leaves the socket of a login that is refused open.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("scheme", ["basic", "token"])
def test_a_login_from_a_connection(
    task: Task,
    runtime: FakeRuntime,
    forget: list[str],
    scheme: Any,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with registry(scheme) as server:
        forget.append(server.image)
        with pytest.raises(AirflowFailException):
            task.run(server.image)
        assert "can't be used" in runtime.bodies("/fail/")[0]["message"]
        assert {given for _, _, given in server.requests} == {None}

        # A login for another registry stays where it belongs.
        task.connection("docker_default", "registry.example.org", server.password)
        with pytest.raises(AirflowFailException):
            task.run(server.image)
        assert server.basic not in {given for _, _, given in server.requests}

        task.connection(own_connection(server.host), server.host, "another pass$word")
        with pytest.raises(AirflowFailException):
            task.run(server.image)
        refusal = runtime.bodies("/fail/")[-1]["message"]
        assert "can't be used" in refusal
        assert runtime.bodies("/complete/") == []

        task.connection(own_connection(server.host), server.host, server.password)
        task.run(server.image)
        assert runtime.output("stdout") == b"ran\n"
        given = {given for _, _, given in server.asked("/token" if scheme == "token" else "/manifests/")}
        assert server.basic in given
    shown = caplog.text + "".join(capsys.readouterr()) + json.dumps(runtime.requests, default=str)
    assert f"without a login (the connection {own_connection(server.host)} could hold one)" in shown
    assert f"with the login of the connection {own_connection(server.host)}" in shown
    assert "pass$word" not in shown
    assert server.basic.removeprefix("Basic ") not in shown
