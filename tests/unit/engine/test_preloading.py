# SPDX-License-Identifier: Apache-2.0
"""What tasks need is loaded in the processes that they are forks of, and only there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from airflow.jobs.job import Job

from scale_airflow.api_plugin.plugin import ScalePlugin
from scale_airflow.engine import preloading

NAME = "what_tasks_need"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / f"{NAME}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(preloading, "MODULES", ("scale_airflow.nothing", NAME))
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    return NAME


def test_long_lived_processes_load_it_as_far_as_it_is_there(module: str) -> None:
    preloading.on_starting(component=Job())
    assert module in sys.modules


def test_tasks_do_not(module: str) -> None:
    preloading.on_starting(component=object())
    assert module not in sys.modules


def test_all_that_is_named_is_there() -> None:
    assert ScalePlugin().listeners == [preloading]
    preloading.on_starting(component=Job())
    assert set(preloading.MODULES) <= set(sys.modules)
