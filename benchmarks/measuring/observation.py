# SPDX-License-Identifier: Apache-2.0
"""What is seen of processes from outside: their memory, and what a log says of the scheduler's loop."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

LOOPS = {"AIRFLOW__LOGGING__NAMESPACE_LEVELS": "airflow.jobs.scheduler_job_runner.SchedulerJobRunner=DEBUG"}
"""The option with which the scheduler says how long each loop took."""

_LOOP = re.compile(r"Ran scheduling loop in ([\d.]+) ms")
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def loop_times(lines: Iterable[str]) -> list[float]:
    """Return the milliseconds of each loop that the scheduler's log tells of."""
    return [float(found[1]) for line in lines if (found := _LOOP.search(line))]


def tree_memory(pid: int) -> float:
    """Return the MiB that a process and all that descend from it hold, shared pages counted once (PSS)."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(OSError, psutil.Error):  # it has ended meanwhile
            total += proportional_set_size(Path(f"/proc/{each.pid}/smaps_rollup").read_text())
    return total


def proportional_set_size(smaps_rollup: str) -> float:
    """Return the MiB that the kernel's ``smaps_rollup`` of a process tells."""
    found = _PSS.search(smaps_rollup)
    return int(found[1]) / 1024 if found else 0.0
