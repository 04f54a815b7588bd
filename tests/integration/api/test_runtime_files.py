# SPDX-License-Identifier: Apache-2.0
"""File work over HTTP: a node agent asks, does and tells; downloads work at every moment."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from runtime_client import InProcess
from sqlalchemy import select, update
from world import AGENT, World

from scale_airflow.engine.connections import stored_connection
from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.file_duties import DutyRequest, DutyResult, SweepQuestion
from scale_airflow.execution.file_work import FileWork
from scale_airflow.hooks.client import RuntimeClient
from scale_airflow.services.events import user_event
from scale_airflow.services.file_moves import plan_moves
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import FileDuty, Job, ScaleFile, utcnow

API = "/scale/api"
CONTENT = b"0123456789"


@pytest.fixture
def secret(world: World) -> str:
    connection = stored_connection(world.session, "scale_default")
    world.session.commit()
    assert connection is not None
    return connection.secret


@pytest.fixture
def runtime(client: httpx.Client, secret: str) -> InProcess:
    return InProcess(client, secret)


@pytest.fixture
def agent(world: World, runtime: InProcess) -> FileWork:
    return FileWork(world.settings, lambda: runtime, AGENT)


def time_passes(world: World) -> None:
    world.session.execute(update(FileDuty).values(not_before=utcnow() - timedelta(seconds=1)))
    world.session.commit()


def test_a_file_can_be_read_while_it_moves(
    client: httpx.Client, world: World, agent: FileWork, viewer: dict[str, str], tmp_path: Path
) -> None:
    source = world.source("a.txt", checksum=hashlib.sha256(CONTENT).hexdigest())
    old = tmp_path / "raw" / source.file_path
    old.parent.mkdir(parents=True)
    old.write_bytes(CONTENT)
    number = source.id
    plan_moves(world.session, [(source, "by/name")], None)
    world.session.commit()
    places = []
    for _ in range(4):
        content = client.get(f"{API}/files/{number}/content/", headers=viewer)
        assert (content.status_code, content.content) == (200, CONTENT)
        world.session.expire_all()
        places.append(world.session.get_one(ScaleFile, number).file_path == "by/name/a.txt")
        world.session.commit()
        agent.round()
        time_passes(world)
    assert places == [False, True, True, True]
    assert not old.exists()
    assert world.session.execute(select(FileDuty.id)).all() == []


def test_what_a_failed_job_has_stored_is_swept(world: World, agent: FileWork, tmp_path: Path) -> None:
    data = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job: Job = queue_job(
        world.session, job_type=world.job_type("one"), data=data, event=user_event(world.session, "me")
    )
    world.session.commit()
    world.dispatch()
    order = world.claim(job).order
    assert order is not None
    folder = tmp_path / "products" / order.output_path
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_text("a")
    agent.round()
    assert (folder / "sub" / "a").exists()
    world.fail(order, exit_code=1)
    stop = threading.Event()
    thread = threading.Thread(target=agent.run, args=(stop,))
    thread.start()
    try:
        patience = threading.Event()
        for _ in range(600):
            if not folder.exists():
                break
            patience.wait(0.1)
        assert not folder.exists()
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


def test_only_workers_and_only_what_they_hold(
    client: httpx.Client, runtime: InProcess, secret: str, admin: dict[str, str], world: World
) -> None:
    for path in ("", "result/", "sweep/"):
        assert client.post(f"{API}/runtime/file-duties/{path}", json={}).status_code == 401
        assert client.post(f"{API}/runtime/file-duties/{path}", json={}, headers=admin).status_code == 403
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.post(f"{API}/runtime/file-duties/{path}", json={}, headers=headers).status_code == 400
        wrong = client.post(f"{API}/runtime/file-duties/{path}", content=b"\xff", headers=headers)
        assert wrong.status_code == 400
    assert runtime.file_duties(DutyRequest("nobody", "p")).duties == ()
    runtime.file_duty_result(DutyResult(AGENT, "p", 2**70, "done", None))
    with pytest.raises(ScaleApiError, match="not the one that sweeps") as refused:
        runtime.file_duty_sweep(SweepQuestion(AGENT, "p", 1, ("../../etc/passwd",)))
    assert refused.value.status == 409


def test_a_server_that_is_away_is_asked_again(
    world: World, runtime: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scale_airflow.execution.file_work._AWAY", 0.01)
    stop = threading.Event()
    calls = []

    def connect() -> RuntimeClient:
        calls.append(len(calls))
        if len(calls) < 3:
            raise ScaleApiError("It is away.")
        if len(calls) == 3:
            raise RuntimeError("a fault of ours")
        stop.set()
        return runtime

    FileWork(world.settings, connect, AGENT).run(stop)
    assert calls == [0, 1, 2, 3]
