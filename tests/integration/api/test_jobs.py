# SPDX-License-Identifier: Apache-2.0
"""Jobs and their executions, from queued to completed, as the REST API shows and changes them."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from world import World, interface

from scale_airflow.execution.order import LogChunk
from scale_airflow.services.events import user_event
from scale_airflow.services.logs import append_log
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import ErrorModel, Job

API = "/scale/api"

JOB = [
    "id",
    "job_type",
    "job_type_rev",
    "event",
    "error",
    "status",
    "priority",
    "num_exes",
    "timeout",
    "max_tries",
    "cpus_required",
    "mem_required",
    "disk_in_required",
    "disk_out_required",
    "created",
    "queued",
    "started",
    "ended",
    "last_status_change",
    "last_modified",
]
BRIEF = [
    "id",
    "name",
    "version",
    "title",
    "description",
    "category",
    "author_name",
    "author_url",
    "is_system",
    "is_long_running",
    "is_active",
    "is_operational",
    "is_paused",
    "icon_code",
]
EXECUTION = [
    "id",
    "status",
    "command_arguments",
    "timeout",
    "pre_started",
    "pre_completed",
    "pre_exit_code",
    "job_started",
    "job_completed",
    "job_exit_code",
    "post_started",
    "post_completed",
    "post_exit_code",
    "created",
    "queued",
    "started",
    "ended",
    "last_modified",
    "job",
    "node",
    "error",
]
FILE = [
    "id",
    "workspace",
    "file_name",
    "media_type",
    "file_size",
    "data_type",
    "is_deleted",
    "uuid",
    "url",
    "created",
    "deleted",
    "data_started",
    "data_ended",
    "geometry",
    "center_point",
    "meta_data",
    "countries",
    "last_modified",
]
PRODUCT = [
    *FILE,
    *["is_operational", "is_published", "published", "unpublished", "job_type", "job", "job_exe"],
]


def queue(world: World, name: str = "one", **job_type: Any) -> Job:
    made = world.job_type(name, interface({"scene": "file"}), **job_type)
    data = {
        "input_data": [{"name": "scene", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(world.session, job_type=made, data=data, event=user_event(world.session, "me"))
    world.session.commit()
    return job


@pytest.fixture
def completed(world: World) -> Job:
    job = queue(world)
    world.dispatch()
    world.run(job)
    return world.reload(job)


def test_list_shows_what_the_example_shows(
    client: httpx.Client, completed: Job, viewer: dict[str, str]
) -> None:
    answer = client.get(f"{API}/jobs/", headers=viewer).json()
    assert list(answer) == ["count", "next", "previous", "results"]
    assert (answer["count"], answer["next"], answer["previous"]) == (1, None, None)
    (shown,) = answer["results"]
    assert list(shown) == JOB
    assert list(shown["job_type"]) == BRIEF
    assert shown["job_type_rev"] == {
        "id": completed.job_type_rev_id,
        "job_type": {"id": completed.job_type_id},
        "revision_num": 1,
    }
    assert list(shown["event"]) == ["id", "type", "rule", "occurred"]
    assert shown["event"]["rule"] is shown["error"] is None
    assert shown["status"] == "COMPLETED"
    assert (shown["disk_in_required"], shown["cpus_required"]) == (10.0, 1.0)


def test_details(client: httpx.Client, completed: Job, viewer: dict[str, str]) -> None:
    answer = client.get(f"{API}/jobs/{completed.id}/", headers=viewer)
    shown = answer.json()
    more = ["data", "results", "recipes", "job_exes", "inputs", "outputs", "input_files", "products"]
    assert set(shown) == {*JOB, *more, "why"}
    assert {"uses_docker", "docker_image", "priority", "created", "paused"} <= set(shown["job_type"])
    assert "interface" not in shown["job_type"]
    assert shown["job_type_rev"]["interface"]["command"] == "run"
    assert shown["event"]["description"] == {"user": "me"} | shown["event"]["description"]
    (execution,) = shown["job_exes"]
    assert list(execution) == EXECUTION
    assert execution["node"].keys() == {"id"}
    assert list(shown["input_files"][0]) == FILE
    assert shown["inputs"] == [{"name": "scene", "type": "file", "value": shown["input_files"][0]}]
    (product,) = shown["products"]
    assert list(product) == PRODUCT
    assert shown["outputs"] == [{"name": "output", "type": "file", "value": product}]
    assert product["url"] == f"http://scale.example/scale/api/files/{product['id']}/content/"
    assert product["job_exe"] == {"id": execution["id"]}
    assert product["job_type"] == {"id": completed.job_type_id}


def test_executions(client: httpx.Client, completed: Job, world: World, viewer: dict[str, str]) -> None:
    (listed,) = client.get(f"{API}/job-executions/", headers=viewer).json()["results"]
    assert list(listed) == EXECUTION
    assert list(listed["job"]) == [
        "id",
        "job_type",
        "job_type_rev",
        "event",
        "error",
        "status",
        "priority",
        "num_exes",
    ]
    assert list(listed["job"]["job_type"]) == BRIEF
    assert list(listed["node"]) == ["id", "hostname", "port", "slave_id"]
    shown = client.get(f"{API}/job-executions/{listed['id']}/", headers=viewer).json()
    assert set(shown) == {
        *EXECUTION,
        *["environment", "cpus_scheduled", "mem_scheduled", "disk_in_scheduled", "disk_out_scheduled"],
        *["disk_total_scheduled", "results", "current_stdout_url", "current_stderr_url", "results_manifest"],
        *["message", "warnings"],
    }
    assert {"is_paused", "is_active", "archived", "created", "last_modified"} <= set(shown["node"])
    assert shown["results"]["output_data"][0]["name"] == "output"
    node = listed["node"]["id"]
    for query, count in {
        "status=COMPLETED": 1,
        "status=FAILED": 0,
        f"node_id={node}&node_id=99": 1,
        "node_id=99": 0,
        "job_type_name=one": 1,
        "job_type_name=other": 0,
        f"job_type_id={completed.job_type_id}": 1,
        "job_type_category=x": 0,
        "order=-job_type__name&order=job__job_type__version&order=node__hostname&order=error": 1,
    }.items():
        answer = client.get(f"{API}/job-executions/?{query}", headers=viewer)
        assert answer.json()["count"] == count, (query, answer.text)


def test_logs(client: httpx.Client, world: World, viewer: dict[str, str]) -> None:
    job = queue(world)
    execution = world.execution(job)
    for number, text in enumerate((b"one\n", b"tw\xc3", b"\xa9o <b>\n")):
        chunk = LogChunk("stdout", number, base64.b64encode(zlib.compress(text)).decode())
        append_log(world.session, execution.id, chunk, 10**6)
    world.session.commit()
    address = f"{API}/job-executions/{execution.id}/logs/"
    shown = client.get(address, headers=viewer).json()
    assert list(shown) == [*EXECUTION, "is_finished", "stdout", "stderr"]
    assert (shown["is_finished"], shown["stdout"], shown["stderr"]) == (False, "one\ntwéo <b>\n", "")
    plain = client.get(f"{address}stdout", headers=viewer)
    assert plain.content == "one\ntwéo <b>\n".encode()
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    assert plain.headers["x-content-type-options"] == "nosniff"
    assert client.get(f"{address}stderr/", headers=viewer).content == b""
    for query, expected in {
        "tail=1": "twéo <b>\n",
        "tail=2": "one\ntwéo <b>\n",
        "tail=99": "one\ntwéo <b>\n",
        "tail=0": "",
        "since=PT1H": "one\ntwéo <b>\n",
        "since=2100-01-01T00:00:00Z": "",
        "since=PT1H&tail=1": "twéo <b>\n",
        "tail=&since=": "one\ntwéo <b>\n",
    }.items():
        assert client.get(f"{address}?{query}", headers=viewer).json()["stdout"] == expected, query
        assert client.get(f"{address}stdout/?{query}", headers=viewer).text == expected, query
    for query in ("tail=-1", "tail=x", "tail=1000001", "since=now"):
        assert client.get(f"{address}?{query}", headers=viewer).status_code == 400, query
    assert client.get(f"{address}other/", headers=viewer).status_code == 404
    assert client.get(f"{API}/job-executions/999/logs/", headers=viewer).status_code == 404
    assert client.get(f"{API}/job-executions/999/logs/stdout/", headers=viewer).status_code == 404


class TestCancel:
    """PATCH /jobs/{id}/."""

    def test_a_queued_job(self, client: httpx.Client, world: World, op: dict[str, str]) -> None:
        job = queue(world)
        answer = client.patch(f"{API}/jobs/{job.id}/", json={"status": "CANCELED"}, headers=op)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "CANCELED"
        assert [each["status"] for each in answer.json()["job_exes"]] == ["CANCELED"]
        assert answer.json() == client.get(f"{API}/jobs/{job.id}/", headers=op).json()
        again = client.patch(f"{API}/jobs/{job.id}/", json={"status": "CANCELED"}, headers=op)
        assert again.status_code == 409

    def test_a_completed_one(self, client: httpx.Client, completed: Job, op: dict[str, str]) -> None:
        answer = client.patch(f"{API}/jobs/{completed.id}/", json={"status": "CANCELED"}, headers=op)
        assert answer.status_code == 409

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"status": "QUEUED"},
            {"status": None},
            {"status": "CANCELED", "priority": 1},
            {"priority": 1},
            [],
            "CANCELED",
        ],
    )
    def test_anything_else_is_400(
        self, client: httpx.Client, world: World, op: dict[str, str], body: Any
    ) -> None:
        job = queue(world)
        answer = client.patch(f"{API}/jobs/{job.id}/", json=body, headers=op)
        assert answer.status_code == 400
        assert answer.json()["errors"]
        assert world.reload(job).status == "QUEUED"


def test_filters_and_order(client: httpx.Client, world: World, viewer: dict[str, str]) -> None:
    slow = queue(world, "slow", category="x", priority=9)
    fast = queue(world, "fast", category="y", priority=1)
    unknown = world.session.scalars(select(ErrorModel).where(ErrorModel.name == "unknown")).one()
    fast.error_id = unknown.id
    world.session.commit()
    for query, expected in {
        "": [slow.id, fast.id],
        "order=-last_modified": [fast.id, slow.id],
        "order=priority": [fast.id, slow.id],
        "order=-job_type__name": [slow.id, fast.id],
        "order=job_type__category&order=-id": [slow.id, fast.id],
        "order=error__title": [fast.id, slow.id],
        "order=job_type": [slow.id, fast.id],
        "order=-event__occurred": [fast.id, slow.id],
        f"job_id={fast.id}": [fast.id],
        f"job_id={fast.id}&job_id={slow.id}&job_id=77": [slow.id, fast.id],
        f"job_type_id={slow.job_type_id}": [slow.id],
        "job_type_name=fast&job_type_name=none": [fast.id],
        "job_type_category=x": [slow.id],
        f"job_type_category=x&job_type_id={fast.job_type_id}": [],
        "status=QUEUED": [slow.id, fast.id],
        "status=": [slow.id, fast.id],
        "status=PENDING": [],
        "started=PT1H": [slow.id, fast.id],
        "ended=PT1H": [],
        "started=2000-01-01T00:00:00Z&ended=2001-01-01T00:00:00.500Z": [],
        "unheard_of=1": [slow.id, fast.id],
        f"page_size=1&page=2&job_id={slow.id}&job_id={fast.id}": [fast.id],
    }.items():
        answer = client.get(f"{API}/jobs/?{query}", headers=viewer)
        assert answer.status_code == 200, (query, answer.text)
        assert [each["id"] for each in answer.json()["results"]] == expected, query
