# SPDX-License-Identifier: Apache-2.0
"""An installation whose processes are made to be killed: whatever ends is started again at once."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import requests

from demo import processes
from demo.database import _SOCKET
from demo.installation import Installation
from scale_airflow import crash_points
from tests.crash import documents
from tests.crash.machine import free_port, make_image, members
from tests.docker_engine import Engine, docker_engine

_AIRFLOW = [sys.executable, "-m", "airflow"]
SERVICES = {
    "api-server": [*_AIRFLOW, "api-server"],
    "dag-processor": [*_AIRFLOW, "dag-processor"],
    "triggerer": [*_AIRFLOW, "triggerer", "--skip-serve-logs"],
    "node": [*_AIRFLOW, "scale", "node"],
    "scheduler": [*_AIRFLOW, "scheduler", "--skip-serve-logs"],
}
#: What Airflow waits for until it believes that something is dead; minutes where nothing is said.
_OPTIONS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__CORE__PARALLELISM": "8",
}
_SCALE = {
    "agent_beat_interval": "1",
    "docker_network_mode": "none",
    "docker_pull": "never",
    "node_lost_timeout": "30",
    "reconcile_interval": "2",
}
AT_START = (
    "agent.id.before",
    "agent.id.after",
    "tick.record_load.commit.before",
    "tick.record_load.commit.after",
)
"""Crash points passed when an installation is new, and not again within the hour; armed before it starts."""

_SHARED_MEMORY = Path("/dev/shm")
_LOOK = 0.1
_PAUSE_OF_QUESTIONS = 0.5
_IDLE_LOOK = 5.0


@dataclass
class Service:
    """One process that is started again whenever it has ended."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    sessions: list[int] = field(default_factory=list)


