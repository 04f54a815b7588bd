# SPDX-License-Identifier: Apache-2.0
"""Detached processes that can be found again: pid files with start times, and a marker in the environment.

A pid alone may belong to somebody else by now; a pid with its start time never does.
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
    try:
        known = json.loads(pid_file.read_text())
        process = psutil.Process(known["pid"])
        # The clock's resolution, and a file system's rounding of floats, stay below this.
        if abs(process.create_time() - known["started"]) < 0.05 and _lives(process):
            return process
    except (OSError, ValueError, KeyError, psutil.Error):
        pass
    return None


def marked(folder: Path) -> list[psutil.Process]:
    """Return every process of this instance, whoever its parent is by now; never this process."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARKER) == str(folder) and _lives(process):
                found.append(process)
    return found


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
