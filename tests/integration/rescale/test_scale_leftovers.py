# SPDX-License-Identifier: Apache-2.0
"""What a dead worker's host has left running at Rescale ends there, by the API server's hand."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rescale_bench import HARDWARE, POLICY, await_true
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from work import lone_job, started
from world import World

from scale_airflow.api_plugin.remote_endings import RemoteEndings
from scale_airflow.execution.order import ExecutionOrder
from scale_airflow.execution.remote_leftovers import end_marked
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.endpoints import create_job, submit_job
from scale_airflow.rescale.submission import Marker
from scale_airflow.services.jobs import cancel_job
from scale_airflow.store.models import JobExecution, RemoteJob, utcnow


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "rescale", pace=0.002) as running:
        yield running


@pytest.fixture
def client(emulator: EmulatorProcess) -> Iterator[RescaleClient]:
    with RescaleClient(Credentials.of(emulator.base_url, emulator.api_key), policy=POLICY) as made:
        yield made


@pytest.fixture
def world(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulator: EmulatorProcess
) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "600")
    connection = {"conn_type": "rescale", "host": emulator.base_url, "password": emulator.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_RESCALE_DEFAULT", json.dumps(connection))
    made = World(session)
    made.install(tmp_path)
    return made


def abandoned(client: RescaleClient, key: str, *, submitted: bool = True, command: str = "sleep 600") -> str:
    """Leave a job at Rescale as a worker would that dies."""
    analysis = {"analysis": {"code": "user_included"}, "command": command}
    body = {
        "name": Marker(key, "12345678").name("abandoned"),
        "jobanalyses": [{**analysis, "hardware": {**HARDWARE, "coresPerSlot": 4, "walltime": 1}}],
    }
    job_id = client.send(create_job(body)).id
    if submitted:
        client.send(submit_job(job_id))
    return job_id


def history(emulator: EmulatorProcess, job_id: str) -> list[str]:
    return [entry["status"] for entry in emulator.admin.job(job_id)["statuses"]]


def exists(emulator: EmulatorProcess, job_id: str) -> bool:
    return job_id in [job["id"] for job in emulator.admin.jobs()]


def test_jobs_are_stopped_and_drafts_deleted_and_others_left_alone(
    client: RescaleClient, emulator: EmulatorProcess
) -> None:
    ours, others = "0123456789abcdef", "0123456789abcde0"
    since = utcnow()
    running, draft = abandoned(client, ours), abandoned(client, ours, submitted=False)
    theirs, their_draft = abandoned(client, others), abandoned(client, others, submitted=False)
    await_true(lambda: "Executing" in history(emulator, running))
    assert not end_marked(client, ours, since)
    await_true(lambda: end_marked(client, ours, since))
    assert "Completed" in history(emulator, running)
    assert not exists(emulator, draft)
    assert "Stopping" not in history(emulator, theirs)
    assert exists(emulator, their_draft)
    assert not end_marked(client, others, since)


def test_what_does_not_stop_is_forced_to(client: RescaleClient, emulator: EmulatorProcess) -> None:
    key = "00000000aaaaaaaa"
    job = abandoned(client, key, command="trap '' TERM; while true; do sleep 0.1; done")
    await_true(lambda: "Executing" in history(emulator, job))
    since = utcnow() - timedelta(minutes=1)
    assert not end_marked(client, key, since)
    end_marked(client, key, since, force=True)
    await_true(lambda: end_marked(client, key, since))


def marker(order: ExecutionOrder) -> str:
    assert order.remote is not None
    return order.remote.marker


def look(world: World) -> None:
    world.session.commit()
    endings = RemoteEndings()
    endings.look()
    endings.wait(60)


def kept(world: World) -> list[Any]:
    world.session.expire_all()
    return list(world.session.scalars(select(RemoteJob)))


def test_the_api_server_ends_what_a_lost_host_has_left(
    world: World, client: RescaleClient, emulator: EmulatorProcess
) -> None:
    job = lone_job(world, "far", configuration={"remote": {"type": "rescale"}}, docker_image=None)
    left = abandoned(client, marker(started(world, job)))
    await_true(lambda: "Executing" in history(emulator, left))
    look(world)
    assert "Stopping" not in history(emulator, left)  # its worker may be alive
    cancel_job(world.session, job.id)
    ago = {"ended": utcnow() - timedelta(minutes=11)}
    world.session.execute(update(JobExecution).where(JobExecution.job_id == job.id).values(**ago))
    look(world)
    assert len(kept(world)) == 1
    await_true(lambda: "Completed" in history(emulator, left))
    world.session.execute(update(RemoteJob).values(not_before=utcnow()))
    look(world)
    assert kept(world) == []


def test_a_connection_that_is_gone_is_said_in_the_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = {"type": "rescale", "connection": "rescale_gone"}
    job = lone_job(world, "far", configuration={"remote": remote}, docker_image=None)
    started(world, job)
    cancel_job(world.session, job.id)
    world.session.execute(update(JobExecution).values(ended=utcnow() - timedelta(minutes=1)))
    look(world)
    (row,) = kept(world)
    assert row.tries == 1
    assert "rescale_gone" in row.message
    assert time.time() < row.not_before.timestamp()
