# SPDX-License-Identifier: Apache-2.0
"""API servers alone, each on a database of its own of the same PostgreSQL: nothing else of Airflow runs."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import requests

from measuring.installation import PATIENCE, end_by_signal, wait_for
from measuring.isolation import CHECKOUT

# The demo is a package of the checkout.
sys.path.append(str(CHECKOUT))

from demo import processes
from demo.client import Client
from demo.installation import Installation
from demo.instances import is_free


class Site:
    """An installation whose databases are copies of its first one, and whose API servers are started here."""

    def __init__(self, installation: Installation):
        self.installation = installation

    def connect(self, database: str = "airflow") -> Any:
        """Return a connection to a database; the caller closes it."""
        folder = str(self.installation.database.socket_folder)
        return psycopg2.connect(host=folder, user="postgres", dbname=database)

    def copy(self, name: str) -> None:
        """Make a database that is a copy of the first; nobody may be connected to that."""
        connection = self.connect("postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE airflow")
        connection.close()

    def tidy(self, name: str) -> None:
        """Do what PostgreSQL's autovacuum does sooner or later: not while time is taken."""
        connection = self.connect(name)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")
        connection.close()

    def serve(self, database: str) -> Client:
        """Start an API server on a database; return a client of it that is logged in."""
        folder = self.installation.folder
        port = free_port()
        url = f"http://localhost:{port}"
        environment = {
            **self.installation.environment,
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.installation.database.url.replace(
                "/airflow?", f"/{database}?"
            ),
        }
        log = self.installation.logs / f"{database}.log"
        server = processes.spawn([sys.executable, "-m", "airflow", "api-server"], environment, log, folder)
        processes.remember(folder / "pids" / f"{database}.json", server.pid)
        login = self.installation.credentials
        client = Client(url, login.username, login.password)

        def answers() -> bool:
            if server.poll() is not None:
                raise RuntimeError(f"The API server ended:\n{processes.tail(log)}")
            try:
                return client.request("GET", "/scale/api/version/").status_code == requests.codes.ok
            except requests.RequestException:
                return False

        wait_for(answers, f"API server on {database}", pause=0.25, patience=PATIENCE)
        return client


def free_port() -> int:
    """Return a port that nobody listens on."""
    return next(port for port in iter(lambda: random.randrange(20_000, 32_000), None) if is_free(port))


@contextmanager
def running_site(dag_files: Sequence[Path], scale: Mapping[str, str]) -> Iterator[Site]:
    """Start PostgreSQL, make all tables and read users' DAG files; remove everything afterwards.

    :param scale: options of ``[scale]``.
    """
    signal.signal(signal.SIGTERM, end_by_signal)
    root = Path(tempfile.mkdtemp(prefix="scale-bench-"))
    root.chmod(0o711)
    installation = Installation(root / "i", free_port())
    installation.claim()
    try:
        setup = root / "setup.json"
        setup.write_text('{"version": "1.0"}')
        for file in dag_files:
            shutil.copy(file, installation.dags)
        installation.prepare(setup, scale=scale, tell=lambda _: None)
        installation.airflow(["dags", "reserialize", "--bundle-name", "dags-folder"])
        yield Site(installation)
    finally:
        installation.remove()
        shutil.rmtree(root, ignore_errors=True)
