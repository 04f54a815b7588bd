# SPDX-License-Identifier: Apache-2.0
"""Disks that are really full: small file systems in memory, mounted for the test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_bench import Bench
from unit.execution.fake_runtime import FakeRuntime

from scale_airflow.execution.order import OrderOutput

pytestmark = pytest.mark.mounts

OUTPUT = (OrderOutput("list", "files", True, None, 1),)
FILL = """
import os, sys
try:
    with open(sys.argv[1] + "/big", "wb", buffering=0) as file:
        while True:
            file.write(b"x" * (1 << 20))
except OSError as error:
    print("full:", error.strerror, flush=True)
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a small file system below the test's folder."""
    mounted: list[Path] = []

    def mount(name: str, options: str) -> Path:
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "scale-test", place], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def order_is_back(bench: Bench, runtime: FakeRuntime) -> Iterator[None]:
    """Once there is room again, jobs run as if nothing had been."""
    yield
    runtime.requests.clear()
    assert bench.run(bench.order("")).decision == "done"


@pytest.mark.usefixtures("order_is_back")
def test_a_job_that_fills_its_disk_ends_and_leaves_room(
    bench: Bench, small: Callable[..., Path], runtime: FakeRuntime
) -> None:
    work = small("work", "size=8m")
    bench.run(bench.order(FILL + "sys.exit(5)", "${job_output_dir}"))
    assert bench.failure()["exit_code"] == 5
    assert runtime.output("stdout") == b"full: No space left on device\n"
    assert [each.name for each in work.iterdir()] == []


def test_a_job_that_sits_on_a_disk_it_has_filled_is_stopped(bench: Bench, small: Callable[..., Path]) -> None:
    small("work", "size=8m")
    bench.run(bench.order(FILL + "import time; time.sleep(600)", "${job_output_dir}"))
    report = bench.failure()
    assert report["error_name"] == "filesystem-io"
    assert "MiB left" in report["message"]


@pytest.mark.usefixtures("order_is_back")
@pytest.mark.parametrize("options", ["size=1m", "size=1m,nr_inodes=4"])
def test_a_scratch_folder_without_room_is_said_at_once(
    bench: Bench, small: Callable[..., Path], options: str
) -> None:
    work = small("work", options)
    ballast = work / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
    bench.run(bench.order("print('ran')", disk_mib=1.0))
    report = bench.failure()
    assert report["error_name"] == "filesystem-io"
    assert str(work) in report["message"]
    assert report["times"]["job_started"] is None
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,nr_inodes=100", work], check=True)


def test_a_workspace_without_room_keeps_nothing_half_done(bench: Bench, small: Callable[..., Path]) -> None:
    workspace = small("data", "size=3m")
    program = (
        "import sys\nfor name in 'abc':\n    open(sys.argv[1] + '/' + name, 'w').write(name * (1500 << 10))\n"
        "    print('ARTIFACT:list:' + name)"
    )
    bench.run(bench.order(program, "${job_output_dir}", outputs=OUTPUT, disk_mib=10.0))
    report = bench.failure()
    assert report["error_name"] == "nfs"
    assert "The output file 'c' can't be stored" in report["message"] or "'b'" in report["message"]
    assert "No space left on device" in report["message"]
    # Nothing half done; what was complete is removed by a node agent, once nobody can report it any more.
    left = {path.name: path.stat().st_size for path in workspace.rglob("*") if path.is_file()}
    assert set(left.values()) == {1500 << 10}
    assert left.keys() < {"a", "b", "c"}
