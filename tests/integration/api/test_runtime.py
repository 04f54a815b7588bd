# SPDX-License-Identifier: Apache-2.0
"""The runtime endpoints over HTTP: who may call them, and a job from claim to completion."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session
from world import World

from scale_airflow.engine.connections import stored_connection
from scale_airflow.execution.order import BeatReport, ExecutionOrder, FailureReport, LogChunk, PhaseTimes
from scale_airflow.services import logs
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import Job, JobExecution

API = "/scale/api/runtime"


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


@pytest.fixture
def secret(world: World) -> dict[str, str]:
    connection = stored_connection(world.session, "scale_default")
    world.session.commit()
    assert connection is not None
    return {"Authorization": f"Bearer {connection.secret}"}


@pytest.fixture
def job(world: World) -> Job:
    data = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    made = queue_job(
        world.session, job_type=world.job_type("one"), data=data, event=user_event(world.session, "me")
    )
    world.session.commit()
    world.dispatch()
    world.set_task_state(made, "running")
    return made


def claim(client: httpx.Client, world: World, job: Job, headers: dict[str, str]) -> ExecutionOrder:
    answer = client.post(f"{API}/claim/", json=world.request(job).to_dict(), headers=headers)
    world.session.commit()
    assert answer.status_code == 200, answer.text
    return ExecutionOrder.from_dict(answer.json()["order"])


@pytest.mark.parametrize(
    "path",
    [
        "claim/",
        "reserve/",
        "nodes/beat/",
        "executions/1/log/",
        "executions/1/beat/",
        "executions/1/complete/",
    ],
)
def test_nobody_gets_in_without_the_secret(
    client: httpx.Client, world: World, admin: dict[str, str], path: str
) -> None:
    assert client.post(f"{API}/{path}", json={}).status_code == 401
    assert client.post(f"{API}/{path}", json={}, headers=admin).status_code == 403, (
        "not even an administrator"
    )


def test_the_secret_opens_nothing_else(
    client: httpx.Client, world: World, job: Job, secret: dict[str, str]
) -> None:
    assert client.get("/scale/api/version/", headers=secret).status_code == 401
    order = claim(client, world, job, secret)
    path = f"{API}/executions/{order.execution_id}/beat/"
    assert client.post(path, json=BeatReport(PhaseTimes()).to_dict(), headers=secret).status_code == 403


def test_a_token_reports_on_its_own_execution_alone(
    client: httpx.Client, world: World, job: Job, secret: dict[str, str]
) -> None:
    order = claim(client, world, job, secret)
    token = {"Authorization": f"Bearer {order.token}"}
    own, other = (f"{API}/executions/{number}" for number in (order.execution_id, order.execution_id + 1))
    body = BeatReport(PhaseTimes(pre_started="2026-01-01T00:00:00Z"), "run this").to_dict()
    assert client.post(f"{own}/beat/", json=body, headers=token).json() == {"continue": True, "reason": None}
    assert client.post(f"{other}/beat/", json=body, headers=token).status_code == 403
    assert world.execution(job).command_arguments == "run this"

    text = b"hello\n"
    chunk = LogChunk("stdout", 0, base64.b64encode(zlib.compress(text)).decode()).to_dict()
    for _ in range(2):
        assert client.post(f"{own}/log/", json=chunk, headers=token).json() == {"more": True}
    assert logs.read_logs(world.session, order.execution_id) == ("hello\n", "")

    failure = FailureReport("timeout", None, "too slow", PhaseTimes(), {}, None, "ran this").to_dict()
    answers = [client.post(f"{own}/fail/", json=failure, headers=token).json() for _ in range(2)]
    world.session.expire_all()
    assert world.session.get_one(JobExecution, order.execution_id).command_arguments == "ran this"
    assert [answer["decision"] for answer in answers] == ["retry", "retry"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"dag_id": NaN}', b'{"dag_id": 1}', b"\xff", b'{"a":' * 5000],
)
def test_wrong_bodies_are_told_what_is_wrong(
    client: httpx.Client, world: World, secret: dict[str, str], body: bytes
) -> None:
    answer = client.post(f"{API}/claim/", content=body, headers=secret)
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "data",
    ["!", "", base64.b64encode(b"x").decode(), base64.b64encode(zlib.compress(bytes(5 << 20))).decode()],
)
def test_a_log_chunk_that_can_not_be_read(
    client: httpx.Client, world: World, job: Job, secret: dict[str, str], data: str
) -> None:
    order = claim(client, world, job, secret)
    answer = client.post(
        f"{API}/executions/{order.execution_id}/log/",
        json={"stream": "stdout", "sequence": 0, "data": data},
        headers={"Authorization": f"Bearer {order.token}"},
    )
    assert answer.status_code == 400


def test_workers_elsewhere_fetch_generated_files(
    client: httpx.Client, world: World, job: Job, secret: dict[str, str]
) -> None:
    listed: list[dict[str, Any]] = client.get(f"{API}/dag-files/", headers=secret).json()["files"]
    assert [entry["file_name"].startswith("scale_job.one.") for entry in listed] == [True]
    assert not listed[0]["hidden"]
    text = client.get(f"{API}/dag-files/{listed[0]['file_name']}", headers=secret)
    assert text.status_code == 200
    assert "scale_airflow.compiler.dags" in text.text
    assert client.get(f"{API}/dag-files/?after={listed[0]['id']}", headers=secret).json() == {"files": []}
    assert client.get(f"{API}/dag-files/nothing.py", headers=secret).status_code == 404
    assert client.get(f"{API}/dag-files/", headers={}).status_code == 401


def test_a_workers_host_learns_which_directories_it_should_have(
    client: httpx.Client, world: World, secret: dict[str, str], admin: dict[str, str]
) -> None:
    assert client.get(f"{API}/places/").status_code == 401
    assert client.get(f"{API}/places/", headers=admin).status_code == 403
    answer = client.get(f"{API}/places/", headers=secret).json()
    assert set(answer["workspaces"]) == {"raw", "products"}
    assert answer["workspaces"]["raw"]["broker"]["type"] == "host"
    assert answer["strikes"] == {}
