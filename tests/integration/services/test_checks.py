# SPDX-License-Identifier: Apache-2.0
"""Checks: what is wrong with an installation, each with a remedy; what is right is said too."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text, update
from sqlalchemy.orm import Session as PlainSession

from scale_airflow.config import settings
from scale_airflow.services import checks, installation, workspaces
from scale_airflow.services.checks import Finding
from scale_airflow.store.models import Node, Scheduler, utcnow

from .documents import workspace

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@pytest.fixture
def installed(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__SCALE__WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setenv("AIRFLOW__SCALE__BACKEND", "process")
    installation.initialize(session)
    return session


def of(found: list[Finding], subject: str) -> list[str]:
    return [finding.level for finding in found if finding.subject == subject]


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def test_everything_is_looked_at(installed: Session) -> None:
    found = checks.check_installation(installed)
    levels = {finding.subject: finding.level for finding in found}
    assert levels["database"] == "ok"
    assert levels["initialization"] == "ok"
    assert levels["connection scale_default"] == "ok"
    assert levels["dag bundle"] == "ok"
    assert levels["work_dir"] == "ok"
    assert levels["allowed_roots"] == "ok"
    assert levels["clock"] == "ok"
    assert levels["files"] == "ok"
    assert levels["backend"] == "ok"
    assert levels["scheduler"] == levels["tick"] == levels["nodes"] == "warning"
    assert all(finding.remedy for finding in found if finding.level != "ok")
    assert "secret" not in "".join(finding.problem for finding in found)


def test_database(installed: Session) -> None:
    with PlainSession(create_engine("sqlite://")) as other:
        found = checks.check_installation(other)
        assert of(found, "database") == ["error"]
        assert of(found, "connection scale_default") == [], "needs the tables"
    with PlainSession(create_engine("postgresql+psycopg2://nobody@/none?host=/nowhere")) as other:
        finding = only(checks.check_database(other))
        assert finding.level == "error"
        assert "sql_alchemy_conn" in finding.remedy
    installed.execute(text("ALTER TABLE scale_job_log RENAME TO elsewhere"))
    assert "scale_job_log" in only(checks.check_database(installed)).problem
    installed.rollback()
    installed.execute(text("UPDATE alembic_version_scale SET version_num = 'older'"))
    assert "another release" in only(checks.check_database(installed)).problem


def test_not_initialized(session: Session) -> None:
    assert only(checks.check_initialized(session)).level == "error"
    assert "airflow scale init" in only(checks.check_connection(session)).remedy


def test_connection(installed: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", "scale://elsewhere")
    assert only(checks.check_connection(installed)).level == "warning"
    monkeypatch.delenv("AIRFLOW_CONN_SCALE_DEFAULT")
    installed.execute(text("UPDATE connection SET password = NULL"))
    assert only(checks.check_connection(installed)).level == "error"
    installed.execute(text("UPDATE connection SET password = 'garbage', is_encrypted = true"))
    installed.expire_all()
    finding = only(checks.check_connection(installed))
    assert "fernet_key" in finding.remedy
    assert "garbage" not in finding.problem
    installed.execute(text("UPDATE connection SET conn_type = 'http', is_encrypted = false"))
    installed.expire_all()
    assert "'http'" in only(checks.check_connection(installed)).problem


def test_options_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "30")
    monkeypatch.setenv("AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE", "20")
    monkeypatch.setenv("AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME", "1")
    monkeypatch.setenv("AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS", "3")
    found = checks.check_airflow_options()
    assert [finding.level for finding in found] == ["error", "warning", "warning", "warning"]
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    monkeypatch.setenv("AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE", "200")
    monkeypatch.setenv("AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME", "0.1")
    monkeypatch.setenv("AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS", "60")
    assert only(checks.check_airflow_options()).level == "ok"
    monkeypatch.setenv(
        "AIRFLOW__CORE__AUTH_MANAGER",
        "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    )
    assert "sync-perms" in only(checks.check_airflow_options()).remedy


def test_wrong_option_of_ours(installed: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SCALE__BACKEND", "podman")
    finding = only(checks.check_installation(installed))
    assert (finding.level, finding.subject) == ("error", "configuration")
    assert "podman" in finding.problem


def test_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AIRFLOW__SCALE__WORK_DIR", str(tmp_path / "file" / "work"))
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", "")
    found = checks.check_directories(settings())
    assert of(found, "work_dir") == ["error"]
    assert of(found, "allowed_roots") == ["error"]
    roots = [str(tmp_path), str(tmp_path / "missing"), "relative"]
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", os.pathsep.join(roots))
    assert of(checks.check_directories(settings()), "allowed_roots") == ["ok", "warning", "error"]
    mounts = {"nas:/raw": str(tmp_path), "nas:/products": str(tmp_path / "missing")}
    monkeypatch.setenv("AIRFLOW__SCALE__MOUNTS", json.dumps(mounts))
    assert of(checks.check_directories(settings()), "mounts") == ["warning"]


def test_storage(installed: Session, tmp_path: Path) -> None:
    workspaces.create_workspace(installed, workspace("there", str(tmp_path)))
    workspaces.create_workspace(installed, workspace("missing", str(tmp_path / "missing")))
    workspaces.create_workspace(installed, workspace("forbidden", "/usr"))
    found = checks.check_storage(installed, settings())
    levels = {finding.subject: finding.level for finding in found}
    assert levels == {
        "workspace there": "ok",
        "workspace missing": "warning",
        "workspace forbidden": "warning",
    }


def test_processes(installed: Session) -> None:
    installed.execute(update(Scheduler).values(last_tick=utcnow(), is_paused=True))
    installed.add(Node(hostname="a", slave_id="a", last_offer=utcnow()))
    installed.flush()
    found = checks.check_processes(installed)
    assert of(found, "tick") == ["ok", "warning"]
    assert of(found, "nodes") == ["ok"]
    installed.execute(update(Scheduler).values(last_tick=utcnow() - timedelta(hours=1), is_paused=False))
    installed.execute(update(Node).values(last_offer=utcnow() - timedelta(hours=1)))
    installed.expire_all()
    found = checks.check_processes(installed)
    assert of(found, "tick") == of(found, "nodes") == ["warning"]


def test_backend(installed: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOW_PROCESS_JOBS", "False")
    assert only(checks.check_backend(settings())).level == "error"
    monkeypatch.setenv("AIRFLOW__SCALE__BACKEND", "docker")
    monkeypatch.setenv("AIRFLOW__SCALE__DOCKER_URL", f"unix://{tmp_path}/no-engine.sock")
    assert only(checks.check_backend(settings())).level == "error"
    finding = only(checks.check_backend(settings(), installed))
    assert finding.level == "warning", "no job type needs one yet"
    assert "docker_url" in finding.remedy
