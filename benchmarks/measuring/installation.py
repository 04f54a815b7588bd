# SPDX-License-Identifier: Apache-2.0
"""A whole Airflow with Scale for one benchmark, started as the demo is, in a temporary folder."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
import requests

from measuring.isolation import CHECKOUT

# The demo and the tests' Docker engine are packages of the checkout.
sys.path.append(str(CHECKOUT))

from demo.installation import Installation
from demo.instances import is_free

PATIENCE = 300.0
"""Seconds after which what does not come counts as lost."""

T = TypeVar("T")


class Running:
    """A running installation, and what benchmarks do with it again and again."""

    def __init__(self, installation: Installation):
        self.installation = installation
        self.client = installation.client
        self._connection: Any = None

    def query(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement on the metadata database, in a transaction of its own."""
        if self._connection is None:
            self._connection = psycopg2.connect(
                host=str(self.installation.database.socket_folder), user="postgres", dbname="airflow"
            )
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return list(cursor.fetchall()) if cursor.description else []

    def create_job_type(self, name: str, command: str, arguments: str, **more: Any) -> int:
        """Create a job type without files; return its id.

        :param more: fields of the document; ``input_data`` is the interface's.
        """
        interface = {
            "version": "1.0",
            "command": command,
            "command_arguments": arguments,
            "input_data": more.pop("input_data", []),
            "output_data": [],
        }
        document = {
            "name": name,
            "version": "1.0.0",
            "title": name,
            "description": "",
            "category": "benchmark",
            "max_tries": 1,
            "timeout": 600,
            "cpus_required": 0.25,
            "mem_required": 128.0,
            "docker_image": "none",
            **more,
            "interface": interface,
        }
        return int(self.client.post("job-types/", document)["id"])

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any] | None = None) -> None:
        """Start a run of a user's DAG as Airflow's users do, through its REST API."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
        self.client.airflow("POST", f"dags/{dag_id}/dagRuns", json=body)

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until Airflow has read a user's DAG file."""

        def look() -> bool:
            return self.client.request("GET", f"/api/v2/dags/{dag_id}").status_code == requests.codes.ok

        wait_for(look, f"DAG {dag_id}")

    def close(self) -> None:
        """Close the connection to the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run_script(self, script: Path, *arguments: object, timeout: float = 600) -> Any:
        """Run a script in a process of the installation; return the JSON of its last line of output."""
        done = subprocess.run(
            [sys.executable, str(script), *map(str, arguments)],
            env=self.installation.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if done.returncode:
            raise RuntimeError(f"{script.name} failed:\n{(done.stdout + done.stderr)[-4000:]}")
        return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def running_installation(
    dag_files: Sequence[Path] = (),
    *,
    scale: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Start an installation and remove it afterwards.

    :param dag_files: users' DAG files, for the other side of the comparison.
    :param scale: options of ``[scale]``.
    :param options: further environment variables (``AIRFLOW__…``).
    """
    signal.signal(signal.SIGTERM, end_by_signal)
    root = Path(tempfile.mkdtemp(prefix="scale-bench-"))
    root.chmod(0o711)
    port = next(port for port in iter(lambda: random.randrange(20_000, 32_000), None) if is_free(port))
    installation = Installation(root / "i", port)
    installation.claim()
    running = None
    try:
        setup = root / "setup.json"
        setup.write_text('{"version": "1.0"}')
        for file in dag_files:
            shutil.copy(file, installation.dags)
        print("Starting PostgreSQL and Airflow …", flush=True)
        installation.prepare(setup, scale=scale, options=options, tell=_quiet)
        installation.start(tell=_quiet)
        running = Running(installation)
        yield running
    finally:
        if running is not None:
            running.close()
        installation.remove()
        shutil.rmtree(root, ignore_errors=True)


def wait_for(look: Callable[[], T], what: str, *, pause: float = 0.05, patience: float = PATIENCE) -> T:
    """Look again and again until there is something, and return it.

    :raises TimeoutError: after ``patience`` seconds, naming ``what`` is missing.
    """
    deadline = time.monotonic() + patience
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {patience:.0f} s there is still no {what}")
        time.sleep(pause)
    return found


def end_by_signal(*_: object) -> None:
    """Leave by way of what cleans up: nothing of the installation outlives the benchmark."""
    sys.exit(128 + signal.SIGTERM)


def _quiet(_: str) -> None:
    """Say nothing: what is done stands in the benchmark's own lines."""
