# SPDX-License-Identifier: Apache-2.0
"""The status of the whole system."""

from __future__ import annotations

import httpx
from sqlalchemy import text
from sqlalchemy.orm import Session
from world import World

from scale_airflow.store.models import Scheduler

API = "/scale/api"


def test_with_a_node(client: httpx.Client, world: World, viewer: dict[str, str]) -> None:
    world.session.get_one(Scheduler, 1).is_paused = True
    world.session.execute(
        text(
            "INSERT INTO job (job_type, state, hostname, latest_heartbeat, start_date) "
            "VALUES ('SchedulerJob', 'running', 'there', now(), now())"
        )
    )
    world.session.commit()
    shown = client.get(f"{API}/status/", headers=viewer).json()
    assert list(shown) == ["master", "scheduler", "queue_depth", "resources"]
    assert shown["master"]["is_online"] is True
    assert shown["scheduler"] == {"is_online": True, "is_paused": True, "hostname": "there"}
    assert shown["queue_depth"] == 0
    nothing = {"cpus": 0.0, "mem": 0.0, "disk": 0.0}
    assert shown["resources"] == {
        "total": {"cpus": 8.0, "mem": 16384.0, "disk": 100000.0},
        "scheduled": nothing,
        "used": nothing,
    }


def test_with_nothing(client: httpx.Client, session: Session, viewer: dict[str, str]) -> None:
    shown = client.get(f"{API}/status/", headers=viewer).json()
    assert shown["scheduler"] == {"is_online": False, "is_paused": False, "hostname": None}
    assert "resources" not in shown
