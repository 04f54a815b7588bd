# SPDX-License-Identifier: Apache-2.0
"""Work is queued over HTTP, runs, and is shown as the specification's examples show it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from statements import statements
from world import World, interface

from scale_airflow.store.models import Job, JobType, TriggerEvent

API = "/scale/api"
ROOT = "http://scale.example/scale/api"


def job_body(world: World, **job_type: Any) -> dict[str, Any]:
    made = world.job_type("one", interface({"scene": "file", "text": "property"}), **job_type)
    return {
        "job_type_id": made.id,
        "job_data": {
            "version": "1.0",
            "input_data": [
                {"name": "scene", "file_id": world.source().id},
                {"name": "text", "value": "HELLO"},
            ],
            "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
        },
    }


class TestNewJob:
    """POST /queue/new-job/."""

    def test_created(self, client: httpx.Client, world: World, op: dict[str, str]) -> None:
        answer = client.post(f"{API}/queue/new-job/", json=job_body(world), headers=op)
        assert answer.status_code == 201, answer.text
        body = answer.json()
        (execution,) = body["job_exes"]
        assert answer.headers["location"] == f"{ROOT}/job-executions/{execution['id']}/"
        assert body["status"] == execution["status"] == "QUEUED"
        assert body["num_exes"] == 1
        assert execution["job"] == {"id": body["id"]}
        assert execution["node"] is None
        assert body["event"]["type"] == "USER"
        event = world.session.get_one(TriggerEvent, body["event"]["id"])
        assert event.description["user"] == "op"
        assert body["inputs"][0]["value"]["file_name"] == "scene.zip"
        assert body["inputs"][1] == {"name": "text", "type": "property", "value": "HELLO"}
        assert body["outputs"] == [{"name": "output", "type": "file", "value": None}]
        assert [each["file_name"] for each in body["input_files"]] == ["scene.zip"]
        assert body["products"] == body["recipes"] == []
        assert client.get(f"{API}/jobs/{body['id']}/", headers=op).json() == body
        assert client.get(answer.headers["location"], headers=op).json()["id"] == execution["id"]

    def test_a_job_without_files_in_few_statements(
        self, client: httpx.Client, world: World, op: dict[str, str]
    ) -> None:
        made = world.job_type("one", interface({}, {}), is_paused=True)
        body = {"job_type_id": made.id, "job_data": {}}
        assert client.post(f"{API}/queue/new-job/", json=body, headers=op).status_code == 201
        with statements(world.session) as sent:
            assert client.post(f"{API}/queue/new-job/", json=body, headers=op).status_code == 201
        own = [each for each in sent if "scale_" in each or " log " in each]
        # Its type, event, row, execution and place in the queue, the word to the tick, whether the scheduler
        # is paused, and the event log.
        assert len(own) == 8, own

    def test_without_the_slash_it_is_the_same(
        self, client: httpx.Client, world: World, op: dict[str, str]
    ) -> None:
        assert client.post(f"{API}/queue/new-job", json=job_body(world), headers=op).status_code == 201

    def test_wrong_data_tells_every_fault(
        self, client: httpx.Client, world: World, op: dict[str, str]
    ) -> None:
        body = job_body(world)
        body["job_data"]["input_data"] = [{"name": "scene", "file_id": 999}, {"name": "other", "value": "1"}]
        body["job_data"]["output_data"] = []
        answer = client.post(f"{API}/queue/new-job/", json=body, headers=op)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("Invalid job data")
        assert len(answer.json()["errors"]) >= 3
        assert all(each["path"].startswith("/job_data/") for each in answer.json()["errors"])
        assert world.session.query(Job).count() == 0

    @pytest.mark.parametrize(
        ("changes", "status", "place"),
        [
            ({"job_type_id": 999}, 404, None),
            ({"job_type_id": 2**63}, 400, "/job_type_id"),
            ({"job_type_id": -1}, 404, None),
            ({"job_type_id": "1"}, 400, "/job_type_id"),
            ({"job_type_id": True}, 400, "/job_type_id"),
            ({"job_type_id": None}, 400, "/job_type_id"),
            ({"job_data": []}, 400, "/job_data"),
            ({"job_dat": {}}, 400, "/job_dat"),
        ],
    )
    def test_wrong_fields(
        self,
        client: httpx.Client,
        world: World,
        op: dict[str, str],
        changes: dict[str, Any],
        status: int,
        place: str | None,
    ) -> None:
        answer = client.post(f"{API}/queue/new-job/", json={**job_body(world), **changes}, headers=op)
        assert answer.status_code == status, answer.text
        if place is not None:
            assert [each["path"] for each in answer.json()["errors"]] == [place]

    def test_fields_and_data_are_told_at_once(
        self, client: httpx.Client, database: str, op: dict[str, str]
    ) -> None:
        data = {"input_data": [{"name": "scene"}], "output_data": {}}
        answer = client.post(f"{API}/queue/new-job/", json={"job_data": data, "priority": 1}, headers=op)
        assert answer.status_code == 400, answer.text
        places = [each["path"] for each in answer.json()["errors"]]
        assert places == ["/job_data/output_data", "/priority", "/job_type_id"]
        body = {"recipe_type_id": "1", "recipe_data": {"workspace_id": "x"}}
        answer = client.post(f"{API}/queue/new-recipe/", json=body, headers=op)
        places = [each["path"] for each in answer.json()["errors"]]
        assert places == ["/recipe_type_id", "/recipe_data/workspace_id"]

    def test_missing_type(self, client: httpx.Client, world: World, op: dict[str, str]) -> None:
        answer = client.post(f"{API}/queue/new-job/", json={}, headers=op)
        assert answer.status_code == 400
        assert answer.json()["errors"] == [
            {"path": "/job_type_id", "message": 'The field "job_type_id" is required.'}
        ]

    def test_an_image_is_needed(self, client: httpx.Client, world: World, op: dict[str, str]) -> None:
        answer = client.post(f"{API}/queue/new-job/", json=job_body(world, docker_image=None), headers=op)
        assert answer.status_code == 400, answer.text


def recipe_body(world: World) -> dict[str, Any]:
    for name in ("first", "second"):
        world.job_type(name)
    jobs = [
        {
            "name": "a",
            "job_type": {"name": "first", "version": "1.0"},
            "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}],
        },
        {
            "name": "b",
            "job_type": {"name": "second", "version": "1.0"},
            "dependencies": [{"name": "a", "connections": [{"output": "output", "input": "input"}]}],
        },
    ]
    made = world.recipe_type("two", jobs)
    return {
        "recipe_type_id": made.id,
        "recipe_data": {
            "version": "1.0",
            "input_data": [{"name": "scene", "file_id": world.source().id}],
            "workspace_id": world.workspace().id,
        },
    }


class TestNewRecipe:
    """POST /queue/new-recipe/."""

    def test_every_job_type_that_can_not_run_is_told(
        self, client: httpx.Client, world: World, op: dict[str, str]
    ) -> None:
        body = recipe_body(world)
        first, second = world.session.query(JobType).filter_by(is_system=False).order_by(JobType.name)
        first.docker_image, second.is_active = None, False
        world.session.commit()
        answer = client.post(f"{API}/queue/new-recipe/", json=body, headers=op)
        assert answer.status_code == 400
        assert answer.json()["detail"] == (
            "Job type first 1.0 has no docker_image: set one before a job of it is queued. "
            "Job type second 1.0 is archived: queue jobs of another version of it."
        )

    def test_created(self, client: httpx.Client, world: World, op: dict[str, str]) -> None:
        body = recipe_body(world)
        answer = client.post(f"{API}/queue/new-recipe/", json=body, headers=op)
        assert answer.status_code == 201, answer.text
        found = answer.json()
        assert answer.headers["location"] == f"{ROOT}/recipes/{found['id']}/"
        assert client.get(answer.headers["location"], headers=op).json() == found
        assert found["data"]["workspace_id"] == world.workspace().id
        assert [each["file_name"] for each in found["input_files"]] == ["scene.zip"]
        assert [(each["job_name"], each["job"]["status"]) for each in found["jobs"]] == [
            ("a", "QUEUED"),
            ("b", "PENDING"),
        ]
        first = found["jobs"][0]
        assert first["recipe"] == {"id": found["id"]}
        assert first["job"]["job_type_rev"]["interface"]["command"] == "run"
        assert found["recipe_type_rev"]["definition"] == found["recipe_type"]["definition"]
        (listed,) = client.get(f"{API}/recipes/", headers=op).json()["results"]
        assert listed == {name: found[name] for name in ("id", "created", "completed", "last_modified")} | {
            "recipe_type": {
                name: found["recipe_type"][name] for name in ("id", "name", "version", "title", "description")
            },
            "recipe_type_rev": {
                name: found["recipe_type_rev"][name] for name in ("id", "recipe_type", "revision_num")
            },
            "event": {name: found["event"][name] for name in ("id", "type", "rule", "occurred")},
        }
        details = client.get(f"{API}/jobs/{first['job']['id']}/", headers=op).json()
        assert details["recipes"] == [listed]

    def test_wrong_data(self, client: httpx.Client, world: World, op: dict[str, str]) -> None:
        body = recipe_body(world)
        body["recipe_data"] = {"version": "1.0", "input_data": []}
        answer = client.post(f"{API}/queue/new-recipe/", json=body, headers=op)
        assert answer.status_code == 400
        assert answer.json()["errors"]

    def test_filters(self, client: httpx.Client, world: World, op: dict[str, str]) -> None:
        body = recipe_body(world)
        assert client.post(f"{API}/queue/new-recipe/", json=body, headers=op).status_code == 201
        number = body["recipe_type_id"]
        for query, count in {
            f"type_id={number}": 1,
            f"recipe_type_id={number}&type_id=77": 1,
            "type_id=77": 0,
            "type_name=two": 1,
            "recipe_type_name=two&type_name=x": 1,
            "type_name=x": 0,
        }.items():
            assert client.get(f"{API}/recipes/?{query}", headers=op).json()["count"] == count, query


def test_queue_status(client: httpx.Client, world: World, op: dict[str, str]) -> None:
    assert client.get(f"{API}/queue/status/", headers=op).json() == {"queue_status": []}
    body = job_body(world, priority=7)
    for _ in range(2):
        assert client.post(f"{API}/queue/new-job/", json=body, headers=op).status_code == 201
    (row,) = client.get(f"{API}/queue/status/?page_number=1&url=x", headers=op).json()["queue_status"]
    assert row.pop("longest_queued").endswith("Z")
    assert row == {
        "count": 2,
        "job_type_name": "one",
        "job_type_version": "1.0",
        "highest_priority": 7,
        "is_job_type_paused": False,
    }
