# SPDX-License-Identifier: Apache-2.0
"""Whole executions with the process backend, against a server that answers as scripted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unit.execution.fake_runtime import FakeRuntime, RecordingLog, make_order, make_settings

from scale_airflow.execution.backends.process import ProcessBackend
from scale_airflow.execution.order import ExecutionOrder, ReportAnswer
from scale_airflow.execution.runner import Execution
from scale_airflow.hooks.client import RuntimeClient


class Bench:
    """Runs orders against the fake server."""

    def __init__(self, root: Path, runtime: FakeRuntime):
        self.root, self.runtime, self.log = root, runtime, RecordingLog()
        self.client = RuntimeClient(runtime.url, "secret")
        self.executions: list[Execution] = []

    def script(self, text: str) -> str:
        """A Python program as the job's command."""
        path = self.root / "job.py"
        path.write_text(text)
        return f"{sys.executable} {path}"

    def order(self, program: str, arguments: str = "", **changes: Any) -> ExecutionOrder:
        return make_order(self.root, self.script(program), arguments, **changes)

    def run(self, order: ExecutionOrder, **settings: Any) -> ReportAnswer:
        configured = make_settings(self.root, **settings)
        api = self.client.execution(order.execution_id, order.token)
        execution = Execution(order, api, ProcessBackend(configured), configured, self.log)
        self.executions.append(execution)
        return execution.run()

    def failure(self) -> dict[str, Any]:
        (report,) = self.runtime.bodies("/fail/")
        return dict(report)

    def completion(self) -> dict[str, Any]:
        (report,) = self.runtime.bodies("/complete/")
        return dict(report)


def await_true(condition: Callable[[], Any], timeout: float = 120.0) -> Any:
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return value


def running_below(work: Path) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                cwd = os.readlink(f"{entry.path}/cwd")
            except OSError:
                continue
            if cwd.startswith(str(work)):
                found.append(int(entry.name))
    return found
