# SPDX-License-Identifier: Apache-2.0
"""Whole executions in containers, against a server that answers as scripted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docker_engine import Engine
from unit.execution.fake_runtime import FakeRuntime, RecordingLog, make_order, make_settings, stored_file

from scale_airflow.execution.backends.docker import DockerBackend, connect
from scale_airflow.execution.order import ExecutionOrder, OrderInput, ReportAnswer
from scale_airflow.execution.runner import Execution
from scale_airflow.hooks.client import RuntimeClient


class Bench:
    """Runs orders in containers against the fake server."""

    def __init__(self, root: Path, runtime: FakeRuntime, engine: Engine):
        self.root, self.runtime, self.engine = root, runtime, engine
        self.agent_id = f"agent-{root.name}"
        self.executions: list[Execution] = []

    def order(self, script: str, **changes: Any) -> ExecutionOrder:
        """An order that runs a shell script in the image; its arguments follow."""
        path = self.root / "data" / "job.sh"
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        inputs = (
            OrderInput("script", "file", None, (stored_file(self.root, "job.sh", script.encode(), 99),)),
            *changes.pop("inputs", ()),
        )
        arguments = "${script} " + changes.pop("arguments", "")
        values = {"backend": "docker", "image": "scale-busybox:1", **changes}
        return make_order(self.root, "/bin/sh", arguments, inputs=inputs, **values)

    def execution(self, order: ExecutionOrder, **settings: Any) -> Execution:
        configured = make_settings(self.root, **{"backend": "docker", **settings})
        backend = DockerBackend(configured, lambda: connect(self.engine.url), agent_id=self.agent_id)
        api = RuntimeClient(self.runtime.url, "secret").execution(order.execution_id, order.token)
        made = Execution(order, api, backend, configured, RecordingLog())
        self.executions.append(made)
        return made

    def run(self, order: ExecutionOrder, **settings: Any) -> ReportAnswer:
        return self.execution(order, **settings).run()

    def out(self) -> str:
        return self.runtime.output("stdout").decode()

    def failure(self) -> dict[str, Any]:
        (report,) = self.runtime.bodies("/fail/")
        return dict(report)

    def completion(self) -> dict[str, Any]:
        assert not self.runtime.bodies("/fail/"), self.failure()["message"]
        (report,) = self.runtime.bodies("/complete/")
        return dict(report)

    def containers(self) -> list[dict[str, Any]]:
        client = self.engine.client()
        try:
            return list(client.containers(all=True, filters={"label": f"scale.agent={self.agent_id}"}))
        finally:
            client.close()


def await_true(condition: Callable[[], Any], timeout: float = 120.0) -> Any:
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


def running_with(text: str) -> list[int]:
    """Processes of this machine, those in containers too, with a text in their command line."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found
