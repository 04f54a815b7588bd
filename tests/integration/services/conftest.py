# SPDX-License-Identifier: Apache-2.0
"""The installation that the tests of the services work in."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow_hand import AirflowHand
from sqlalchemy.orm import Session
from world import World


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # However slow the machine is, the node counts as heard of.
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "600")
    made = World(session)
    made.install(tmp_path)
    return made


@pytest.fixture
def hand(world: World) -> AirflowHand:
    return AirflowHand(world.session)
