# SPDX-License-Identifier: Apache-2.0
"""Nodes: offline when their agent stops or dies, back as themselves, and never two agents as one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from world import AGENT, HOST, World, interface

from scale_airflow.config import settings
from scale_airflow.errors import Conflict
from scale_airflow.execution.order import NodeBeat
from scale_airflow.services import nodes
from scale_airflow.services.admission import is_online
from scale_airflow.services.events import user_event
from scale_airflow.services.node_control import change_node, node_details
from scale_airflow.services.queue import queue_job
from scale_airflow.services.system_status import system_status
from scale_airflow.store.models import Job, Node, utcnow


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


def beat(world: World, run: str = "", *, agent: str = AGENT, host: str = HOST, **fields: Any) -> int:
    given: dict[str, Any] = {"cpus": 8.0, "mem_mib": 16384.0, "disk_mib": 100000.0, **fields}
    report = NodeBeat(
        agent_id=agent,
        hostname=host,
        port=8793,
        executions=(),
        work_dir_executions=(),
        run=run,
        **given,
    )
    answer = nodes.beat(world.session, report, world.settings)
    world.session.commit()
    return answer.node_id


def the_node(world: World) -> Node:
    world.session.expire_all()
    return world.session.scalars(select(Node)).one()


def silent(world: World, **time: float) -> None:
    world.session.execute(update(Node).values(last_offer=utcnow() - timedelta(**time)))
    world.session.commit()


def waiting(world: World) -> Job:
    job_type = world.job_type("one", interface({}, {}))
    job = queue_job(world.session, job_type=job_type, data={}, event=user_event(world.session, "me"))
    world.session.commit()
    world.dispatch()
    return job


def test_what_the_agent_says_is_what_the_node_has(world: World) -> None:
    beat(world, cpus=1.5, mem_mib=512.0, disk_mib=7.0, gpus=2)
    node = the_node(world)
    assert (node.cpus, node.mem_mib, node.disk_mib, node.gpus) == (1.5, 512.0, 7.0, 2)
    assert is_online(node, settings())


def test_an_agent_that_stops_says_so_at_once_and_comes_back_as_itself(world: World) -> None:
    job = waiting(world)
    number = beat(world, "first")
    beat(world, "first", is_leaving=True)
    assert not is_online(the_node(world), settings())
    assert not node_details(world.session, number, settings()).is_connected
    assert world.claim(job).reason == (
        "Node worker-1 is offline: its agent (`airflow scale node`) was stopped."
    )
    assert beat(world, "second") == number
    assert is_online(the_node(world), settings())
    assert world.claim(job).answer == "go"


def test_an_agent_that_was_killed_is_missed_and_comes_back_as_itself(world: World) -> None:
    job = waiting(world)
    number = beat(world, "first")
    silent(world, seconds=14)
    assert is_online(the_node(world), settings())
    silent(world, seconds=16)
    assert not is_online(the_node(world), settings())
    assert "has not been heard of" in str(world.claim(job).reason)
    assert beat(world, "second") == number
    assert world.claim(job).answer == "go"


def test_a_job_goes_on_while_its_agent_is_stopped(world: World) -> None:
    job = waiting(world)
    beat(world, "first")
    order = world.claim(job).order
    assert order is not None
    beat(world, "first", is_leaving=True)
    world.beat(agent="agent-2", host="worker-2")
    world.task(job).prepare_db_for_next_try(world.session)
    world.session.commit()
    elsewhere = world.claim(job, agent="agent-2", host="worker-2")
    assert elsewhere.answer == "wait", "it is not lost yet"
    assert "silent" in str(elsewhere.reason)
    assert world.complete(order).decision == "done"


def test_a_host_that_was_renamed_is_still_that_node(world: World) -> None:
    number = beat(world, "first")
    beat(world, "first", is_leaving=True)
    assert beat(world, "second", host="renamed") == number
    assert the_node(world).hostname == "renamed"
    silent(world, minutes=1)  # killed, this time
    assert beat(world, "third", host="again") == number
    assert the_node(world).hostname == "again"


def test_two_hosts_with_one_id_are_told_apart(world: World) -> None:
    beat(world, "first")
    with pytest.raises(Conflict, match=r"beats on the host worker-1 too.*work_dir.*agent_id"):
        beat(world, "second", host="copy")
    world.session.rollback()
    assert the_node(world).hostname == HOST
    beat(world, "first")
    change_node(world.session, the_node(world).id, {"hostname": "by-hand"})
    world.session.commit()
    beat(world, "first")
    assert the_node(world).hostname == HOST, "the agent knows better"


def test_a_node_out_of_service_stays_so_whoever_beats(world: World) -> None:
    number = beat(world, "first")
    change_node(world.session, number, {"is_active": False})
    world.session.commit()
    assert beat(world, "first", host="renamed") == number
    assert not the_node(world).is_active
    job = waiting(world)
    assert "is not active" in str(world.claim(job, host="renamed").reason)
    change_node(world.session, number, {"is_active": True})
    world.session.commit()
    assert world.claim(job, host="renamed").answer == "go"


def test_the_status_counts_what_is_online(world: World) -> None:
    world.beat(agent="agent-2", host="worker-2", cpus=4.0)
    job = waiting(world)
    assert world.claim(job).answer == "go"
    found = system_status(world.session)
    assert found.total is not None
    assert found.scheduled is not None
    assert (found.total.cpus, found.scheduled.cpus) == (12.0, 1.0)
    assert found.queue_depth == 0
    beat(world, is_leaving=True)
    found = system_status(world.session)
    assert found.total is not None
    assert found.scheduled is not None
    assert (found.total.cpus, found.scheduled.cpus) == (4.0, 0.0)
    beat(world, agent="agent-2", host="worker-2", is_leaving=True)
    assert system_status(world.session).total is None
