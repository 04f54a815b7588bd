# SPDX-License-Identifier: Apache-2.0
"""One whole Airflow with Scale below one folder: its database, its processes, its life."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from demo import processes
from demo.client import Client
from demo.database import Database
from demo.environment import airflow_environment
from demo.errors import DemoError

CHECKOUT = Path(__file__).resolve().parent.parent
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Credentials:
    """How to log in as the administrator."""

    url: str
    username: str
    password: str

    def as_dict(self) -> dict[str, str]:
        """Return them as they stand in ``credentials.json``."""
        return asdict(self)


class Installation:
    """An Airflow with Scale whose whole state lies below ``folder``, reached on ``port``.

    Its life: :meth:`claim`, :meth:`prepare`, :meth:`start`, :meth:`stop`, :meth:`remove`. Another process
    finds it again by its folder.
    """

    def __init__(self, folder: Path, port: int):
        self.folder = folder
        self.port = port
        self.url = f"http://localhost:{port}"
        self._client: Client | None = None
        self._supervisor: subprocess.Popen[bytes] | None = None

    # -- what lies where ------------------------------------------------------------------------------------
    @property
    def logs(self) -> Path:
        """The logs of the processes."""
        return self.folder / "logs"

    @property
    def incoming(self) -> Path:
        """The folder that the example's Strike process watches."""
        return self.folder / "data" / "incoming"

    @property
    def dags(self) -> Path:
        """A folder of users' DAG files."""
        return self.folder / "dags"

    @property
    def data(self) -> Path:
        """The only folder below which workspaces and Strike directories may lie."""
        return self.folder / "data"

    @property
    def run_folder(self) -> Path:
        """A folder with a short path outside, for sockets; made by :meth:`claim`."""
        return Path(self._facts()["run_folder"])

    @property
    def database(self) -> Database:
        """The PostgreSQL server."""
        return Database(self.folder / "pg", self.run_folder)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes; with it, any ``airflow`` command works on this installation."""
        environment: dict[str, str] = json.loads((self.folder / "environment.json").read_text())
        return environment

    @property
    def credentials(self) -> Credentials:
        """How to log in."""
        return Credentials(self.url, **json.loads((self.folder / "admin.json").read_text()))

    @property
    def client(self) -> Client:
        """A client of its REST APIs, logged in as the administrator."""
        if self._client is None:
            login = self.credentials
            self._client = Client(login.url, login.username, login.password)
        return self._client

    def _facts(self) -> dict[str, str]:
        try:
            facts: dict[str, str] = json.loads((self.folder / "instance.json").read_text())
        except (OSError, ValueError):
            return {"run_folder": str(self.folder)}
        return facts

    # -- making it ------------------------------------------------------------------------------------------
    def claim(self) -> None:
        """Make the folder, so that no other installation takes it, and note that this process makes it."""
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o711)
        for name in ("airflow", "data/incoming", "data/raw", "data/products", "dags", "logs", "pids", "work"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "airflow").chmod(0o700)
        processes.remember(self.folder / "pids" / "maker", os.getpid())
        run_folder = tempfile.mkdtemp(prefix="scale-demo-")
        os.chmod(run_folder, 0o711)
        (self.folder / "instance.json").write_text(json.dumps({"run_folder": run_folder}))

    def prepare(
        self,
        setup: Path,
        *,
        scale: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        tell: Tell = print,
    ) -> None:
        """Start the database, make all tables, the administrator, Scale's own rows and the set-up.

        :param setup: the set-up document to apply.
        :param scale: options of ``[scale]`` beside or instead of the demonstration's.
        :param options: further environment variables (``AIRFLOW__…``).
        :raises DemoError: with the words of what failed.
        """
        tell("PostgreSQL")
        self.database.start()
        self._write_environment(scale or {}, options or {})
        password = secrets.token_urlsafe(12)
        self._write_private("admin.json", {"username": "admin", "password": password})
        tell("tables, administrator, permissions, the example's set-up")
        user = ["--username", "admin", "--firstname", "Demo", "--lastname", "Admin", "--role", "Admin"]
        self.airflow(
            ["db", "migrate"],
            ["users", "create", *user, "--email", "admin@example.org", f"--password={password}"],
            ["scale", "init"],
            ["scale", "sync-perms"],
            ["scale", "apply", str(setup)],
        )

    def _write_environment(self, scale: Mapping[str, str], options: Mapping[str, str]) -> None:
        mounts = {f"demo:/{name}": str(self.data / name) for name in ("incoming", "raw", "products")}
        environment = airflow_environment(
            self.folder,
            url=self.url,
            database_url=self.database.url,
            dags_folder=self.dags,
            scale={
                "allow_process_jobs": "True",
                "allowed_roots": str(self.data),
                "backend": "process",
                "mounts": json.dumps(mounts),
                "strike_sweep_interval": "2",
                "work_dir": str(self.folder / "work"),
                **scale,
            },
        )
        self._write_private("environment.json", {**environment, **options})
        script = self.folder / "airflow.sh"
        # The caller's working folder stays, for the files that it names.
        script.write_text(
            "#!/bin/sh\n# Airflow's command line for this demo, e.g.: airflow.sh scale check\n"
            f"exec {shlex.quote(sys.executable)} -c 'import sys; sys.path.insert(0, sys.argv.pop(1)); "
            f"from demo.__main__ import main; sys.exit(main())' {shlex.quote(str(CHECKOUT))} "
            f'airflow --port {self.port} -- "$@"\n'
        )
        script.chmod(0o755)

    def _write_private(self, name: str, content: object) -> None:
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=1)

    def airflow(self, *commands: Sequence[str], timeout: float = 300) -> str:
        """Run commands of ``airflow`` in one process, and return what they print.

        :raises DemoError: with the end of the output, when one fails.
        """
        done = subprocess.run(
            [sys.executable, "-I", "-u", str(CHECKOUT / "demo" / "commands.py")],
            input=json.dumps([list(command) for command in commands]),
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        with (self.logs / "commands.log").open("a") as log:
            log.write(done.stderr + done.stdout)
        if done.returncode != 0:
            told = f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
            raise DemoError(f"A command of Airflow failed:\n{told.strip()}", f"All of it: {self.logs}")
        return done.stdout

    # -- running it -----------------------------------------------------------------------------------------
    def start(self, *, tell: Tell = print, patience: float = 180) -> None:
        """Start every process and wait until all answer.

        :raises DemoError: if one does not; with the end of its log.
        """
        tell("API server, scheduler, DAG processor, triggerer, node agent")
        airflow = [sys.executable, "-m", "airflow"]
        services = [
            {"name": "api-server", "command": [*airflow, "api-server"]},
            {"name": "dag-processor", "command": [*airflow, "dag-processor"]},
            {"name": "triggerer", "command": [*airflow, "triggerer", "--skip-serve-logs"]},
            {"name": "node", "command": [*airflow, "scale", "node"]},
            # Its workers' first tasks would fail without an API server.
            {
                "name": "scheduler",
                "command": [*airflow, "scheduler", "--skip-serve-logs"],
                "waits_for": self.port,
            },
        ]
        (self.folder / "services.json").write_text(json.dumps(services))
        self._supervisor = supervisor = processes.spawn(
            [sys.executable, "-m", "demo.supervisor", str(self.folder)],
            self.environment,
            self.logs / "supervisor.log",
            CHECKOUT,
        )
        processes.remember(self.folder / "pids" / "supervisor.json", supervisor.pid)
        deadline = time.monotonic() + patience
        missing = "the API server"
        while missing:
            if supervisor.poll() is not None:
                raise DemoError("The supervisor ended.", processes.tail(self.logs / "supervisor.log"))
            self._refuse_failing()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"After {patience:.0f} s there is still no sign of {missing}.", f"See {self.logs}."
                )
            time.sleep(0.25)
            missing = self.client.missing()

    def _refuse_failing(self) -> None:
        ended = [
            line.split()[1]
            for line in processes.tail(self.logs / "supervisor.log", 200).splitlines()
            if " ended with " in line
        ]
        for name in ended:
            if ended.count(name) >= 2:
                log = self.logs / f"{name}.log"
                raise DemoError(
                    f"The {name} ends again and again:\n{processes.tail(log)}", f"All of it: {log}"
                )

    def is_alive(self) -> bool:
        """Say whether it runs, or is being made."""
        pids = self.folder / "pids"
        return any(processes.find(pids / name) for name in ("supervisor.json", "maker"))

    def settled(self) -> None:
        """Say that it is made: from now on it lives as long as its supervisor."""
        (self.folder / "pids" / "maker").unlink(missing_ok=True)

    def stop(self) -> None:
        """End every process; the state stays."""
        pids = self.folder / "pids"
        for name in ("maker", "supervisor.json"):
            process = processes.find(pids / name)
            if process is not None and process.pid != os.getpid():
                # The supervisor gives its services time to end.
                processes.end([process], patience=30)
        if self._supervisor is not None:
            self._supervisor.wait(5)
        processes.end(processes.descendants(pids, self.folder), patience=5)
        self.database.stop()

    def remove(self) -> None:
        """End every process, and remove the state."""
        self.stop()
        run_folder = self.run_folder
        if run_folder != self.folder:
            shutil.rmtree(run_folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
