# SPDX-License-Identifier: Apache-2.0
"""``airflow scale check --worker`` on a host that has no database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.execution.fake_runtime import fake_runtime


def test_the_command_needs_no_database(
    scale: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql+psycopg2://nobody@/none?host=/no")
    monkeypatch.setenv("AIRFLOW__SCALE__WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setenv("AIRFLOW__SCALE__BACKEND", "process")
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    with fake_runtime() as server:
        connection = {"conn_type": "scale", "host": server.url, "password": "the-secret"}
        monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(connection))
        server.script["/runtime/places/"] = (200, {"workspaces": {}, "strikes": {}})
        outcome = scale("check", "--worker")
    assert outcome.code == 0, outcome.out + outcome.err
    assert "ok: connection scale_default: The API server answers and takes the secret." in outcome.out
    assert "warning: node agent" in outcome.out
    assert "0 errors, 1 warning." in outcome.err
