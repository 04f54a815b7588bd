# SPDX-License-Identifier: Apache-2.0
"""A Strike process to watch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from strike_world import StrikeWorld
from world import World


@pytest.fixture(scope="session", autouse=True)
def _fab_is_imported() -> None:
    """Import what Airflow imports when it first stores a DAG under FAB; its warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import airflow.providers.fab.www.security_appless  # noqa: F401


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    from scale_airflow.engine.bundle_row import configured_bundle

    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__SCALE__DAGS_DIR", str(tmp_path / "dags"))
    configured_bundle.cache_clear()
    made = World(session)
    made.install(tmp_path / "data")
    yield made
    configured_bundle.cache_clear()


@pytest.fixture
def inbox(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StrikeWorld:
    """A Strike process that stores ``*.h5`` in the workspace ``raw``."""
    made = StrikeWorld.make(world, tmp_path / "data")
    made.points.patch(monkeypatch)
    return made
