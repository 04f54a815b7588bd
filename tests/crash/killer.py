# SPDX-License-Identifier: Apache-2.0
"""Kills processes with SIGKILL: at points that have a name, and at moments that a seed chooses."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from docs.crash_points_page import crash_points as known_points
from scale_airflow import crash_points
from scale_airflow.execution.processes import MARKER
from tests.crash import aim
from tests.crash.installation import AT_START, CrashInstallation
from tests.crash.machine import members, signal_quietly

_ARMED_TOGETHER = 3
_ARMED_FOR = 20.0
_RARE_TOGETHER = (3, 24)
_RARE_FOR = 60.0
"""Points that nobody came by yet: so many at once, in the beginning and in the end, for so many seconds."""

_AT_RANDOM = 0.2
"""The share of the kills that are at random in a long run, until every point was hit."""

_TURN = 15.0
"""Seconds after which a point makes room for others of its kind of process."""

_ALONE = 8.0
"""Seconds after which one more is armed of those without whose death nobody comes by a point."""

_BREATH = 2.0
"""Seconds that the API server is left alone after it died at a point."""

_GROWN = 6.0
"""Seconds after which a process that serves the API has begun to."""

_GIVEN_UP_AFTER = 2
"""How often a point is armed in vain before others go before it for good."""

_PATIENCE = 6.0
"""Seconds by which any kill at random is put off when nothing was done since the last."""

_MOST_PATIENCE = 25.0
"""Seconds after which what all need is killed again even though nothing was done since."""

_PATIENCE_OF_LONG = 40.0
"""The same in a long run, in which something is always being done."""

_WEIGHTS = {
    "task": 26,
    "worker": 10,
    "job": 8,
    "triggerer": 8,
    "scheduler": 8,
    "scheduler and its workers": 4,
    "DAG processor": 6,
    "API server": 10,
    "PostgreSQL": 6,
    "PostgreSQL backend": 4,
    "Docker engine": 8,
    "node agent": 6,
}
_NEEDED_BY_ALL = ("API server", "PostgreSQL", "PostgreSQL backend", "scheduler", "scheduler and its workers")
_SERVICES = {
    "api-server": "API server",
    "dag-processor": "DAG processor",
    "triggerer": "triggerer",
    "node": "node agent",
    "scheduler": "scheduler",
}


@dataclass(frozen=True)
class Kill:
    """One process that was killed; ``point`` where it was, None at a moment that the seed chose."""

    victim: str
    point: str | None
    seconds: float


class Killer:
    """Kills until so many are killed; in a long run, until every point was hit."""

    def __init__(self, seed: int, kills: int, system: CrashInstallation):
        self._random = random.Random(f"{seed} kills")
        self._system = system
        self.wanted = kills
        self.kills: list[Kill] = []
        self._begun = time.monotonic()
        self._points = [point.name for point in known_points()]
        self._random.shuffle(self._points)
        self._ahead = [name for name in self._points if name not in AT_START]
        self._in_vain: Counter[str] = Counter()
        self._armed: dict[str, float] = {}
        self._last_of_all = self._last_served = self._begun
        self._read = 0
        self._seconds: Counter[str] = Counter()
        self._helped: dict[str, float] = {}
        if system.is_long:
            self._armed.update(dict.fromkeys(AT_START, self._begun))
        self._unreachable = aim.out_of_reach(
            self._points, has_docker=system.engine is not None, has_far=system.has_far
        )

    @property
    def hit(self) -> set[str]:
        """The points at which a process was killed."""
        return {kill.point for kill in self.kills if kill.point is not None}

    def passed(self) -> set[str]:
        """Return the points that were reached at all."""
        return {path.name for path in (self._system.points / crash_points.PASSED).iterdir()}

    def points(self) -> list[str]:
        """Return the names of all points, sorted."""
        return sorted(self._points)

    def aimed_at(self) -> list[str]:
        """Return the points that wait for somebody to come by for the first time."""
        return sorted(self._armed.keys() - self.hit)

    def missed(self) -> dict[str, str]:
        """Return the points that were not hit, each with the reason."""
        passed = self.passed()
        found = {}
        for name in sorted(set(self._points) - self.hit):
            seconds = self._seconds[name]
            if name in self._unreachable:
                found[name] = self._unreachable[name]
            elif not seconds:
                found[name] = "its turn did not come"
            elif name in passed:
                found[name] = (
                    f"passed while it was not armed, by nobody in the {seconds:.0f} s in which it was"
                )
            else:
                found[name] = f"no process came by; it was armed for {seconds:.0f} s"
        return found

    def run(
        self, progress: Callable[[Killer], None], is_at_rest: Callable[[], bool], *, longest: float
    ) -> None:
        """Kill; after that, nothing is armed.

        :param progress: called often, also while nobody dies.
        :param is_at_rest: says whether all that was to be done until now is done.
        :param longest: seconds after which it ends in any case.
        """
        self._begun = time.monotonic()
        next_random = self._begun + self._pause()
        try:
            while time.monotonic() < self._begun + longest:
                self._collect()
                progress(self)
                if len(self.kills) >= self.wanted and not self._left():
                    return
                # What all else needs is killed once it is at work again.
                at_rest = is_at_rest()
                patience = _PATIENCE_OF_LONG if self._system.is_long else _MOST_PATIENCE
                is_late = time.monotonic() - self._last_of_all > patience
                is_calm = is_late or (at_rest and self._system.is_up("api-server"))
                if self._system.is_long:
                    self._aim()
                else:
                    self._rearm(is_calm)
                if time.monotonic() >= next_random + (0.0 if at_rest else _PATIENCE):
                    if len(self.kills) < self.wanted and self._has_left_for_random():
                        self._kill_at_random(is_calm)
                    next_random = time.monotonic() + self._pause()
                time.sleep(0.05)
        finally:
            self._disarm(list(self._armed))
            self._collect()

    def _pause(self) -> float:
        return self._random.uniform(0.5, 6.0)

    def _has_left_for_random(self) -> bool:
        at_random = sum(kill.point is None for kill in self.kills)
        return not self._left() or at_random < _AT_RANDOM * (len(self.kills) + 1)

    def _left(self) -> list[str]:
        """Return the points that are still to be hit, in the order of their turns; only in a long run."""
        if not self._system.is_long:
            return []
        done = {*self.hit, *self._unreachable, *AT_START}
        return [name for name in [*self._armed, *self._ahead] if name not in done]

    # -- at points ------------------------------------------------------------------------------------------
    def _aim(self) -> None:
        """Arm the points that were not hit yet, so many for each kind of process, one after the other.

        Those of the API server wait until it is at work again.
        """
        left, now = self._left(), time.monotonic()
        serves = now > self._last_served + _BREATH and self._may_miss_one()
        for kind, most in aim.TOGETHER.items():
            mine = [name for name in left if aim.process_at(name) == kind]
            if len(mine) > most:
                self._put_back([name for name in mine if now - self._armed.get(name, now) > _TURN])
            if kind == aim.API_SERVER and not serves:
                continue
            waiting = [name for name in mine if name not in self._armed]
            for name in waiting[: max(0, most - sum(name in self._armed for name in mine))]:
                self._take_turn(name)
        for name in left:
            helpers = aim.helpers(name)
            since = self._armed.get(name)
            if not helpers or since is None or self._armed.keys() & set(helpers):
                continue
            if now - self._helped.get(name, since) > _ALONE:
                self._helped[name] = now
                self._take_turn(self._random.choice(helpers))

    def _may_miss_one(self) -> bool:
        """Say whether there are API servers enough at work that one may die."""
        grown = time.time() - _GROWN
        with suppress(psutil.Error):  # one has just died
            at_work = sum(each.create_time() < grown for each in self._system.serving())
            return at_work > 1 and self._system.is_up("api-server")
        return False

    def _take_turn(self, name: str) -> None:
        self._ahead = [each for each in self._ahead if each != name]
        self._arm(name)

    def _put_back(self, names: list[str]) -> None:
        self._disarm(names)
        self._ahead += [name for name in names if name not in self._armed]

    def _arm(self, name: str) -> None:
        (self._system.points / crash_points.ARMED / name).touch()
        self._armed[name] = time.monotonic()

    def _disarm(self, names: list[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                (self._system.points / crash_points.ARMED / name).unlink()
                self._unarmed(name)

    def _unarmed(self, name: str) -> None:
        since = self._armed.pop(name, None)
        if since is not None:
            self._seconds[name] += time.monotonic() - since

    def _rearm(self, is_calm: bool) -> None:
        """Arm points, those that were not hit yet first: some that are passed, some that are not (yet).

        Those at which the API server dies are armed only when it is at work again.
        """
        passed, hit, now = self.passed(), self.hit, time.monotonic()
        for name, since in list(self._armed.items()):
            if now - since > (_ARMED_FOR if name in passed else _RARE_FOR):
                self._disarm([name])
                if name not in self._armed:
                    self._in_vain[name] += 1
                    self._ahead.append(name)
        few, many = _RARE_TOGETHER
        rare = few if len(self.kills) < self.wanted * 0.6 else many
        for is_served in (False, True) if is_calm else (False,):
            for is_passed, most in ((True, _ARMED_TOGETHER), (False, rare)):

                def is_meant(name: str, kind: tuple[bool, bool] = (is_served, is_passed)) -> bool:
                    return (aim.is_served(name), name in passed) == kind

                ahead = [name for name in self._ahead if is_meant(name)]
                ahead.sort(key=lambda name: (name in hit, self._in_vain[name] >= _GIVEN_UP_AFTER))
                free = most - sum(is_meant(name) for name in self._armed)
                for name in ahead[: max(0, free)]:
                    self._ahead.remove(name)
                    self._arm(name)

    def _collect(self) -> None:
        """Take note of the points that were hit."""
        path = self._system.points / crash_points.HITS
        if not path.exists():
            return
        lines = path.read_text().splitlines()
        for line in lines[self._read :]:
            hit = json.loads(line)
            self._unarmed(hit["name"])
            self._ahead.append(hit["name"])
            self._note(self._victim_at(hit["name"], hit["pid"]), hit["name"])
            if aim.is_served(hit["name"]):
                self._last_served = time.monotonic()
                # One death of the API server at a time: what is left of it has all the work to do.
                self._put_off([name for name in self._armed if aim.is_served(name)])
        self._read = len(lines)

    def _put_off(self, names: list[str]) -> None:
        self._disarm(names)
        self._ahead[:0] = [name for name in names if name not in self._armed]

    def _victim_at(self, point: str, pid: int) -> str:
        for name, service in self._system.services.items():
            if pid in service.sessions:
                return _SERVICES[name]
        return aim.process_at(point)

    def _note(self, victim: str, point: str | None) -> None:
        # In a long run others go on with the work of an API server that died at a point.
        if victim in _NEEDED_BY_ALL and (point is None or not self._system.is_long):
            self._last_of_all = time.monotonic()
        self.kills.append(Kill(victim, point, round(max(0.0, time.monotonic() - self._begun), 1)))

    # -- at random moments ----------------------------------------------------------------------------------
    def _kill_at_random(self, is_calm: bool) -> None:
        for _ in range(4):
            victim = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
            if (is_calm or victim not in _NEEDED_BY_ALL) and self._kill(victim):
                self._note(victim, None)
                return

    def _kill(self, victim: str) -> bool:
        with suppress(psutil.Error, OSError):
            if victim == "task":
                return self._one_of([task for worker in self._workers() for task in worker.children()])
            if victim == "worker":
                return self._kill_worker()
            if victim == "job":
                return self._one_of(self._jobs())
            if victim == "PostgreSQL":
                return self._one_of([self._system.installation.database._server()])
            if victim == "PostgreSQL backend":
                return self._kill_backend()
            if victim == "Docker engine":
                return self._kill_engine()
            if victim == "scheduler and its workers":
                return self._kill_group("scheduler")
            if victim == "API server":
                return self._kill_api_server()
            (name,) = [name for name, shown in _SERVICES.items() if shown == victim]
            process = self._system.services[name].process
            return process is not None and self._system.is_up(name) and signal_quietly(process.pid)
        return False

    def _one_of(self, found: list[psutil.Process | None]) -> bool:
        living = sorted((each for each in found if each is not None), key=lambda each: each.pid)
        return bool(living) and signal_quietly(self._random.choice(living).pid)

    def _workers(self) -> list[psutil.Process]:
        scheduler = self._system.services["scheduler"].process
        if scheduler is None or scheduler.poll() is not None:
            return []
        return [
            each
            for each in members(scheduler.pid)
            if " ".join(each.cmdline()).startswith("airflow worker -- LocalExecutor: ")
        ]

    def _kill_worker(self) -> bool:
        """Kill a worker of the executor that is at a task; or that and the task.

        Never an idle one: it may hold the lock of the queue that all share, and multiprocessing's locks are
        not given back by the dead, so no task of that scheduler would start any more. That is Airflow's
        LocalExecutor, nothing of Scale's.
        """
        busy = [each for each in self._workers() if "<idle>" not in " ".join(each.cmdline())]
        if not busy:
            return False
        worker = self._random.choice(sorted(busy, key=lambda each: each.pid))
        worker.suspend()
        tasks = worker.children()
        if not tasks:
            worker.resume()
            return False
        worker.kill()
        if self._random.random() < 0.5:
            for task in tasks:
                task.kill()
        return True

    def _jobs(self) -> list[psutil.Process | None]:
        """Return the processes of process jobs: their keepers, and what these run."""
        mark = str(self._system.work)
        found: list[psutil.Process | None] = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARKER, "").startswith(mark):
                    found.append(process)
        return found

    def _kill_group(self, name: str) -> bool:
        """Kill a service with all its processes, as a service manager does, or a host that goes down."""
        process = self._system.services[name].process
        if process is None or not self._system.is_up(name):
            return False
        group = members(process.pid)
        for each in group:
            with suppress(psutil.Error):
                each.suspend()
        for each in group:
            signal_quietly(each.pid, signal.SIGKILL)
        return bool(group)

    def _kill_api_server(self) -> bool:
        """Kill one of several processes that serve the API, or all: without their parent they serve on."""
        process = self._system.services["api-server"].process
        if process is None or not self._system.is_up("api-server"):
            return False
        serving = self._system.serving()
        if len(serving) > 1 and self._random.random() < 0.7:
            return self._one_of(list(serving))
        return self._kill_group("api-server")

    def _kill_backend(self) -> bool:
        server = self._system.installation.database._server()
        if server is None:
            return False
        return self._one_of([each for each in server.children() if " airflow " in " ".join(each.cmdline())])

    def _kill_engine(self) -> bool:
        engine = self._system.engine
        with self._system.engine_lock:
            if engine is None or engine.process is None or engine.process.poll() is not None:
                return False
            engine.stop(signal.SIGKILL)  # it is started again as soon as this lock is free
        return True
