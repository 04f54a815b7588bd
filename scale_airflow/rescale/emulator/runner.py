# SPDX-License-Identifier: Apache-2.0
"""Runs a job's commands for real: a keeper process for each run, found again after the emulator's crash."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from scale_airflow.rescale.emulator import keeper
from scale_airflow.rescale.emulator.blobs import Blobs
from scale_airflow.rescale.emulator.keeper import MARKER
from scale_airflow.rescale.emulator.processes import (
    EMULATOR_FILE,
    Identity,
    kill_heads,
    kill_marked,
    marked,
)
from scale_airflow.rescale.emulator.staging import Cargo, Place, StagingError, stage

LOST = "lost"
_KEEPER_SCRIPT = str(Path(keeper.__file__).resolve())


@dataclass(frozen=True)
class Analysis:
    """One piece of software of a job: its commands in order, the analysis' own and what goes around it.

    :param walltime: seconds for all of them together; None: no limit.
    """

    commands: Sequence[str]
    environment: Mapping[str, str]
    walltime: float | None = None


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    :param ended_by: ``command``, ``stop``, ``force``, ``walltime``, ``abandoned`` (there was no emulator for
        too long), ``staging`` (it never began) or ``lost`` (killed with its keeper).
    :param started: seconds of the epoch, as is ``ended``.
    """

    exit_code: int
    ended_by: str
    started: float
    ended: float


@dataclass(frozen=True)
class Patience:
    """Seconds that runs are given.

    :param stop_grace: from SIGTERM to SIGKILL; :param force_grace: the same when forced.
    :param abandon_after: without an emulator, until a run is killed: nothing runs for ever.
    """

    stop_grace: float = 10.0
    force_grace: float = 0.5
    abandon_after: float = 30.0


