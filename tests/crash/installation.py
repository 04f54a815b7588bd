# SPDX-License-Identifier: Apache-2.0
"""An installation whose processes are made to be killed: whatever ends is started again at once."""

from __future__ import annotations

import json
import os
import random
import signal
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
from demo.errors import DemoError
from demo.installation import CHECKOUT, Installation
from demo.instances import is_free
from scale_airflow import crash_points
from tests.crash import documents
from tests.docker_engine import Engine, busybox_tar, docker_engine

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
_LOOK = 0.1
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
    """

    def __init__(self, root: Path, port: int, engine: Engine | None, api_servers: int = 1):
        self.root = root
        self.engine = engine
        self.api_servers = api_servers
        self.installation = Installation(root / "i", port)
        self.points = root / "points"
        self.services = {name: Service(name, command) for name, command in SERVICES.items()}
        self.engine_lock = threading.Lock()
        self._has_served = 0
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

    def prepare(self) -> None:
        """Make database, tables, users and documents."""
        for name in (crash_points.ARMED, crash_points.PASSED):
            (self.points / name).mkdir(parents=True)
        self.installation.claim()
        for name in (*documents.STRIKES.values(), "staging"):
            (self.data / name).mkdir()
        folders = ("raw", "products", *documents.STRIKES.values())
        scale = {
            **_SCALE,
            "backend": "process" if self.engine is None else "docker",
            "docker_url": "" if self.engine is None else self.engine.url,
            "mounts": json.dumps({f"crash:/{name}": str(self.data / name) for name in folders}),
        }
        if self.engine is not None:
            _make_image(self.engine)
        setup = documents.setup(self.root / "documents", self.engine is not None)
        options = {
            **_OPTIONS,
            "AIRFLOW__API__WORKERS": str(self.api_servers),
            crash_points.VARIABLE: str(self.points),
        }
        self.installation.prepare(setup, scale=scale, options=options, tell=lambda _: None)
        # What was committed must outlive a kill of the server, as it would on any real one.
        with self.database() as cursor:
            cursor.execute("ALTER SYSTEM SET synchronous_commit = on")
            cursor.execute("SELECT pg_reload_conf()")

    def start(self, patience: float = 180) -> None:
        """Start everything and wait until all answers.

        :raises RuntimeError: naming what does not.
        """
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
        url = f"{self.installation.url}/scale/api/version/"
        try:
            return bool(self._session.get(url, timeout=2).content)
        except requests.RequestException:
            return False

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
        if self.api_servers > 1:
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
        server = self.installation.database._server()
        if server is None or server.status() == psutil.STATUS_ZOMBIE:
            with suppress(DemoError):  # the one that was killed still holds the lock: once more
                self.installation.database.start()

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


def members(session: int) -> list[psutil.Process]:
    """Return the living processes of a session."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _make_image(engine: Engine) -> None:
    import io
    import tarfile

    program = documents.PROGRAM.encode()
    buffer = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        entry = tarfile.TarInfo(documents.PROGRAM_IN_IMAGE.lstrip("/"))
        entry.mode, entry.size = 0o755, len(program)
        tar.addfile(entry, io.BytesIO(program))
    client = engine.client()
    repository, _, tag = documents.IMAGE.partition(":")
    client.import_image_from_data(buffer.getvalue(), repository=repository, tag=tag)
    client.close()


def free_port() -> int:
    """Return a port that nobody listens on, below those that the system gives to outgoing connections."""
    return next(port for port in iter(lambda: random.randrange(20_000, 32_000), None) if is_free(port))


@contextmanager
def crash_installation(
    root: Path, *, docker: bool = True, api_servers: int = 1
) -> Iterator[CrashInstallation]:
    """Give a running installation below ``root``; end everything afterwards, but leave the folder."""
    with ExitStack() as stack:
        engine = None
        if docker and not os.environ.get("SCALE_TEST_DOCKER_HOST"):
            # Containers outlive a kill of their engine, as they do where an administrator wants that.
            with suppress(RuntimeError):
                engine = stack.enter_context(docker_engine(live_restore=True))
        made = CrashInstallation(root, free_port(), engine, api_servers)
        try:
            made.prepare()
            made.start()
            yield made
        finally:
            made.stop()


def signal_quietly(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; tell whether there was somebody to take it."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def new_folder() -> Path:
    """Return a new folder for a run, with a short path, that PostgreSQL's user can get to."""
    folder = Path(tempfile.mkdtemp(prefix="scale-crash-"))
    folder.chmod(0o711)
    return folder


__all__ = ["CHECKOUT", "CrashInstallation", "crash_installation", "members", "new_folder", "signal_quietly"]
