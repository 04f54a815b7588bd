# SPDX-License-Identifier: Apache-2.0
"""What tasks need is loaded in the processes that they are forks of, and only there."""

from __future__ import annotations

import importlib
import sys

import pytest
from airflow.jobs.job import Job

from scale_airflow.api_plugin.plugin import ScalePlugin
from scale_airflow.engine import preloading


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    real = importlib.import_module

    def load(name: str) -> object:
        names.append(name)
        return real(name)

    monkeypatch.setattr(preloading.importlib, "import_module", load)
    return names


def test_long_lived_processes_load_it(loaded: list[str]) -> None:
    (listener,) = ScalePlugin().listeners
    loaded.clear()
    listener.on_starting(component=Job())
    assert loaded == list(preloading.MODULES)
    assert set(loaded) <= set(sys.modules)


def test_tasks_do_not(loaded: list[str]) -> None:
    preloading.on_starting(component=object())
    assert loaded == []


def test_what_is_missing_stops_nobody(loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preloading, "MODULES", ("scale_airflow.nothing", "scale_airflow.errors"))
    preloading.on_starting(component=Job())
    assert loaded == ["scale_airflow.nothing", "scale_airflow.errors"]
