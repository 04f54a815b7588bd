# SPDX-License-Identifier: Apache-2.0
"""What is seen of processes from outside: memory, processor time, and what a log says of loops."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
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


def processor_seconds(services: Mapping[str, int]) -> dict[str, float]:
    """Return the processor time (user and system) that each service's processes have taken so far.

    Processes that have ended count with those that waited for them. The scheduler's are told apart, by their
    place below it: itself, the executor's workers that watch over tasks, and the tasks with all they started.

    :param services: the first process of each service by its name; the scheduler is named ``scheduler``.
    """
    taken: dict[str, float] = {}
    for name, pid in services.items():
        process = psutil.Process(pid)
        if name != "scheduler":
            taken[name] = sum(_own(each) + _of_ended(each) for each in _tree(process))
            continue
        workers = process.children()
        taken["scheduler"] = _own(process)
        taken["executor"] = _of_ended(process) + sum(_own(worker) for worker in workers)
        below = [each for worker in workers for each in _tree(worker)[1:]]
        taken["tasks"] = sum(_of_ended(worker) for worker in workers)
        taken["tasks"] += sum(_own(each) + _of_ended(each) for each in below)
    return taken


def _tree(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):  # it has ended meanwhile
        return [process, *process.children(recursive=True)]
    return [process]


def _own(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _of_ended(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.children_user + times.children_system)
    return 0.0
