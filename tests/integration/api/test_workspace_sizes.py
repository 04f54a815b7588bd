# SPDX-License-Identifier: Apache-2.0
"""Node agents measure the disks of the workspaces that they see, and the API shows it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import httpx
import pytest
from runtime_client import InProcess
from world import World

from scale_airflow.engine.connections import stored_connection
from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.size_work import SizeWork
from scale_airflow.execution.workspace_sizes import SizesReport, WorkspaceSize
from scale_airflow.hooks.client import RuntimeClient

API = "/scale/api"


@pytest.fixture
def runtime(client: httpx.Client, world: World) -> InProcess:
    connection = stored_connection(world.session, "scale_default")
    world.session.commit()
    assert connection is not None
    return InProcess(client, connection.secret)


def test_what_a_host_sees_is_shown(
    client: httpx.Client, world: World, runtime: InProcess, op: dict[str, str], tmp_path: Path
) -> None:
    def shown() -> dict[str, tuple[int | None, int | None, str]]:
        rows = client.get(f"{API}/workspaces/", headers=op).json()["results"]
        return {row["name"]: (row["used_size"], row["total_size"], row["last_modified"]) for row in rows}

    hidden = {"version": "1.0", "broker": {"type": "nfs", "mount": "host:/not/here"}}
    for name in ("hidden", "archived"):
        made = client.post(f"{API}/workspaces/", json={"name": name, "json_config": hidden}, headers=op)
        assert made.status_code == 201
    address = made.headers["location"]
    client.patch(address, json={"is_active": False}, headers=op)
    before = shown()
    assert {sizes[:2] for sizes in before.values()} == {(None, None)}
    assert [each.name for each in runtime.workspaces().workspaces] == ["raw", "products", "hidden"]
    SizeWork(world.settings, lambda: runtime).measure()
    after = shown()
    total = shutil.disk_usage(tmp_path).total
    for name in ("raw", "products"):
        used, of_all, modified = after[name]
        assert of_all == total
        assert used is not None
        assert 0 < used <= total
        assert modified == before[name][2]
    assert {name: after[name] for name in ("hidden", "archived")} == {
        name: before[name] for name in ("hidden", "archived")
    }
    # Another place has other sizes.
    number = world.workspace("raw").id
    moved = client.patch(f"{API}/workspaces/{number}/", json={"json_config": hidden}, headers=op).json()
    assert (moved["used_size"], moved["total_size"]) == (None, None)
    sizes = [(number, 5, 4), (number, -1, 5), (2**70, 1, 2), (999, 1, 2), (number, 1, 2**70)]
    runtime.report_sizes(SizesReport(tuple(WorkspaceSize(*each) for each in sizes)))
    assert shown()["raw"][:2] == (None, None)


def test_only_workers_are_told(
    client: httpx.Client, world: World, runtime: InProcess, op: dict[str, str]
) -> None:
    for method, path in (("GET", ""), ("POST", "sizes/")):
        address = f"{API}/runtime/workspaces/{path}"
        assert client.request(method, address).status_code == 401
        assert client.request(method, address, headers=op).status_code == 403
    with pytest.raises(ScaleApiError) as refused:
        runtime.request("POST", "/runtime/workspaces/sizes/", body={"sizes": [{"workspace_id": "x"}]})
    assert refused.value.status == 400


def test_a_server_that_is_away_is_told_later(
    world: World, runtime: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_AWAY", "_HOUR"):
        monkeypatch.setattr(f"scale_airflow.execution.size_work.{name}", 0.01)
    stop = threading.Event()
    calls = []

    def connect() -> RuntimeClient:
        calls.append(len(calls))
        if len(calls) == 1:
            raise ScaleApiError("It is away.")
        if len(calls) == 2:
            raise RuntimeError("a fault of ours")
        stop.set()
        return runtime

    SizeWork(world.settings, connect).run(stop)
    assert calls == [0, 1, 2]
    world.session.expire_all()
    assert world.workspace("raw").total_size
