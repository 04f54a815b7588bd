# SPDX-License-Identifier: Apache-2.0
"""The benchmarks start, and their pure parts read and reckon rightly; what they measure is not a test."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"


def load(name: str) -> ModuleType:
    # By its path: the folder must not be on sys.path, it has a queue.py.
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / "measuring" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_each_says_what_it_takes_and_leaves_the_standard_library_alone() -> None:
    names = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__main__")
    assert {"api", "compile", "queue", "run_all", "run_overhead", "transfers"} <= set(names)
    started = {
        name: subprocess.Popen(
            [sys.executable, str(FOLDER / f"{name}.py"), "--help"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    }
    for name, process in started.items():
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, f"{name}: {errors}"
        assert output.startswith("usage: ")


def test_the_scheduler_s_log_tells_of_its_loops() -> None:
    lines = [
        "2026-01-01T00:00:00Z [debug] Ran scheduling loop in 12.34 ms [airflow.jobs] loc=x.py:1867",
        "2026-01-01T00:00:00Z [debug] Next timed event is in 1.2",
        "Ran scheduling loop in 5 ms",
    ]
    assert load("observation").loop_times(lines) == [12.34, 5.0]


def test_memory_that_is_shared_counts_once() -> None:
    text = "55-7f ---p 00000000 00:00 0 [rollup]\nRss:  4096 kB\nPss:  2048 kB\nPss_Anon:  1024 kB\n"
    observation = load("observation")
    assert observation.proportional_set_size(text) == 2.0
    assert observation.proportional_set_size("") == 0.0


def test_a_percentile_is_one_of_the_values() -> None:
    report = load("report")
    assert report.percentile([5, 1, 4, 2, 3], 50) == 3
    assert report.percentile(list(range(1, 21)), 95) == 19
    assert report.percentile([7], 95) == 7


_SCHEDULER = """
import os, sys, time
if os.fork() == 0:  # a worker of the executor
    if os.fork() == 0:  # a task
        while time.process_time() < 0.3:
            pass
        os._exit(0)
    os.wait()
    print("done", flush=True)
sys.stdin.read()
"""


def test_processor_time_is_told_by_what_took_it_also_of_what_has_ended() -> None:
    observation = load("observation")
    with subprocess.Popen(
        [sys.executable, "-S", "-c", _SCHEDULER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as scheduler:
        assert scheduler.stdout is not None
        assert scheduler.stdin is not None
        assert scheduler.stdout.readline() == "done\n"
        taken = observation.processor_seconds({"scheduler": scheduler.pid, "other": os.getpid()})
        scheduler.stdin.close()
    assert list(taken) == ["scheduler", "executor", "tasks", "other"]
    assert taken["tasks"] >= 0.25
    assert taken["executor"] < taken["tasks"]
    assert taken["other"] > 0
