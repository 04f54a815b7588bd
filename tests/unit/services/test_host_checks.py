# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a worker's host, each with its remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from unit.execution.fake_runtime import FakeRuntime, fake_runtime, make_settings

from scale_airflow.config import Settings
from scale_airflow.execution import host
from scale_airflow.hooks.client import RuntimeClient
from scale_airflow.services import host_checks
from scale_airflow.services.checks import Finding


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    return make_settings(tmp_path, backend="process", allow_process_jobs=True)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRuntime]:
    with fake_runtime() as server:
        connection = {"conn_type": "scale", "host": server.url, "password": "the-secret"}
        monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(connection))
        server.script["/runtime/places/"] = (200, {"workspaces": {}, "strikes": {}})
        server.script["/version/"] = (401, {"detail": "no"})
        yield server


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def test_a_host_that_is_fit(configured: Settings, runtime: FakeRuntime) -> None:
    configured.work_dir.mkdir(parents=True, exist_ok=True)
    with host.only_agent(configured.work_dir):
        found = host_checks.check_host(configured)
    levels = {(each.subject, each.level) for each in found if each.subject != "allowed_roots"}
    assert {subject for subject, _ in levels} == {
        *("work_dir", "node agent", "engine", "connection scale_default", "clock")
    }
    assert {level for _, level in levels} == {"ok"}
    assert [*configured.work_dir.iterdir()] == [configured.work_dir / ".agent_lock"]
    assert "the-secret" not in str(found)


def test_no_agent(configured: Settings) -> None:
    configured.work_dir.mkdir(parents=True, exist_ok=True)
    found = only(host_checks.check_agent(configured))
    assert (found.level, "airflow scale node" in found.remedy) == ("warning", True)


def test_a_work_folder_that_is_no_good(
    configured: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    found = only(host_checks.check_work_dir(make_settings(tmp_path, work_dir=tmp_path / "file" / "work")))
    assert (found.level, "can't be written" in found.problem) == ("error", True)
    found = only(host_checks.check_work_dir(make_settings(tmp_path, work_dir=Path("work"))))
    assert (found.level, "not an absolute path" in found.problem) == ("error", True)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 << 20))
    found = only(host_checks.check_work_dir(configured))
    assert (found.level, "has 100 MiB left" in found.problem) == ("warning", True)


def test_a_backend_that_can_not_run(tmp_path: Path) -> None:
    wrong = make_settings(tmp_path, backend="process", allow_process_jobs=False)
    assert only(host_checks.check_engine(wrong)).level == "error"
    away = make_settings(tmp_path, backend="docker", docker_url=f"unix://{tmp_path}/none.sock")
    found = only(host_checks.check_engine(away))
    assert (found.level, "docker_url" in found.remedy) == ("error", True)


def test_a_secret_that_was_rotated(configured: Settings, runtime: FakeRuntime) -> None:
    runtime.script["/runtime/places/"] = (401, {"detail": "no"})
    found = only(host_checks.check_server(configured))
    assert (found.level, "rotate-secret" in found.remedy) == ("error", True)


def test_the_directories_of_workspaces(configured: Settings, runtime: FakeRuntime, tmp_path: Path) -> None:
    (root,) = configured.allowed_roots
    (root / "here").mkdir(parents=True)
    workspaces = {
        name: {"version": "1.0", "broker": {"type": "host", "path": str(path)}}
        for name, path in {"here": root / "here", "away": root / "away", "open": "/usr"}.items()
    }
    strike = {"version": "1.0", "mount": str(root / "drop"), "transfer_suffix": "_tmp"}
    strike["files_to_ingest"] = [{"filename_regex": ".*", "workspace_path": "x", "workspace_name": "here"}]
    answer = {"workspaces": workspaces, "strikes": {"drop": strike}}
    runtime.script["/runtime/places/"] = (200, answer)
    found = {each.subject: each for each in host_checks.check_server(configured)}
    assert found["workspace here"].level == "ok"
    for subject in ("workspace away", "workspace open", "Strike process drop"):
        assert (found[subject].level, "allowed_roots" in found[subject].remedy) == ("warning", True)


def test_a_server_that_is_another(configured: Settings, runtime: FakeRuntime) -> None:
    runtime.script["/runtime/places/"] = (200, ["hello"])
    assert "is it Scale's?" in only(host_checks.check_server(configured)).problem


def test_a_server_elsewhere(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    away = {"conn_type": "scale", "host": "http://127.0.0.1:1", "password": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(away))
    found = only(host_checks.check_server(configured))
    assert (found.level, "as this host reaches it" in found.remedy) == ("error", True)
    monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", "scale://")
    assert only(host_checks.check_server(configured)).level == "error"


@pytest.mark.parametrize(("seconds", "what"), [(60, "behind"), (-60, "ahead of"), (0, None), (3, None)])
def test_the_clock(
    configured: Settings,
    runtime: FakeRuntime,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    what: str | None,
) -> None:
    def clock(_: Any) -> datetime:
        return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).replace(microsecond=0)

    monkeypatch.setattr(RuntimeClient, "clock", clock)
    found = host_checks.check_server(configured)[1]
    assert found.subject == "clock"
    assert found.level == ("ok" if what is None else "error")
    assert what is None or f"{what} the API server" in found.problem


def test_the_server_tells_its_time(runtime: FakeRuntime) -> None:
    client = RuntimeClient(runtime.url, "secret")
    told = client.clock()
    client.close()
    assert told is not None
    assert abs(datetime.now(timezone.utc) - told) < timedelta(minutes=1)