class CrashInstallation:
    """An installation with everything in it that the crash matrix kills.

    :param root: a new folder; everything of the run lies there.
    :param engine: a Docker engine of our own, if there is one.
    :param api_servers: how many processes serve the API.
    :param is_long: with what only long runs need.
    """

    def __init__(
        self, root: Path, port: int, engine: Engine | None, api_servers: int = 1, *, is_long: bool = False
    ):
        self.root = root
        self.engine = engine
        self.api_servers = api_servers
        self.is_long = is_long
        self.far: Path | None = None
        self.installation = Installation(root / "i", port)
        self.points = root / "points"
        self.services = {name: Service(name, command) for name, command in SERVICES.items()}
        if self.is_forking:
            self.services["api-server"].command = [
                sys.executable,
                str(Path(__file__).with_name("api_server.py")),
            ]
        self.engine_lock = threading.Lock()
        self._has_served = 0
        self._has_answered = False
        self._next_question = 0.0
        self._session = requests.Session()
        self._session.trust_env = False
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.trouble: list[str] = []

    @property
    def data(self) -> Path:
        """The folder of workspaces and Strike directories."""
        return self.installation.data

    @property
    def work(self) -> Path:
        """The folder of scratch folders."""
        return self.installation.folder / "work"

    @property
    def has_far(self) -> bool:
        """Whether there is another file system, so that files have to be copied to it."""
        return self.far is not None and self.far.stat().st_dev != self.data.stat().st_dev

    def workspace(self, name: str) -> Path:
        """Return the directory of a workspace."""
        return self.far / name if self.far is not None and name.startswith("far-") else self.data / name

    def strike_folder(self, name: str) -> Path:
        """Return the directory of a Strike process."""
        return self.data / documents.STRIKES[name]

    def workspaces(self) -> list[Path]:
        """Return the directories of all workspaces in which files are kept."""
        names = (*documents.SOURCES, *documents.PRODUCTS) if self.is_long else ("raw", "products")
        return [self.workspace(name) for name in names]

    def _make_folders(self) -> dict[str, Path]:
        """Make the directories of workspaces and Strike processes; return them by name."""
        folders = {name: self.data / name for name in (*documents.STRIKES.values(), "staging")}
        if self.is_long:
            self.far = self._another_file_system()
            for name in (documents.SOURCES[1], documents.PRODUCTS[1], documents.BROKEN):
                folders[name] = self.workspace(name)
        for folder in folders.values():
            folder.mkdir()
        if self.is_long:
            (folders[documents.BROKEN] / documents.BLOCK).write_text("No directory can be made here.")
        return {**folders, "raw": self.data / "raw", "products": self.data / "products"}

    def _another_file_system(self) -> Path:
        """Return a new folder on another file system; on the same one if there is no other."""
        parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else self.root
        folder = Path(tempfile.mkdtemp(prefix="scale-crash-", dir=parent))
        folder.chmod(0o711)
        return folder

    def prepare(self) -> None:
        """Make database, tables, users and documents."""
        for name in (crash_points.ARMED, crash_points.PASSED):
            (self.points / name).mkdir(parents=True)
        self.installation.claim()
        folders = self._make_folders()
        scale = {
            **_SCALE,
            "backend": "process" if self.engine is None else "docker",
            "docker_url": "" if self.engine is None else self.engine.url,
            "mounts": json.dumps({f"crash:/{name}": str(folder) for name, folder in folders.items()}),
        }
        if self.far is not None:
            scale["allowed_roots"] = f"{self.data}{os.pathsep}{self.far}"
        if self.engine is not None:
            make_image(self.engine)
        setup = documents.setup(self.root / "documents", self.engine is not None, self.is_long)
        options = {
            **_OPTIONS,
            "AIRFLOW__API__WORKERS": str(self.api_servers),
            crash_points.VARIABLE: str(self.points),
        }
        if self.is_forking:
            options["AIRFLOW__API__SERVER_TYPE"] = "gunicorn"
            # A task that met a server that is away for seconds must not wait for a minute.
            options["AIRFLOW__WORKERS__EXECUTION_API_RETRIES"] = "12"
            options["AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX"] = "5"
            # Its control socket would lie in the user's home, one for all runs.
            options["GUNICORN_CMD_ARGS"] = "--no-control-socket"
        self.installation.prepare(setup, scale=scale, options=options, tell=lambda _: None)
        # What was committed must outlive a kill of the server, as it would on any real one.
        with self.database() as cursor:
            cursor.execute("ALTER SYSTEM SET synchronous_commit = on")
            cursor.execute("SELECT pg_reload_conf()")

    @property
    def is_forking(self) -> bool:
        """Whether the API server's processes are forked from one that has loaded all, and quick to start."""
        return self.is_long and importlib.util.find_spec("gunicorn") is not None

    def start(self, patience: float = 180) -> None:
        """Start everything and wait until all answers.

        :raises RuntimeError: naming what does not.
        """
        if self.is_long:
            for name in AT_START:
                (self.points / crash_points.ARMED / name).touch()
        for service in self.services.values():
            self._start(service)
        self._keep(self._keep_services)
        self._keep(self._keep_database)
        self._keep(self._reap_idle_workers)
        if self.engine is not None:
            self._keep(self._keep_engine)
        deadline = time.monotonic() + patience
        while missing := self.installation.client.missing():
            if time.monotonic() > deadline:
                raise RuntimeError(f"After {patience:.0f} s there is still no sign of {missing}.")
            time.sleep(0.25)

    def is_up(self, name: str) -> bool:
        """Say whether a service has come far enough to be killed: killed while it starts, it never would."""
        process = self.services[name].process
        if process is None or process.poll() is not None:
            return False
        if name == "api-server":
            return self._serves()
        if name in ("scheduler", "triggerer"):
            return bool(psutil.Process(process.pid).children())
        return True

    def _serves(self) -> bool:
        """Say whether the API server answers; asked seldom, for it has other work to do."""
        now = time.monotonic()
        if now > self._next_question:
            url = f"{self.installation.url}/scale/api/version/"
            try:
                self._has_answered = bool(self._session.get(url, timeout=2).content)
            except requests.RequestException:
                self._has_answered = False
            self._next_question = time.monotonic() + _PAUSE_OF_QUESTIONS
        return self._has_answered

    def hasten_file_duties(self) -> None:
        """Let the time pass after which files are removed, and looked for once more."""
        with self.database() as cursor:
            cursor.execute("UPDATE scale_file_duty SET not_before = now() WHERE not_before > now()")

    @contextmanager
    def database(self) -> Iterator[Any]:
        """Give a cursor, in autocommit mode, to look at the database from outside.

        :raises psycopg2.Error: if the server is away.
        """
        connection = psycopg2.connect(
            host=str(self.installation.database.socket_folder), user="postgres", dbname="airflow"
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def stop(self) -> None:
        """End everything; the state stays."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
        for service in reversed(self.services.values()):
            for session in service.sessions:
                for process in members(session):
                    with suppress(psutil.Error):
                        process.kill()
            if service.process is not None:
                service.process.wait(30)
        self.installation.stop()

    # -- keeping things alive -------------------------------------------------------------------------------
    def _keep(self, look: Callable[[], None]) -> None:
        def run() -> None:
            while not self._stopping.is_set():
                try:
                    look()
                except Exception as error:
                    self.trouble.append(f"{look.__name__}: {error!r}")
                self._stopping.wait(_LOOK)

        thread = threading.Thread(target=run, name=look.__name__, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _start(self, service: Service) -> None:
        log = self.installation.logs / f"{service.name}.log"
        folder = self.installation.folder
        service.process = processes.spawn(service.command, self.installation.environment, log, folder)
        service.starts += 1
        service.sessions.append(service.process.pid)
        processes.remember(
            folder / "pids" / f"{service.name}.{service.process.pid}.json", service.process.pid
        )

    def _keep_services(self) -> None:
        for service in self.services.values():
            if service.process is not None and service.process.poll() is not None:
                self._start(service)
        if self.api_servers > 1 and not self.is_forking:
            self._end_api_server_without_children()

    def _end_api_server_without_children(self) -> None:
        """Do what a health check would: uvicorn may need [api] worker_timeout to see that a child died."""
        parent = self.services["api-server"].process
        if parent is None:
            return
        with suppress(psutil.Error):
            children = self.serving()
            if children:
                self._has_served = parent.pid
            elif self._has_served == parent.pid:
                for process in members(parent.pid):
                    process.kill()

    def serving(self) -> list[psutil.Process]:
        """Return the living processes that serve the API below their parent, where there are several."""
        parent = self.services["api-server"].process
        if parent is None or parent.poll() is not None:
            return []
        return [
            child
            for child in psutil.Process(parent.pid).children()
            if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline())
        ]

    def _keep_database(self) -> None:
        # The processes of one that was killed end by themselves; until then its memory and locks are theirs.
        if self.installation.database._server() is None and not self._database_lives():
            self.installation.database.start()

    def _database_lives(self) -> bool:
        """Say whether a process of the database server is left; one that is only not reaped yet is gone."""
        database = self.installation.database
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.name() == "postgres" and process.cwd() == str(database.data):
                    return True
        # PostgreSQL takes a process that was not reaped yet for a server that holds the socket.
        with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            lock = database.socket_folder / f"{_SOCKET}.lock"
            if psutil.Process(int(lock.read_text().split()[0])).status() == psutil.STATUS_ZOMBIE:
                lock.unlink()
        return False

    def _keep_engine(self) -> None:
        assert self.engine is not None
        with self.engine_lock:
            if self.engine.process is not None and self.engine.process.poll() is not None:
                self.engine.start()

    def _reap_idle_workers(self) -> None:
        """Kill what a killed scheduler has left once it is idle: its workers would wait for ever.

        Where a service manager kills the whole group of a service, there are none.
        """
        idle = self._idle_orphans()
        self._stopping.wait(_IDLE_LOOK)
        for process in idle & self._idle_orphans():
            with suppress(psutil.Error):
                process.kill()

    def _idle_orphans(self) -> set[psutil.Process]:
        found = set()
        scheduler = self.services["scheduler"]
        for session in scheduler.sessions:
            if scheduler.process is None or session != scheduler.process.pid:
                for process in members(session):
                    with suppress(psutil.Error):
                        if "<idle>" in " ".join(process.cmdline()):
                            found.add(process)
        return found


@contextmanager
def crash_installation(
    root: Path, *, docker: bool = True, api_servers: int = 1, is_long: bool = False
) -> Iterator[CrashInstallation]:
    """Give a running installation below ``root``; end everything afterwards, but leave the folder."""
    with ExitStack() as stack:
        engine = None
        if docker and not os.environ.get("SCALE_TEST_DOCKER_HOST"):
            # Containers outlive a kill of their engine, as they do where an administrator wants that.
            with suppress(RuntimeError):
                engine = stack.enter_context(docker_engine(live_restore=True))
        made = CrashInstallation(root, free_port(), engine, api_servers, is_long=is_long)
        try:
            made.prepare()
            made.start()
            yield made
        finally:
            made.stop()
            if made.far is not None:
                shutil.rmtree(made.far, ignore_errors=True)
