# SPDX-License-Identifier: Apache-2.0
"""A job that takes more disk than it was given is warned, one that endangers its host is stopped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution import disk
from scale_airflow.execution.disk import DiskWatch
from scale_airflow.execution.staging import Scratch

MIB = 1 << 20


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    made = Scratch(tmp_path / "work", 7)
    made.create()
    return made


def fill(scratch: Scratch, mib: int) -> None:
    (scratch.output_data / "x").write_bytes(b"x" * (mib * MIB))


def free(monkeypatch: pytest.MonkeyPatch, mib: float) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=int(mib * MIB)))


def watch(scratch: Scratch, given: float, factor: float = 10.0, **options: Any) -> DiskWatch:
    return DiskWatch(scratch, given, factor=factor, **options)


def test_a_job_within_its_bounds_is_left_alone(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 3)
    fill(scratch, 2)
    found = watch(scratch, 4.0)
    found.look()
    assert found.warning is None


@pytest.mark.parametrize(("given", "factor"), [(1.0, 0.0), (0.0, 10.0), (1.0, 10.0)])
def test_where_nothing_limits_it_a_job_is_only_warned(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, given: float, factor: float
) -> None:
    free(monkeypatch, 1e6)
    fill(scratch, 3)
    found = watch(scratch, given, factor)
    found.look()
    found.look()
    assert found.warning == f"The job uses 3 MiB of disk; it was given {given:.0f} MiB."


def test_the_limit_is_a_multiple_and_at_least_a_gigabyte(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1e6)
    found = watch(scratch, 8.0, beside=lambda: 1020.0)
    found._next_beside = 0.0
    found.look()
    found = watch(scratch, 200.0, beside=lambda: 2001.0)
    found._next_beside = 0.0
    with pytest.raises(
        ExecutionFailure, match=r"takes 2001 MiB .* given 200 MiB, and at most 2000"
    ) as caught:
        found.look()
    assert caught.value.error_name == "filesystem-io"
    assert "disk_out_const_required" in str(caught.value)


@pytest.mark.parametrize("factor", [0.0, 10.0])
def test_when_the_host_runs_low_those_who_took_too_much_go(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    free(monkeypatch, 500)
    fill(scratch, 3)
    with pytest.raises(ExecutionFailure, match=r"takes 3 MiB .* the 2 MiB .* has only 500 MiB left"):
        watch(scratch, 2.0, factor).look()
    watch(scratch, 4.0, factor).look()
    watch(scratch, 0.0, factor).look()


def test_a_full_host_stops_every_job(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 0.5)
    with pytest.raises(ExecutionFailure, match="has 0 MiB left"):
        watch(scratch, 4.0, 0.0).look()


def test_the_thread_tells_what_it_saw(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_INTERVAL", 0.01)
    monkeypatch.setattr(disk, "_LEAST_MIB", 1.0)
    found = watch(scratch, 1.0, 1.0)
    found.check()
    found.start()
    fill(scratch, 2)
    found._thread.join(60)
    with pytest.raises(ExecutionFailure, match="at most 1 MiB"):
        found.check()


def test_a_watch_that_was_stopped_ends(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_INTERVAL", 0.01)
    found = watch(scratch, 1.0)
    found.start()
    found.stop()
    found._thread.join(60)
    assert not found._thread.is_alive()
    found.check()


def test_how_large_a_file_with_holes_may_be(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 1e6)
    assert watch(scratch, 200.0).size_limit().size == 2000 * MIB
    assert watch(scratch, 200.0, 0.0).size_limit().size == 1_000_000 * MIB
    free(monkeypatch, 100)
    assert watch(scratch, 200.0).size_limit().size == 100 * MIB
