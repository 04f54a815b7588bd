# SPDX-License-Identifier: Apache-2.0
"""What a worker's host says about its Docker engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_engine import Engine
from unit.execution.fake_runtime import make_settings

from scale_airflow.config import Settings
from scale_airflow.services import host_checks


@pytest.fixture
def configured(tmp_path: Path, engine: Engine) -> Settings:
    made = make_settings(tmp_path, backend="docker", docker_url=engine.url)
    made.work_dir.mkdir(parents=True, exist_ok=True)
    return made


def containers(engine: Engine) -> int:
    client = engine.client()
    try:
        return len(client.containers(all=True))
    finally:
        client.close()


def test_an_engine_that_sees_the_work_folder(configured: Settings, engine: Engine) -> None:
    before = containers(engine)
    found = host_checks.check_engine(configured)
    answers = next(each for each in found if each.subject == "engine")
    assert (answers.level, "Docker engine" in answers.problem) == ("ok", True)
    assert [each.level for each in found if each.subject == "work_dir"] == ["ok"]
    assert containers(engine) == before
    assert [*configured.work_dir.iterdir()] == []


def test_an_engine_that_sees_another_folder_there(
    configured: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def elsewhere(_: Path) -> Iterator[Path]:
        yield tmp_path / "only the worker sees this"

    monkeypatch.setattr(host_checks, "_probe", elsewhere)
    (found,) = (each for each in host_checks.check_engine(configured) if each.subject == "work_dir")
    assert (found.level, "one folder under one path" in found.remedy) == ("error", True)


def test_an_engine_that_is_too_old(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_checks, "OLDEST_ENGINE_API", (99, 0))
    found = host_checks.check_engine(configured)
    assert (found[0].level, "too old" in found[0].problem) == ("error", True)
