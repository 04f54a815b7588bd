# SPDX-License-Identifier: Apache-2.0
"""Jobs are canceled and requeued over HTTP, one or many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from world import World, interface

from scale_airflow.services.queue import queue_job, user_event
from scale_airflow.store.models import Job

API = "/scale/api"
REQUEUE = f"{API}/queue/requeue-jobs/"
CANCEL = f"{API}/jobs/cancel/"

Jobs = Callable[..., list[Job]]


@pytest.fixture
def queued(world: World) -> Jobs:
    """Queues and dispatches jobs of a type."""

    def make(count: int, name: str = "one", **fields: Any) -> list[Job]:
        job_type = world.job_type(name, interface({}, {}), **{"max_tries": 1, **fields})
        event = user_event(world.session, "me")
        made = [queue_job(world.session, job_type=job_type, data={}, event=event) for _ in range(count)]
        world.session.commit()
        world.dispatch()
        return made

    return make


def fail(world: World, job: Job) -> None:
    order = world.claim(job).order
    assert order is not None
    world.fail(order, error="timeout")
    world.set_task_state(job, "failed")


class TestRequeueJobs:
    """POST /queue/requeue-jobs/."""

    def test_by_id_with_a_priority(
        self, client: httpx.Client, world: World, queued: Jobs, op: dict[str, str]
    ) -> None:
        failed, running, canceled = queued(3)
        fail(world, failed)
        world.claim(running)
        numbers = [failed.id, running.id, canceled.id]
        assert client.patch(f"{API}/jobs/{canceled.id}/", json={"status": "CANCELED"}, headers=op).is_success
        body = {"job_ids": numbers, "priority": 3, "status": None, "url": "http://scale/queue/requeue-jobs/"}
        answer = client.post(REQUEUE, json=body, headers=op)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert (page["count"], page["next"], page["previous"]) == (3, None, None)
        shown = {each["id"]: each for each in page["results"]}
        assert {number: (each["status"], each["priority"]) for number, each in shown.items()} == {
            failed.id: ("QUEUED", 3),
            running.id: ("RUNNING", 100),
            canceled.id: ("QUEUED", 3),
        }
        assert (shown[failed.id]["num_exes"], shown[failed.id]["max_tries"]) == (2, 2)
        assert shown[failed.id]["error"] is None
        listed = client.get(f"{API}/jobs/?job_id={failed.id}", headers=op).json()["results"]
        assert [shown[failed.id]] == listed
        details = client.get(f"{API}/jobs/{canceled.id}/", headers=op).json()
        assert [each["status"] for each in details["job_exes"]] == ["QUEUED", "CANCELED"]

    def test_by_everything_else(
        self, client: httpx.Client, world: World, queued: Jobs, op: dict[str, str]
    ) -> None:
        day, night = queued(2, "day"), queued(1, "night", category="dark")
        for job in (*day, *night):
            fail(world, job)
        for body, count in (
            ({"job_type_names": ["night"], "status": "CANCELED"}, None),
            ({"job_type_categories": ["dark"], "job_type_ids": [day[0].job_type_id]}, None),
            ({"started": "PT1H", "ended": "PT30M"}, None),
            ({"job_type_names": ["night", "day"], "job_type_categories": ["dark"], "started": "PT1H"}, 1),
            ({"status": "FAILED"}, 2),
        ):
            answer = client.post(f"{REQUEUE}?page_size=1", json=body, headers=op)
            assert answer.status_code == (404 if count is None else 200), (body, answer.text)
            if count is not None:
                assert answer.json()["count"] == count
                assert len(answer.json()["results"]) == 1

    @pytest.mark.parametrize(
        ("body", "places"),
        [
            ({}, [""]),
            ({"priority": 1}, [""]),
            ({"url": "x", "status": None}, [""]),
            ({"status": "RUNNING"}, ["/status"]),
            ({"status": 1}, ["/status"]),
            ({"job_ids": []}, ["/job_ids"]),
            ({"job_ids": ["1", True, 2**63]}, ["/job_ids/0", "/job_ids/1", "/job_ids/2"]),
            ({"job_ids": 1}, ["/job_ids"]),
            ({"job_type_names": [None], "started": "yesterday"}, ["/job_type_names/0", "/started"]),
            ({"started": "2015-01-01T00:00:00"}, ["/started"]),
            ({"started": "PT1H", "ended": "PT2H"}, ["/started"]),
            ({"status": "FAILED", "priority": -1}, ["/priority"]),
            ({"status": "FAILED", "priority": 2**31}, ["/priority"]),
            ({"status": "FAILED", "job_id": 1}, ["/job_id"]),
            ({"job_id": None}, ["/job_id"]),
            ({"started": ""}, [""]),
            (
                {"job_id": 1, "job_ids": [1, "x"], "priority": -1, "status": "RUNNING", "ended": "now"},
                ["/job_id", "/job_ids/1", "/priority", "/status", "/ended"],
            ),
            ([], [""]),
        ],
    )
    def test_every_fault_is_told(
        self, client: httpx.Client, op: dict[str, str], body: Any, places: list[str]
    ) -> None:
        answer = client.post(REQUEUE, json=body, headers=op)
        assert answer.status_code == 400, answer.text
        assert [each["path"] for each in answer.json()["errors"]] == places

    def test_what_to_say_is_said(self, client: httpx.Client, database: str, op: dict[str, str]) -> None:
        answer = client.post(REQUEUE, json={"priority": 1}, headers=op)
        assert answer.json()["detail"] == (
            "Say which jobs are meant, by at least one of: started, ended, status, job_ids, job_type_ids, "
            "job_type_names, job_type_categories."
        )

    def test_none_matches(self, client: httpx.Client, world: World, op: dict[str, str]) -> None:
        answer = client.post(REQUEUE, json={"job_ids": [-1, 2**63 - 1]}, headers=op)
        assert (answer.status_code, answer.json()["detail"]) == (404, "No job matches these filters.")

    def test_a_page_past_the_end_changes_nothing(
        self, client: httpx.Client, world: World, queued: Jobs, op: dict[str, str]
    ) -> None:
        (job,) = queued(1)
        fail(world, job)
        assert client.post(f"{REQUEUE}?page=2", json={"status": "FAILED"}, headers=op).status_code == 400
        assert world.reload(job).status == "FAILED"


class TestRequeueJob:
    """POST /queue/requeue-job/, the older form."""

    def test_details_are_answered(
        self, client: httpx.Client, world: World, queued: Jobs, op: dict[str, str]
    ) -> None:
        (job,) = queued(1, max_tries=2)
        body = {"job_id": job.id}
        answer = client.post(f"{API}/queue/requeue-job/", json=body, headers=op)
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "Job must be in the CANCELED or FAILED state for requeue",
        )
        client.patch(f"{API}/jobs/{job.id}/", json={"status": "CANCELED"}, headers=op)
        answer = client.post(f"{API}/queue/requeue-job/", json=body, headers=op)
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        assert (shown["status"], shown["num_exes"], shown["max_tries"]) == ("QUEUED", 2, 3)
        assert shown == client.get(f"{API}/jobs/{job.id}/", headers=op).json()

    @pytest.mark.parametrize(
        ("body", "status"),
        [({"job_id": 999}, 404), ({"job_id": -1}, 404), ({"job_id": "1"}, 400), ({}, 400), ({"id": 1}, 400)],
    )
    def test_what_is_refused(
        self, client: httpx.Client, world: World, op: dict[str, str], body: Any, status: int
    ) -> None:
        assert client.post(f"{API}/queue/requeue-job/", json=body, headers=op).status_code == status


class TestCancelJobs:
    """POST /jobs/cancel/."""

    def test_every_state(self, client: httpx.Client, world: World, queued: Jobs, op: dict[str, str]) -> None:
        waiting, running, done = queued(3)
        world.claim(running)
        world.run(done)
        answer = client.post(CANCEL, json={"job_type_names": ["one"]}, headers=op)
        assert answer.status_code == 200, answer.text
        assert {each["id"]: each["status"] for each in answer.json()["results"]} == {
            waiting.id: "CANCELED",
            running.id: "CANCELED",
            done.id: "COMPLETED",
        }
        assert world.beat(world.execution(running).id).stop
        (execution,) = client.get(f"{API}/jobs/{running.id}/", headers=op).json()["job_exes"]
        assert execution["status"] == "CANCELED"

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({}, 400),
            ({"status": "COMPLETED"}, 400),
            ({"status": "FAILED", "priority": 1}, 400),
            ({"status": "PENDING"}, 404),
        ],
    )
    def test_what_is_refused(
        self, client: httpx.Client, world: World, op: dict[str, str], body: Any, status: int
    ) -> None:
        assert client.post(CANCEL, json=body, headers=op).status_code == status

    def test_readers_may_not(
        self, client: httpx.Client, world: World, queued: Jobs, viewer: dict[str, str]
    ) -> None:
        (job,) = queued(1)
        for path in (CANCEL, REQUEUE):
            assert client.post(path, json={"job_ids": [job.id]}, headers=viewer).status_code == 403
        assert world.reload(job).status == "QUEUED"