class Runner:
    """Starts, adopts and ends runs below ``<root>/work``."""

    def __init__(self, root: Path, blobs: Blobs, patience: Patience) -> None:
        self.root = root.resolve() / "work"
        self._blobs = blobs
        self._patience = patience
        self._heads: dict[Path, Identity] = {}
        self._visited: set[Path] = set()
        shell = shutil.which("bash")
        if shell is None:
            raise RuntimeError("The emulator runs jobs with bash, which is not on the PATH. Install it.")
        self._shell = shell

    def open(self, adopted: Sequence[Place], jobs: Collection[str]) -> None:
        """Say that an emulator is here again, and end what is not adopted. Blocks briefly.

        :param adopted: runs that may go on; all others are killed.
        :param jobs: ids of the jobs that are not over; what others have left is deleted.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # orders hold the jobs' keys
        keeper.write(str(self.root / EMULATOR_FILE), asdict(Identity(os.getpid(), _own_start())))
        for pid in marked(self.root):
            with contextlib.suppress(OSError):
                place = _place_of(pid)
                if place is not None and place not in {one.path for one in adopted}:
                    kill_marked(place)
        for path in self.root.iterdir():
            if path.is_dir() and path.name not in jobs:
                self.remove(path)

    def close(self) -> None:
        """Kill all runs. Blocks until none is left."""
        heads = list(self._heads.values())
        kill_heads(heads)
        kill_marked(self.root)
        for head in heads:
            head.bury()
        self._heads.clear()
        (self.root / EMULATOR_FILE).unlink(missing_ok=True)

    def place(self, job_id: str, run_id: str, attempt: int) -> Place:
        """Return where an attempt at a run lives."""
        return Place(self.root / job_id / run_id / str(attempt))

    async def run(self, place: Place, cargo: Cargo, analyses: Sequence[Analysis]) -> RunResult:
        """Run the commands to their end, or go on with a run that was begun: never begin it twice."""
        head = await asyncio.to_thread(self._known_head, place)
        if head is None:
            try:
                await asyncio.to_thread(stage, place, cargo, self._blobs)
            except StagingError as error:
                return await asyncio.to_thread(give_up, place, str(error), "staging", 1)
            head = self._start(place, analyses)
        if head is not None:
            self._heads[place.path] = head
            await head.ended()
            self._heads.pop(place.path, None)
        result = _read_result(place)
        if result is None or place.path in self._visited:
            await asyncio.to_thread(kill_marked, place.path)
            self._visited.discard(place.path)
        if result is None:
            text = "The run was lost: its head node ended without a word."
            return await asyncio.to_thread(give_up, place, text, LOST, 128 + signal.SIGKILL)
        return result

    def stop(self, place: Place, *, force: bool = False) -> None:
        """Ask a run to end, begun or about to begin; ``run`` returns when it has."""
        place.stop.parent.mkdir(parents=True, exist_ok=True)
        place.stop.write_text("force" if force else "stop", "utf-8")
        head = Identity.read(place.keeper)
        if head is not None:
            head.send(signal.SIGUSR1 if force else signal.SIGTERM)

    async def kill(self, place: Place) -> None:
        """End a run as if its machine were gone."""
        head = self._heads.get(place.path)
        await asyncio.to_thread(kill_heads, [head] if head else [])
        await asyncio.to_thread(kill_marked, place.path)

    def environment(self, place: Place) -> dict[str, str]:
        """Return what every process of a run finds in its environment."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(place.home),
            "USER": "rescale",
            "LOGNAME": "rescale",
            "SHELL": self._shell,
            MARKER: str(place.path),
        }

    def visit(self, place: Place) -> dict[str, str]:
        """Return the environment of a process that is started beside the keeper, and ends with the run."""
        self._visited.add(place.path)
        return self.environment(place)

    def remove(self, path: Path) -> None:
        """Delete what a job, run or attempt left below the root."""
        shutil.rmtree(path, ignore_errors=True)

    def _known_head(self, place: Place) -> Identity | None:
        """Return the keeper that runs or ran here; None when no command was started: it may begin."""
        head = Identity.read(place.keeper)
        if head is None and place.order.exists():
            kill_marked(place.path)  # a keeper that was about to begin, perhaps
            head = Identity.read(place.keeper)
        return head

    def _start(self, place: Place, analyses: Sequence[Analysis]) -> Identity | None:
        order = {
            "work": str(place.work),
            "log": str(place.log),
            "shell": self._shell,
            "emulator": str(self.root / EMULATOR_FILE),
            **asdict(self._patience),
            "analyses": [
                {
                    "commands": list(one.commands),
                    "environment": {**self.environment(place), **one.environment},
                    "walltime": one.walltime,
                }
                for one in analyses
            ],
        }
        keeper.write(str(place.order), order)
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", _KEEPER_SCRIPT, str(place.order)],
            {MARKER: str(place.path)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (
                    os.POSIX_SPAWN_OPEN,
                    1,
                    str(place.path / "keeper.err"),
                    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
                    0o644,
                ),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        return Identity.of(pid)


def _own_start() -> int:
    started = keeper.started_ticks(os.getpid())
    if started is None:
        raise RuntimeError("The emulator needs Linux: it knows processes by /proc.")
    return started


def _place_of(pid: int) -> Path | None:
    for one in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if one.startswith(MARKER.encode() + b"="):
            return Path(os.fsdecode(one.partition(b"=")[2]))
    return None


def _read_result(place: Place) -> RunResult | None:
    try:
        return RunResult(**json.loads(place.result.read_text("utf-8")))
    except FileNotFoundError:
        return None


def give_up(place: Place, text: str, ended_by: str, exit_code: int) -> RunResult:
    """Write into a run's log why it has no result of its own, give it one and return that. Blocks."""
    now = datetime.now(timezone.utc)
    result = RunResult(exit_code, ended_by, now.timestamp(), now.timestamp())
    with contextlib.suppress(OSError):  # a full disk: then the exit code must do
        place.path.mkdir(parents=True, exist_ok=True)
        log = keeper.Log(str(place.log))
        log.note(text)
        log.note(f"Run ended ({ended_by})")
        log.close()
        keeper.write(str(place.result), asdict(result))
    return result
