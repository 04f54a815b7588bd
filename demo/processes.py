# SPDX-License-Identifier: Apache-2.0
"""Detached processes that can be found again, by their pid and start time, with all that descends from them.

A pid alone may belong to somebody else by now; a pid with its start time never does. Each process leads a
session of its own, to which its descendants belong also when it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

MARKER = "SCALE_DEMO"
"""Environment variable of every process of an instance: the instance's folder."""

_SAME = 0.05
# Seconds between a start time and itself: the clock's resolution, and what a float loses in a file.


def spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, working in ``folder``, its output at the end of ``log``."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def remember(pid_file: Path, pid: int) -> None:
    """Write down a process so that :func:`find` knows it again."""
    started = psutil.Process(pid).create_time()
    temporary = pid_file.with_suffix(".new")
    temporary.write_text(json.dumps({"pid": pid, "started": started}))
    temporary.replace(pid_file)


def find(pid_file: Path) -> psutil.Process | None:
    """Return the process that was written down, if it still lives."""
    known = _known(pid_file)
    if known is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(known[0])
            if abs(process.create_time() - known[1]) < _SAME and _lives(process):
                return process
    return None


def _known(pid_file: Path) -> tuple[int, float] | None:
    try:
        known = json.loads(pid_file.read_text())
        return int(known["pid"]), float(known["started"])
    except (OSError, ValueError, KeyError):
        return None


def descendants(pids: Path, folder: Path) -> list[psutil.Process]:
    """Return what lives of the processes that were written down in ``pids`` and of all they started.

    Their command lines and environments can't be relied on: Airflow writes titles over both. Never returns
    this process.
    """
    leaders = dict(known for file in pids.glob("*.json") if (known := _known(file)) is not None)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = _is_of(process, leaders) or process.environ().get(MARKER) == str(folder)
            if ours and process.pid != os.getpid() and _lives(process):
                found.append(process)
    return found


def _is_of(process: psutil.Process, leaders: Mapping[int, float]) -> bool:
    """Say whether a process is in the session of a leader that was written down.

    The system gives no pid away while it is that of a session, so a session whose leader is gone is the one
    that was written down; a leader that lives must have the start time.
    """
    session = os.getsid(process.pid)
    started = leaders.get(session)
    if started is None or process.create_time() < started - _SAME:
        return False
    try:
        return abs(psutil.Process(session).create_time() - started) < _SAME
    except psutil.NoSuchProcess:
        return True


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def end(processes: Iterable[psutil.Process], patience: float) -> None:
    """Ask processes to end; kill what still lives after ``patience`` seconds."""
    known = list(processes)
    for process in known:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(known, timeout=patience)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
