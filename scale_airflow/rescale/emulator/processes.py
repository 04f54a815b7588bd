# SPDX-License-Identifier: Apache-2.0
"""Finds, awaits and ends the processes of runs, whichever emulator started them (Linux: reads ``/proc``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scale_airflow.rescale.emulator.keeper import MARKER, started_ticks

EMULATOR_FILE = "emulator.json"
_PATIENCE = 5.0


@dataclass(frozen=True)
class Identity:
    """A process that can't be taken for a later one of the same number.

    :param started: clock ticks from the boot to its start.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return who runs as ``pid``; None when nobody does."""
        started = started_ticks(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def read(cls, path: Path) -> Identity | None:
        """Read an identity from a JSON file; None when there is none."""
        try:
            document = json.loads(path.read_text("utf-8"))
            return cls(int(document["pid"]), int(document["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_alive(self) -> bool:
        """Tell whether the process still runs."""
        return started_ticks(self.pid) == self.started

    def send(self, number: int) -> bool:
        """Send a signal; False when the process is gone."""
        if not self.is_alive():
            return False
        return send(self.pid, number)

    async def ended(self) -> None:
        """Return when the process has ended, our child or not."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, over.set)
        try:
            if self.is_alive():
                await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self.bury()

    def bury(self) -> None:
        """Let go of an ended child, so that it leaves no zombie; nothing happens to others."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)


def send(pid: int, number: int) -> bool:
    """Send a signal; False when there is no such process of ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def marked(place: Path) -> list[int]:
    """Return the processes of runs at or below ``place`` (absolute), keepers included."""
    wanted = f"{MARKER}={place}".encode()
    found: list[int] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            environment = Path("/proc", name, "environ").read_bytes()
        except OSError:
            continue
        if any(one == wanted or one.startswith(wanted + b"/") for one in environment.split(b"\0")):
            found.append(int(name))
    return [pid for pid in found if started_ticks(pid) is not None]


def kill_heads(heads: Sequence[Identity]) -> None:
    """Let keepers kill their runs, and wait until they have ended. Blocks briefly."""
    for head in heads:
        head.send(signal.SIGUSR1)
    deadline = time.monotonic() + _PATIENCE
    while any(head.is_alive() for head in heads) and time.monotonic() < deadline:
        time.sleep(0.005)


def kill_marked(place: Path) -> int:
    """Kill every process of the runs at or below ``place``; return how many there were. Blocks briefly.

    Keepers are asked first, and killed when all else is gone: they also find processes that have cleared
    their environment.
    """
    there = marked(place)
    deadline = time.monotonic() + _PATIENCE
    left = there
    while left:
        late = time.monotonic() > deadline
        keepers = {pid for pid in left if _is_keeper(pid)}
        for pid in left:
            if pid in keepers and not late:
                send(pid, signal.SIGUSR1)
            elif late or not keepers:
                send(pid, signal.SIGKILL)
        if late:
            break
        time.sleep(0.02)
        left = marked(place)
    return len(there)


def reap(root: Path) -> int:
    """Kill all that runs for the emulator of a directory; for callers that have killed it. Blocks briefly."""
    return kill_marked(root.resolve() / "work")


def _is_keeper(pid: int) -> bool:
    try:
        return b"keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
