# SPDX-License-Identifier: Apache-2.0
"""The migrations and the models are the same schema, and come with Airflow's own commands."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import psycopg2
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from scale_airflow.store.manager import ScaleDBManager
from scale_airflow.store.models import Base


def _only_ours(_object: object, name: str | None, kind: str, *_rest: object) -> bool:
    return kind != "table" or name in Base.metadata.tables


def _differences(url: str) -> list[object]:
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": ScaleDBManager.version_table_name,
                "include_object": _only_ours,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        found = list(compare_metadata(context, Base.metadata))
    engine.dispose()
    return found


def _schema(url: str) -> dict[str, Any]:
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT tablename, indexname, indexdef FROM pg_indexes "
                "WHERE tablename LIKE 'scale\\_%' ORDER BY 1, 2"
            )
        ).all()
        checks = connection.execute(
            text(
                "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE conrelid::regclass::text LIKE 'scale\\_%' ORDER BY 1, 2"
            )
        ).all()
        triggers = connection.execute(
            text(
                "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(t.oid), tgenabled, "
                "pg_get_functiondef(tgfoid) FROM pg_trigger t "
                "WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'scale\\_%' ORDER BY 1, 2"
            )
        ).all()
        options = connection.execute(
            text("SELECT relname, reloptions FROM pg_class WHERE relname LIKE 'scale\\_%' ORDER BY 1")
        ).all()
        columns = {
            name: [
                (column["name"], str(column["type"]), column["nullable"])
                for column in inspect(connection).get_columns(name)
            ]
            for name in sorted(Base.metadata.tables)
        }
    engine.dispose()
    return {
        "indexes": [tuple(row) for row in rows],
        "constraints": [tuple(row) for row in checks],
        "triggers": [tuple(row) for row in triggers],
        "options": [tuple(row) for row in options],
        "columns": {name: sorted(found) for name, found in columns.items()},
    }


def test_models_equal_the_migrated_schema(airflow_db: str) -> None:
    assert _differences(airflow_db) == []


def test_migration_files_make_the_same_schema_and_go_back(airflow_db: str) -> None:
    """A fresh install is made from the models; an upgrade runs the migration files: both must agree."""
    host = airflow_db.partition("host=")[2]
    admin = psycopg2.connect(user="postgres", host=host, dbname="postgres")
    admin.autocommit = True
    admin.cursor().execute("CREATE DATABASE migrated")
    url = airflow_db.replace("/airflow?", "/migrated?")
    environment = {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}

    def airflow(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    try:
        airflow("db", "migrate", "--use-migration-files")
        schema = _schema(url)
        assert schema == _schema(airflow_db)
        assert len(schema["triggers"]) == 8
        manager = "scale_airflow.store.manager.ScaleDBManager"
        environment["AIRFLOW__DATABASE__EXTERNAL_DB_MANAGERS"] = manager
        airflow("db-manager", "downgrade", manager, "--to-revision", "base", "--yes")
        engine = create_engine(url)
        left = [name for name in inspect(engine).get_table_names() if name.startswith("scale_")]
        engine.dispose()
        assert left == []
    finally:
        admin.cursor().execute("DROP DATABASE IF EXISTS migrated WITH (FORCE)")
        admin.close()
