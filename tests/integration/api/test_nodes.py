# SPDX-License-Identifier: Apache-2.0
"""Nodes and the scheduler's switch: shown, paused, replaced, taken out of service and brought back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from world import HOST, World, interface

from scale_airflow.services.queue import queue_job, user_event
from scale_airflow.store.models import Job, JobExecution, Node, utcnow

API = "/scale/api"
ROOT = "http://scale.example/scale/api"

NODE = [
    *("id", "hostname", "port", "slave_id", "pause_reason", "is_paused", "is_paused_errors", "is_active"),
    *("archived", "created", "last_offer", "last_modified"),
]


def the_node(world: World) -> Node:
    world.session.expire_all()
    return world.session.query(Node).filter_by(hostname=HOST).one()


@pytest.fixture
def address(world: World) -> str:
    return f"{API}/nodes/{the_node(world).id}/"


def queued(world: World) -> Job:
    job_type = world.job_type("one", interface({}, {}))
    job = queue_job(world.session, job_type=job_type, data={}, event=user_event(world.session, "me"))
    world.session.commit()
    world.dispatch()
    return job


def test_list(client: httpx.Client, world: World, viewer: dict[str, str]) -> None:
    gone = Node(hostname="gone", slave_id="agent-2", is_active=False, archived=utcnow())
    world.session.add(gone)
    world.session.commit()
    (shown,) = client.get(f"{API}/nodes/", headers=viewer).json()["results"]
    assert list(shown) == NODE
    assert (shown["hostname"], shown["port"], shown["slave_id"]) == (HOST, 8793, "agent-1")
    for query, expected in {
        "include_inactive=true": [HOST, "gone"],
        "include_inactive=T&order=hostname": ["gone", HOST],
        "include_inactive=0": [HOST],
        "started=PT1H&order=-last_offer": [HOST],
        "ended=PT1H": [],
    }.items():
        answer = client.get(f"{API}/nodes/?{query}", headers=viewer)
        assert [each["hostname"] for each in answer.json()["results"]] == expected, query
    assert client.get(f"{API}/nodes/?include_inactive=maybe", headers=viewer).status_code == 400
    assert client.get(f"{API}/nodes/?order=cpus", headers=viewer).status_code == 400


def test_details(client: httpx.Client, world: World, address: str, viewer: dict[str, str]) -> None:
    nothing = {"cpus": 0.0, "mem": 0.0, "disk": 0.0}
    shown = client.get(address, headers=viewer).json()
    assert set(shown) == {*NODE, "resources", "job_exes_running"}
    assert shown["job_exes_running"] == []
    assert shown["resources"] == {
        "total": {"cpus": 8.0, "mem": 16384.0, "disk": 100000.0},
        "scheduled": nothing,
        "used": nothing,
    }
    job = queued(world)
    assert world.claim(job).answer == "go"
    shown = client.get(address, headers=viewer).json()
    assert shown["resources"]["scheduled"] == {"cpus": 1.0, "mem": 128.0, "disk": 64.0}
    (running,) = shown["job_exes_running"]
    assert (running["status"], running["job"]["id"]) == ("RUNNING", job.id)
    assert running["node"] == {"id": shown["id"]}
    assert running["job"]["job_type"]["name"] == "one"
    assert (running["cpus_scheduled"], running["disk_total_scheduled"]) == (1.0, 64.0)


def test_a_node_that_does_not_answer(
    client: httpx.Client, world: World, address: str, op: dict[str, str]
) -> None:
    the_node(world).last_offer = utcnow() - timedelta(hours=1)
    world.session.commit()
    shown = client.get(address, headers=op).json()
    assert shown["disconnected"] is True
    assert "resources" not in shown
    out_of_service = client.patch(address, json={"is_active": False}, headers=op).json()
    assert not {"resources", "disconnected"} & set(out_of_service)


def test_status(client: httpx.Client, world: World, address: str, op: dict[str, str]) -> None:
    status = f"{API}/nodes/status/"
    for number, name in enumerate(("silent", "gone")):
        node = Node(hostname=name, slave_id=f"agent-{number + 2}", is_active=name != "gone")
        world.session.add(node)
    job_type = world.job_type("one", interface({}, {}))
    made = [
        queue_job(world.session, job_type=job_type, data={}, event=user_event(world.session, "me"))
        for _ in range(4)
    ]
    world.session.commit()
    world.dispatch()
    for job, exit_code in zip(made, (None, 1, None), strict=False):
        order = world.claim(job).order
        assert order is not None
        if exit_code is not None:
            world.fail(order, exit_code=exit_code)
        elif job is made[0]:
            world.complete(order)
    silent, here = client.get(status, headers=op).json()["results"]
    assert (silent["node"]["hostname"], silent["is_online"]) == ("silent", False)
    assert silent["job_exe_counts"] == silent["job_exes_running"] == []
    details = client.get(address, headers=op).json()
    assert here["job_exes_running"] == details["job_exes_running"]
    assert [each["job"]["id"] for each in here["job_exes_running"]] == [made[2].id]
    assert here["node"] == {name: details[name] for name in NODE}
    assert here["is_online"] is True
    counts = [(each["status"], each["category"], each["count"]) for each in here["job_exe_counts"]]
    assert counts == [("COMPLETED", None, 1), ("FAILED", "SYSTEM", 1), ("RUNNING", None, 1)]
    (running,) = here["job_exes_running"]
    assert here["job_exe_counts"][2]["most_recent"] == running["started"]
    # What runs counts whatever the range is; what waits on the node has not been run by it.
    world.session.execute(
        update(JobExecution).values(last_modified=utcnow() - timedelta(hours=4), node_id=details["id"])
    )
    world.session.commit()
    for query, expected in {
        "": ["RUNNING"],
        "started=PT5H": ["COMPLETED", "FAILED", "RUNNING"],
        "started=PT5H&ended=PT4H30M": ["RUNNING"],
        "page=2&page_size=1&started=P1D": ["COMPLETED", "FAILED", "RUNNING"],
    }.items():
        shown = client.get(f"{status}?{query}", headers=op).json()
        assert shown["count"] == 2
        assert [each["status"] for each in shown["results"][-1]["job_exe_counts"]] == expected, query
    for query in ("page=3&page_size=1", "ended=P1D", "started=PT1H&ended=PT2H"):
        assert client.get(f"{status}?{query}", headers=op).status_code == 400, query
    answer = client.get(f"{status}?page=x&page_size=0&started=x&ended=y", headers=op)
    places = [fault["path"] for fault in answer.json()["errors"]]
    assert (answer.status_code, places) == (400, ["page", "page_size", "started", "ended"])


@pytest.mark.parametrize("number", ["999", "0", "-1", "x", str(2**70)])
def test_there_is_no_such_node(client: httpx.Client, world: World, op: dict[str, str], number: str) -> None:
    address = f"{API}/nodes/{number}/"
    whole = {"hostname": "h", "port": 1, "is_paused": False}
    assert client.get(address, headers=op).status_code == 404
    assert client.patch(address, json={"is_paused": True}, headers=op).status_code == 404
    assert client.put(address, json=whole, headers=op).status_code == 404


class TestUpdate:
    """PATCH /nodes/{id}/."""

    def test_pause(self, client: httpx.Client, world: World, address: str, op: dict[str, str]) -> None:
        job = queued(world)
        body = {"is_paused": True, "pause_reason": "A new disk"}
        answer = client.patch(address, json=body, headers=op)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"http://scale.example{address}"
        assert answer.json() == client.get(address, headers=op).json()
        assert (answer.json()["is_paused"], answer.json()["pause_reason"]) == (True, "A new disk")
        waiting = world.claim(job)
        assert (waiting.answer, waiting.reason) == ("wait", "Node worker-1 is paused: A new disk.")
        again = client.patch(address, json={"is_paused": False}, headers=op).json()
        assert (again["is_paused"], again["pause_reason"]) == (False, None)
        assert world.claim(job).answer == "go"

    def test_a_reason_without_a_pause_is_none(
        self, client: httpx.Client, address: str, op: dict[str, str]
    ) -> None:
        answer = client.patch(address, json={"pause_reason": "why not"}, headers=op)
        assert (answer.status_code, answer.json()["pause_reason"]) == (201, None)

    @pytest.mark.parametrize("is_paused", [True, False])
    def test_it_ends_the_automatic_pause(
        self, client: httpx.Client, world: World, address: str, op: dict[str, str], is_paused: bool
    ) -> None:
        node = the_node(world)
        node.is_paused = node.is_paused_errors = True
        world.session.commit()
        shown = client.patch(address, json={"is_paused": is_paused}, headers=op).json()
        assert (shown["is_paused"], shown["is_paused_errors"]) == (is_paused, False)

    def test_out_of_service_and_back(
        self, client: httpx.Client, world: World, address: str, op: dict[str, str]
    ) -> None:
        shown = client.patch(address, json={"is_active": False}, headers=op).json()
        assert shown["is_active"] is False
        assert shown["archived"].endswith("Z")
        world.beat()
        assert client.get(address, headers=op).json()["is_active"] is False
        assert client.get(f"{API}/nodes/", headers=op).json()["count"] == 0
        again = client.patch(address, json={"is_active": False}, headers=op).json()
        assert again["archived"] == shown["archived"]
        back = client.patch(address, json={"is_active": True}, headers=op).json()
        assert (back["is_active"], back["archived"]) == (True, None)

    def test_one_active_node_a_host(
        self, client: httpx.Client, world: World, address: str, op: dict[str, str]
    ) -> None:
        world.beat(agent="agent-2", host="worker-2")
        taken = client.patch(address, json={"hostname": "worker-2"}, headers=op)
        assert taken.status_code == 400
        assert [each["path"] for each in taken.json()["errors"]] == ["/hostname"]
        both = {"hostname": "worker-2", "is_active": False}
        assert client.patch(address, json=both, headers=op).status_code == 201
        back = client.patch(address, json={"is_active": True}, headers=op)
        assert [each["path"] for each in back.json()["errors"]] == ["/is_active"]
        assert 'the hostname "worker-2"' in back.json()["detail"]

    @pytest.mark.parametrize(
        ("body", "places"),
        [
            ({}, [""]),
            ([], [""]),
            ({"slave_id": "x"}, ["/slave_id"]),
            ({"is_paused": None, "port": "1", "hostname": 1}, ["/is_paused", "/port", "/hostname"]),
            ({"hostname": " ", "port": 65536}, ["/hostname", "/port"]),
            ({"hostname": "x" * 256}, ["/hostname"]),
            ({"port": -1}, ["/port"]),
            ({"port": -1, "slave_id": "x", "hostname": ""}, ["/port", "/slave_id", "/hostname"]),
            ({"port": 2**64}, ["/port"]),
        ],
    )
    def test_what_is_wrong(
        self, client: httpx.Client, address: str, op: dict[str, str], body: Any, places: list[str]
    ) -> None:
        before = client.get(address, headers=op).json()
        answer = client.patch(address, json=body, headers=op)
        assert answer.status_code == 400, answer.text
        assert [each["path"] for each in answer.json()["errors"]] == places
        assert client.get(address, headers=op).json() == before


class TestReplace:
    """PUT /nodes/{id}/."""

    def test_replace(self, client: httpx.Client, world: World, address: str, op: dict[str, str]) -> None:
        body = {"hostname": "other", "port": 1, "is_paused": True, "pause_reason": "moved"}
        answer = client.put(address, json=body, headers=op)
        assert (answer.status_code, answer.headers["location"]) == (201, f"http://scale.example{address}")
        assert {name: answer.json()[name] for name in body} == body
        del body["pause_reason"]
        assert client.put(address, json=body, headers=op).json()["pause_reason"] is None
        world.beat()
        assert client.get(address, headers=op).json()["hostname"] == HOST

    def test_what_is_missing(self, client: httpx.Client, address: str, op: dict[str, str]) -> None:
        answer = client.put(address, json={"pause_reason": None, "more": 1}, headers=op)
        assert answer.status_code == 400
        places = [each["path"] for each in answer.json()["errors"]]
        assert places == ["/more", "/hostname", "/port", "/is_paused"]


class TestScheduler:
    """GET and PATCH /scheduler/."""

    def test_pause(self, client: httpx.Client, world: World, op: dict[str, str]) -> None:
        address = f"{API}/scheduler/"
        assert client.get(address, headers=op).json() == {"is_paused": False}
        job = queued(world)
        paused = client.patch(address, json={"is_paused": True}, headers=op)
        assert (paused.status_code, paused.json()) == (201, {"is_paused": True})
        assert paused.headers["location"] == f"{ROOT}/scheduler/"
        assert client.get(address, headers=op).json() == {"is_paused": True}
        assert client.get(f"{API}/status/", headers=op).json()["scheduler"]["is_paused"] is True
        assert world.claim(job).reason == "The scheduler is paused."
        assert client.patch(address, json={"is_paused": False}, headers=op).json() == {"is_paused": False}
        assert world.claim(job).answer == "go"

    @pytest.mark.parametrize("body", [{}, [], {"is_paused": "false"}, {"is_paused": None}, {"x": 1}])
    def test_what_is_wrong(self, client: httpx.Client, world: World, op: dict[str, str], body: Any) -> None:
        answer = client.patch(f"{API}/scheduler/", json=body, headers=op)
        assert answer.status_code == 400
        assert answer.json()["errors"]

    def test_before_scale_is_initialized(self, client: httpx.Client, op: dict[str, str]) -> None:
        answer = client.get(f"{API}/scheduler/", headers=op)
        assert (answer.status_code, "airflow scale init" in answer.text) == (404, True)
        assert client.patch(f"{API}/scheduler/", json={"is_paused": True}, headers=op).status_code == 404
