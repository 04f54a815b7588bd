# SPDX-License-Identifier: Apache-2.0
"""Whole executions at Rescale's emulator, against a server that answers as scripted."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from unit.execution.fake_runtime import FakeRuntime, RecordingLog, make_order, make_settings

from scale_airflow import crash_points
from scale_airflow.execution.backends.rescale import RescaleBackend
from scale_airflow.execution.backends.rescale_job import Pacing
from scale_airflow.execution.log_sender import STREAMS
from scale_airflow.execution.order import ExecutionOrder, KeptOutput, RemoteMark, ReportAnswer
from scale_airflow.execution.runner import Execution
from scale_airflow.hooks.client import RuntimeClient
from scale_airflow.hooks.rescale_connection import RescaleSettings
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.submission import Patience

HARDWARE = {"coreType": "emerald_max"}
PACING = Pacing(polling=0.1, outage=60.0, late_files=5.0)
PATIENCE = Patience(grace=0.5, settling=0.1, stopping=30.0, away=20.0)
POLICY = RequestPolicy(connect_timeout=5.0, read_timeout=10.0, first_pause=0.05, pause_cap=0.2)


def rescale_settings(emulator: EmulatorProcess, **changes: Any) -> RescaleSettings:
    """What a connection to the emulator says."""
    credentials = Credentials.of(emulator.base_url, emulator.api_key)
    return replace(RescaleSettings(credentials, POLICY), **changes)


class Bench:
    """Runs orders at the emulator against the fake server."""

    def __init__(self, root: Path, runtime: FakeRuntime, emulator: EmulatorProcess):
        self.root, self.runtime, self.emulator = root, runtime, emulator
        self.marker = secrets.token_hex(8)
        self.log = RecordingLog()
        self.client = RuntimeClient(runtime.url, "secret")
        self.executions: list[Execution] = []

    def order(self, program: str, arguments: str = "", **changes: Any) -> ExecutionOrder:
        """An order that runs a Python program."""
        path = self.root / "job.py"
        path.write_text(program)
        remote = {"type": "rescale", "hardware": HARDWARE, **changes.pop("remote_block", {})}
        values = {
            "backend": "rescale",
            "configuration": {"remote": remote, **changes.pop("configuration", {})},
            "remote": RemoteMark(
                self.marker, datetime.now(timezone.utc).isoformat(), *2 * [KeptOutput(0, 0)]
            ),
            **changes,
        }
        return make_order(self.root, f"{sys.executable} {path}", arguments, **values)

    def execution(self, order: ExecutionOrder, **options: Any) -> Execution:
        settings = options.pop("connection", None) or rescale_settings(self.emulator)
        configured = make_settings(self.root, backend="docker", **options)
        backend = RescaleBackend(configured, lambda name: settings, pacing=PACING, patience=PATIENCE)
        api = self.client.execution(order.execution_id, order.token)
        made = Execution(order, api, backend, configured, self.log)
        self.executions.append(made)
        return made

    def run(self, order: ExecutionOrder, **options: Any) -> ReportAnswer:
        return self.execution(order, **options).run()

    def out(self, stream: str = "stdout") -> str:
        return self.runtime.output(stream).decode()

    def again(self, order: ExecutionOrder) -> ExecutionOrder:
        """The order as the next try gets it."""
        assert order.remote is not None
        kept = []
        for stream in STREAMS:
            sent = {body["sequence"] for body in self.runtime.bodies("/log/") if body["stream"] == stream}
            kept.append(KeptOutput(len(sent), len(self.runtime.output(stream))))
        return replace(order, continues=True, remote=replace(order.remote, stdout=kept[0], stderr=kept[1]))

    def failure(self) -> dict[str, Any]:
        (report,) = self.runtime.bodies("/fail/")
        return dict(report)

    def completion(self) -> dict[str, Any]:
        assert not self.runtime.bodies("/fail/"), self.failure()["message"]
        (report,) = self.runtime.bodies("/complete/")
        return dict(report)

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs at the emulator that carry the marker."""
        return [job for job in self.emulator.admin.jobs() if self.marker in str(job)]

    def paid_runs(self) -> int:
        """How often the emulator has run one of them."""
        counted = self.emulator.admin.counters()["paid_runs"]
        return sum(counted.get(job["id"], 0) for job in self.jobs())


def await_true(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


def worker(bench: Bench, order: ExecutionOrder, folder: Path) -> subprocess.Popen[bytes]:
    """Start a worker process that runs the order; crash points are armed below ``folder``."""
    given = {
        "order": order.to_dict(),
        "root": str(bench.root),
        "runtime": bench.runtime.url,
        "rescale": bench.emulator.base_url,
        "key": bench.emulator.api_key,
    }
    environment = {**os.environ, crash_points.VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, env=environment, start_new_session=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(given).encode())
    process.stdin.close()
    return process


def work() -> None:
    """Be that worker."""
    given = json.load(sys.stdin)
    order = ExecutionOrder.from_dict(given["order"])
    settings = RescaleSettings(Credentials.of(given["rescale"], given["key"]), POLICY)
    configured = make_settings(Path(given["root"]), backend="docker")
    backend = RescaleBackend(configured, lambda name: settings, pacing=PACING, patience=PATIENCE)
    client = RuntimeClient(given["runtime"], "secret")
    api = client.execution(order.execution_id, order.token)
    Execution(order, api, backend, configured, RecordingLog()).run()


if __name__ == "__main__":
    work()
