# SPDX-License-Identifier: Apache-2.0
"""What whole executions with the process backend run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from process_bench import Bench
from unit.execution.fake_runtime import FakeRuntime, fake_runtime

from scale_airflow.execution.processes import process_executions


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    with fake_runtime() as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path, runtime: FakeRuntime) -> Iterator[Bench]:
    made = Bench(tmp_path, runtime)
    yield made
    made.client.close()
    assert not (tmp_path / "work" / "job_exe_7").exists()
    assert process_executions(tmp_path / "work") == {}
