# SPDX-License-Identifier: Apache-2.0
"""Finds and kills the process jobs of a host from outside, whoever started them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from scale_airflow.execution.staging import FOLDER

MARKER = "SCALE_EXECUTION"
"""Environment variable of every process of a job and of its keeper: the execution's scratch folder."""
KEEPER = Path(__file__).parent / "backends" / "keeper.py"
_PATIENCE = 5.0


def process_executions(work_dir: Path) -> dict[int, list[int]]:
    """Return the processes of executions below ``work_dir``: process ids by execution id.

    Only processes whose environment we may read are seen: those of our own user, or all for root.
    """
    wanted = f"{MARKER}={work_dir}/".encode()
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            environment = Path("/proc", name, "environ").read_bytes()
        except OSError:
            continue
        at = environment.find(wanted)
        if at != 0 and environment[at - 1 : at] != b"\0":
            continue
        folder = environment[at + len(wanted) :].partition(b"\0")[0].decode("utf-8", "replace")
        if at >= 0 and (match := FOLDER.match(folder)):
            found.setdefault(int(match[1]), []).append(int(name))
    return found


def kill_processes(work_dir: Path, execution_id: int) -> int:
    """Kill every process of an execution; return how many there were.

    Keepers are told first: they also find processes that have cleared their environment.
    """
    found = process_executions(work_dir).get(execution_id, [])
    for process in found:
        if _is_keeper(process):
            _send(process, signal.SIGTERM)
    deadline = time.monotonic() + _PATIENCE
    while left := process_executions(work_dir).get(execution_id, []):
        late = time.monotonic() > deadline
        for process in left:
            if late or not any(_is_keeper(each) for each in left):
                _send(process, signal.SIGKILL)
        if late:
            break
        time.sleep(0.02)
    return len(found)


def _is_keeper(process: int) -> bool:
    try:
        return os.fsencode(KEEPER) in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)
