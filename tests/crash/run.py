# SPDX-License-Identifier: Apache-2.0
"""One run: start, work and kill, settle, look."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import requests

import tests.crash.long_invariants  # noqa: F401 - they enter themselves
from tests.crash.asked import Size
from tests.crash.installation import crash_installation
from tests.crash.invariants import Finding, findings
from tests.crash.killer import Kill, Killer
from tests.crash.machine import new_folder
from tests.crash.workload import Workload

_FIRST = 0.2
"""The share of the work that is there before the first kill."""

Tell = Callable[[str], None]


@dataclass
class Outcome:
    """What a run has shown."""

    seed: int
    size: Size
    wanted: int
    folder: Path
    has_docker: bool = False
    kills: list[Kill] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    missed: dict[str, str] = field(default_factory=dict)
    """The points at which nothing was killed, each with the reason."""
    jobs: int = 0
    files: int = 0
    findings: list[Finding] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def hit(self) -> set[str]:
        """The points at which something was killed."""
        return {kill.point for kill in self.kills if kill.point is not None}

    @property
    def wrong(self) -> list[str]:
        """Everything that is not as it should be."""
        return [f"{each.title}: {told}" for each in self.findings for told in each.wrong]


def crash_run(
    seed: int,
    kills: int,
    size: Size,
    *,
    docker: bool = True,
    api_servers: int = 1,
    longest: float = 3600.0,
    patience: float = 600.0,
    tell: Tell = print,
) -> Outcome:
    """Run once; the folder of the run stays.

    :param longest: seconds of killing, at most.
    :param patience: seconds in which all must have come to its end afterwards.
    """
    outcome = Outcome(seed, size, kills, new_folder())
    began = time.monotonic()

    def lap(name: str) -> None:
        nonlocal began
        outcome.seconds[name], began = round(time.monotonic() - began, 1), time.monotonic()

    tell(f"The run's folder is {outcome.folder}; its processes start.")
    with crash_installation(
        outcome.folder, docker=docker, api_servers=api_servers, is_long=size.is_long
    ) as system:
        outcome.has_docker = system.engine is not None
        lap("start")
        workload = Workload(seed, size, system)
        killer = Killer(seed, kills, system)
        tell(f"{size.jobs} jobs, {size.files} files, {len(workload)} steps; {kills} kills begin.")
        workload.start()
        workload.advance(_FIRST)
        _until(workload.is_at_rest, patience)

        begun, shown = time.monotonic(), 0

        def progress(killer: Killer) -> None:
            nonlocal shown
            done = len(killer.kills)
            share = done / kills
            if workload.errands is not None:
                # Nobody dies where nobody works.
                share = max(share, (time.monotonic() - begun) / longest)
                workload.errands.want(killer.aimed_at())
            workload.advance(_FIRST + (1 - _FIRST) * share)
            if done > shown:
                shown = done
                last = killer.kills[-1]
                where = f" at {last.point}" if last.point else ""
                tell(
                    f"{last.seconds:6.0f} s  kill {done:3}/{kills}: {last.victim}{where}   "
                    f"[{len(killer.hit)}/{len(killer.points())} points, step {workload.done}/{len(workload)}]"
                )

        killer.run(progress, workload.is_at_rest, longest=longest)
        lap("kills")
        outcome.kills, outcome.points, outcome.missed = killer.kills, killer.points(), killer.missed()
        tell("All kills are done; what is left to do is done.")
        workload.finish(patience)

        def look() -> list[Finding]:
            found = findings(system, workload.asked)
            if not found[0].wrong:  # every job is over
                system.hasten_file_duties()
            return found

        outcome.findings = _settle(look, patience, tell)
        outcome.passed = killer.passed()
        outcome.jobs, outcome.files = workload.asked_for()
        outcome.trouble = [*workload.asked.trouble, *system.trouble]
        lap("settle")
        keep_logs(system.installation.logs)
    lap("stop")
    return outcome


def _until(is_so: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)


def _settle(look: Callable[[], list[Finding]], patience: float, tell: Tell) -> list[Finding]:
    """Look until nothing is wrong any more, or patience ends; return the last look."""
    deadline = time.monotonic() + patience
    last = -1
    while True:
        try:
            found = look()
        except (psycopg2.Error, requests.RequestException, OSError, LookupError) as error:
            found = [Finding("It can be looked at", 1, [repr(error)])]
        wrong = sum(len(each.wrong) for each in found)
        if wrong != last:
            first = next((told for each in found for told in each.wrong), "")
            tell(f"{wrong} things are not as they should be. {first[:160]}")
            last = wrong
        if not wrong or time.monotonic() > deadline:
            return found
        time.sleep(1.0)


def keep_logs(logs: Path) -> None:
    """Copy the processes' logs where a continuous integration can pick them up, if it says where."""
    target = os.environ.get("SCALE_TEST_LOGS")
    if target:
        shutil.copytree(logs, Path(target) / "crash", dirs_exist_ok=True)
