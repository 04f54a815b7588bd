# SPDX-License-Identifier: Apache-2.0
"""What a long run does besides its plan, so that somebody comes by each crash point that waits for it."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import psycopg2
import requests

from demo.errors import DemoError
from tests.crash import documents
from tests.crash.api import PATIENCE
from tests.crash.installation import CrashInstallation

if TYPE_CHECKING:
    from tests.crash.workload import Workload

PAST_DAYS = 9
"""So many days ago the oldest job of a long run has ended, once it was moved there."""

_REFUSED_DAYS = (8, 7, 6)
"""So many days ago were those whose metrics the database refuses until the end."""

_COMMANDED_DAY = 2
_PAUSE = 1.0
_PAUSE_OF_METRICS = 20.0
_TRIES = 40
_METRICS_DAG = "scale\\_clock.scale-daily-metrics.%"

_REFUSE = """
CREATE FUNCTION scale_crash_refuse() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''This day is refused.''; END';
CREATE TRIGGER scale_crash_refuse BEFORE INSERT ON scale_job_type_metrics FOR EACH ROW
    WHEN (NEW.day IN ({days})) EXECUTE FUNCTION scale_crash_refuse();
"""

Errand = Callable[[], None]

_UNFINISHED = """SELECT 1 FROM scale_job j JOIN scale_job_type t ON t.id = j.job_type_id
WHERE t.name = %s AND j.status IN ('PENDING', 'QUEUED', 'RUNNING') LIMIT 1"""


class Errands:
    """Chooses what lets points be passed, and does it: requests and files by who asks, commands by itself."""

    def __init__(self, workload: Workload, system: CrashInstallation, seed: int):
        self._work = workload
        self._system = system
        self._asked = workload.asked
        self._random = random.Random(f"{seed} errands")
        self._lock = threading.Lock()
        self._wanted: frozenset[str] = frozenset()
        self._turn = 0
        self._number = 0
        self._next = self._next_metrics = 0.0
        self._is_prepared = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run_commands, name="commands", daemon=True)
        work = workload
        self._requests: dict[str, tuple[tuple[str, ...], Errand]] = {
            "an error": (("api.create_error",), work.create_error),
            "another error": (("api.edit_error",), work.edit_error),
            "a workspace": (("api.create_workspace",), work.create_workspace),
            "another workspace": (("api.edit_workspace",), work.edit_workspace),
            "types": (
                ("api.create_job_type", "api.create_recipe_type", "api.create_strike"),
                work.create_types,
            ),
            "a job type": (("api.edit_job_type", "publish.", "dag_files."), work.edit_job_type),
            "a recipe type": (("api.edit_recipe_type",), work.edit_recipe_type),
            "a node": (("api.edit_node", "runtime.reserve", "trigger.capacity"), self._pause_node),
            "a Strike process": (("api.edit_strike",), work.edit_strike),
            "the scheduler": (("api.edit_scheduler",), work.pause_scheduler),
            "an import": (("api.import_configuration",), work.import_configuration),
            "a cancellation": (
                ("api.cancel_jobs", "api.edit_job.", "agent.kill_processes", "agent.remove_container"),
                self._cancel,
            ),
            "a requeue": (("api.requeue_job",), self._requeue),
            "a failing job": (("runtime.fail.",), lambda: self._queue_job("crash-fails", "fails")),
            "a late job": (("docker.kill", "docker.remove_left"), self._queue_late),
            "a half job": (
                ("workspace.delete", "workspace.remove_folder", "file_duties.choose", "agent.file_duty"),
                lambda: self._queue_job("crash-halfway", "halfway"),
            ),
            "metrics": (("clock.", "runtime.begin_m", "runtime.compute_m", "runtime.fail_m"), self._metrics),
            "files": (("strike.", "ingest.", "sensor.", "trigger.strike", "workspace."), self._drop_files),
            "a stray file": (("strike.give_back",), self._drop_stray),
            "a scene": (
                ("workspace.add_name", "workspace.drop_name", "file_duties.", "agent.file_duty"),
                self._drop_scene,
            ),
            "a list of jobs": (
                ("api.queue_new_jobs.",),
                lambda: self._queue_job("crash-fails", "fails", is_list=True),
            ),
            "a single job": (("api.queue_new_job.",), lambda: self._queue_job("crash-fails", "fails")),
            "a chain": (
                (
                    *("api.queue_new_recipe", "agent.forget", "docker.", "log.", "process.", "runner."),
                    *("runtime.", "scratch.", "task.", "workspace.store", "workspace.link"),
                ),
                self._queue_chain,
            ),
        }
        self._commands: dict[str, Callable[[], Iterable[str]]] = {
            "cli.apply": lambda: ("apply", str(self._documents / "setup.json")),
            "cli.import": lambda: ("import", str(self._documents / "configuration.json")),
            "cli.countries": lambda: ("countries",),
            "cli.init": lambda: ("init",),
            "cli.rotate_secret": lambda: ("rotate-secret",),
            "cli.create_token": self._new_token,
            "cli.revoke_token": self._old_token,
            "cli.cancel": self._to_cancel,
            "cli.requeue": self._to_requeue,
            "cli.metrics": lambda: ("metrics", str(_day(_COMMANDED_DAY))),
            "permissions.sync": lambda: ("sync-perms",),
        }

    @property
    def _documents(self) -> Any:
        return self._system.root / "documents"

    def starts(self) -> list[str]:
        """Return the beginnings of the names of all points that something is done for."""
        asked_for = [start for starts, _ in self._requests.values() for start in starts]
        return [*asked_for, *self._commands]

    def start(self) -> None:
        """Begin with commands."""
        self._thread.start()

    def want(self, points: Collection[str]) -> None:
        """Let somebody come by these points, as far as that is in a user's hands."""
        self._wanted = frozenset(points)

    def next(self) -> Errand | None:
        """Return the next thing to do that lets a wanted point be passed, if it is time for one."""
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + _PAUSE
        names = list(self._requests)
        for step in range(len(names)):
            place = (self._turn + step) % len(names)
            starts, errand = self._requests[names[place]]
            if any(point.startswith(starts) for point in self._wanted):
                self._turn = place + 1
                return errand
        return None

    def finish(self) -> None:
        """Undo what was there to disturb, and have the metrics worked out that are still missing."""
        self._stopping.set()
        self._thread.join(300)
        self._wanted = frozenset()
        deadline = time.monotonic() + PATIENCE
        block = self._system.workspace(documents.BROKEN) / documents.BLOCK
        if block.is_file():
            # The jobs that it shall refuse have to meet it first.
            while self._has_halfway() and time.monotonic() < deadline:
                time.sleep(0.5)
            block.unlink()
        while True:
            try:
                if self._prepare_metrics():
                    self._sql("DROP TRIGGER IF EXISTS scale_crash_refuse ON scale_job_type_metrics")
                    self._next_metrics = 0.0
                    self._metrics()
                break
            except psycopg2.Error:  # the server may be on its way back
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)
        self._work.stop_clock()

    def _has_halfway(self) -> bool:
        try:
            return bool(self._sql(_UNFINISHED, "crash-halfway"))
        except psycopg2.Error:  # the server may be on its way back
            return True

    # -- jobs and files -------------------------------------------------------------------------------------
    def _new_number(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def _queue_chain(self) -> None:
        self._work.queue_chain(f"chain-more-{self._new_number()}")

    def _queue_job(self, job_type: str, kind: str, *, is_list: bool = False) -> None:
        self._work.queue_job(job_type, f"{kind}-more-{self._new_number()}", is_list=is_list)

    def _queue_late(self) -> None:
        self._queue_job("crash-late", "late")

    def _cancel(self) -> None:
        """Cancel a job that runs; if none does, let one begin."""
        running = self._slow("RUNNING")
        if running:
            self._work.cancel_one(running[0])
        elif len(self._slow("QUEUED")) < 3:
            kind = self._random.choice(("crash-slow", "crash-slow-box"))
            self._queue_job(kind, "slow")

    def _requeue(self) -> None:
        if self._asked.canceled - self._asked.requeued:
            self._work.requeue()
        else:
            self._cancel()

    def _slow(self, *states: str) -> list[int]:
        """Return the slow jobs in a state which nobody canceled."""
        rows = self._sql(
            "SELECT job.id FROM scale_job job JOIN scale_job_type type ON type.id = job.job_type_id "
            "WHERE type.name LIKE 'crash-slow%%' AND job.status = ANY(%s) ORDER BY job.id",
            list(states),
        )
        return [row[0] for row in rows if row[0] not in self._asked.canceled]

    def _pause_node(self) -> None:
        """Let jobs wait for room for a while."""
        self._queue_chain()
        self._queue_chain()
        self._work.pause_node(2.0)

    def _drop_files(self) -> None:
        for strike in documents.STRIKES:
            number = self._new_number()
            for extension in ("dat", "img"):
                self._work.drop(
                    strike, f"more{number:04}.{extension}", f"{extension} {number}\n".encode() * 50
                )
        if self._asked.drops:  # and one that is there already
            again = self._random.choice(self._asked.drops)
            if again.name.endswith(".dat"):
                self._work.drop(again.strike, again.name, again.content)

    def _drop_scene(self) -> None:
        number = self._new_number()
        strike = self._random.choice(sorted(documents.STRIKES))
        self._work.drop(strike, f"more{number:04}.csv", f"scene {number}\n".encode())

    def _drop_stray(self) -> None:
        number = self._new_number()
        strike = self._random.choice(sorted(documents.STRIKES))
        self._work.drop_stray(strike, f"stray{number:04}.dat", f"stray {number}\n".encode())
        # The directory is looked at when something comes.
        self._work.drop(strike, f"more{number:04}.dat", f"beside stray {number}\n".encode())

    # -- metrics --------------------------------------------------------------------------------------------
    def _prepare_metrics(self) -> bool:
        """Have something of past days, some of which the database refuses; tell whether that is so."""
        if not self._is_prepared:
            days = ", ".join(f"DATE '{_day(ago)}'" for ago in _REFUSED_DAYS)
            aged = self._sql(
                "UPDATE scale_job SET created = created - %s, queued = queued - %s, started = started - %s, "
                "ended = ended - %s WHERE id = (SELECT min(job.id) FROM scale_job job "
                "JOIN scale_job_type type ON type.id = job.job_type_id "
                "WHERE job.status = 'COMPLETED' AND NOT type.is_system) RETURNING id",
                *[timedelta(days=PAST_DAYS)] * 4,
            )
            if aged:
                self._sql(_REFUSE.format(days=days))
                self._is_prepared = True
        return self._is_prepared

    def _metrics(self) -> None:
        """Forget the metrics of past days, and start the DAG that has them worked out."""
        now = time.monotonic()
        if now < self._next_metrics or not self._prepare_metrics():
            return
        self._next_metrics = now + _PAUSE_OF_METRICS
        self._sql("DELETE FROM scale_job_type_metrics WHERE day < %s", _day(0))
        found = self._sql("SELECT dag_id FROM dag WHERE dag_id LIKE %s AND NOT is_stale", _METRICS_DAG)
        for (dag_id,) in found:
            moment = datetime.now(timezone.utc).isoformat()
            run = {"dag_run_id": f"crash-{self._new_number()}", "logical_date": moment}
            self._work.airflow("POST", f"dags/{dag_id}/dagRuns", run)

    # -- commands -------------------------------------------------------------------------------------------
    def _run_commands(self) -> None:
        turn = 0
        names = list(self._commands)
        while not self._stopping.wait(0.2):
            for step in range(len(names)):
                name = names[(turn + step) % len(names)]
                if any(point.startswith(f"{name}.") for point in self._wanted):
                    turn = (turn + step + 1) % len(names)
                    self._run(name)
                    break

    def _run(self, name: str) -> None:
        """Run a command, and again whenever it is killed, or the database is away."""
        try:
            words = tuple(self._commands[name]())
        except psycopg2.Error:
            return
        error: Exception | None = None
        for _ in range(_TRIES if words else 0):
            try:
                self._system.installation.airflow(["scale", *words])
                return
            except (DemoError, subprocess.TimeoutExpired) as failure:
                error = failure
            if self._stopping.wait(0.5):
                return
        if error is not None:
            self._asked.trouble.append(f"airflow scale {' '.join(words)}: {error}"[:1000])

    def _new_token(self) -> Iterable[str]:
        name = f"crash-{self._new_number()}"
        self._asked.tokens[name] = False
        return ("token", "create", "admin", "--name", name)

    def _old_token(self) -> Iterable[str]:
        rows = self._sql("SELECT id, name FROM scale_api_token WHERE revoked IS NULL ORDER BY id")
        if not rows:
            return self._new_token()
        number, name = rows[0]
        self._asked.tokens[name] = True
        return ("token", "revoke", str(number))

    def _to_cancel(self) -> Iterable[str]:
        found = self._slow("QUEUED", "RUNNING")
        if not found:
            with suppress(requests.RequestException, LookupError):
                self._queue_job("crash-slow", "slow")
            return ()
        self._asked.canceled.add(found[-1])
        return ("cancel", str(found[-1]), "--yes")

    def _to_requeue(self) -> Iterable[str]:
        free = sorted(self._asked.canceled - self._asked.requeued)
        if not free:
            return ()
        self._asked.requeued.add(free[0])
        return ("requeue", str(free[0]), "--yes")

    def _sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._system.database() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []


def _day(ago: int) -> Any:
    return (datetime.now(timezone.utc) - timedelta(days=ago)).date()
