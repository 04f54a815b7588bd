# SPDX-License-Identifier: Apache-2.0
"""One engine for all tests with containers, and what they run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_bench import Bench
from docker_engine import Engine, docker_engine
from unit.execution.fake_runtime import FakeRuntime, fake_runtime


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with docker_engine() as started:
        started.busybox()
        started.busybox("scale-entry:1", 'ENTRYPOINT ["/bin/sh", "-c", "echo entry: $0 $@"]')
        yield started


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    with fake_runtime() as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path, runtime: FakeRuntime, engine: Engine) -> Iterator[Bench]:
    made = Bench(tmp_path, runtime, engine)
    yield made
    assert made.containers() == [], made.executions[-1]._log.text
    left = (tmp_path / "work" / "job_exe_7").exists()
    assert not left, made.executions[-1]._log.text
