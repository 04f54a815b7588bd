# SPDX-License-Identifier: Apache-2.0
"""Many jobs are queued with one request: all of them, or none."""

from __future__ import annotations

import copy
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from world import World, interface

from scale_airflow.services.bulk_queue import MOST_JOBS
from scale_airflow.store.models import (
    Job,
    JobExecution,
    JobInputFile,
    JobType,
    QueueEntry,
    TriggerEvent,
)

API = "/scale/api"
NEW = f"{API}/queue/new-jobs/"

OWN = {"id", "why", "created", "queued", "last_status_change", "last_modified", "event", "job_exes"}
"""What two jobs of the same data differ in."""


def entry(world: World, job_type: JobType, *sources: int, text: str = "HELLO") -> dict[str, Any]:
    return {
        "job_type_id": job_type.id,
        "job_data": {
            "version": "1.0",
            "input_data": [
                {"name": "scenes", "file_ids": list(sources)},
                {"name": "text", "value": text},
            ],
            "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
        },
    }


@pytest.fixture
def job_type(world: World) -> JobType:
    return world.job_type("one", interface({"scenes": "files", "text": "property"}), priority=7)


def test_each_is_as_if_it_were_queued_alone(
    client: httpx.Client, world: World, session: Session, job_type: JobType, op: dict[str, str]
) -> None:
    plain = world.job_type("plain", interface({}, {}))
    sources = [world.source(f"{name}.zip").id for name in "ab"]
    wanted = [
        entry(world, job_type, *sources),
        {"job_type_id": plain.id},
        entry(world, job_type, sources[1], sources[1], text="two words"),
        {"job_type_id": plain.id, "job_data": {"input_data": [{"name": "no such", "file_id": 999}]}},
    ]
    answer = client.post(NEW, json={"jobs": wanted}, headers=op)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert list(made) == ["count", "results"]
    assert made["count"] == len(made["results"]) == 4
    events = set()
    for body, each in zip(wanted, made["results"], strict=True):
        alone = client.post(f"{API}/queue/new-job/", json=body, headers=op)
        assert alone.status_code == 201, alone.text
        shown = client.get(f"{API}/jobs/{each['id']}/", headers=op).json()
        events.add(shown["event"]["id"])
        (execution,) = shown["job_exes"]
        assert each["job_exe"] == {"id": execution["id"]}
        assert (shown["status"], execution["status"], shown["num_exes"]) == ("QUEUED", "QUEUED", 1)
        (expected,) = alone.json()["job_exes"]
        assert shown.keys() == alone.json().keys()
        assert without_own(shown) == without_own(alone.json())
        different = {"id", "job", "created", "queued", "last_modified"}
        assert {name: execution[name] for name in execution.keys() - different} == {
            name: expected[name] for name in expected.keys() - different
        }
    (event,) = events
    assert session.get_one(TriggerEvent, event).description["user"] == "op"
    ids = [each["id"] for each in made["results"]]
    assert ids == sorted(ids)
    signatures = session.scalars(select(Job.input_signature).order_by(Job.id)).all()
    assert signatures[:4] == signatures[4:]
    # They are dispatched in the order of the request, the most urgent first, and run.
    assert world.dispatch() >= 4
    for number in ids:
        world.run(session.get_one(Job, number))
        assert world.reload(session.get_one(Job, number)).status == "COMPLETED"


def without_own(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name not in OWN}


def counts(session: Session) -> list[int]:
    session.expire_all()
    tables = (Job, JobExecution, JobInputFile, QueueEntry, TriggerEvent)
    return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def test_one_that_is_wrong_keeps_all_from_being_queued(
    client: httpx.Client, world: World, session: Session, job_type: JobType, op: dict[str, str]
) -> None:
    good = entry(world, job_type, world.source().id)
    empty = world.job_type("no image", interface({}, {}), docker_image=None)
    before = counts(session)
    wrong: list[Any] = [copy.deepcopy(good) for _ in range(4)]
    wrong[0]["job_data"]["input_data"][0]["file_ids"] = [2**62]
    wrong[1]["job_data"]["output_data"][0]["workspace_id"] = 999
    wrong[2]["job_data"]["input_data"][1] = {"name": "text"}
    wrong[3]["job_type_id"] = 999
    wrong.append({"job_type_id": empty.id})
    answer = client.post(NEW, json={"jobs": [good, *wrong, good]}, headers=op)
    assert answer.status_code == 400, answer.text
    assert [each["path"] for each in answer.json()["errors"]] == [
        "/jobs/1/job_data/input_data/0/file_ids/0",
        "/jobs/2/job_data/output_data/0/workspace_id",
        "/jobs/3/job_data/input_data/1",
        "/jobs/4/job_type_id",
        "/jobs/5/job_type_id",
    ]
    shapes = [good, 1, {}, {"job_type_id": "x", "job_dat": 1}, {"job_type_id": 2**63, "job_data": []}]
    answer = client.post(NEW, json={"jobs": shapes}, headers=op)
    assert answer.status_code == 400
    assert [each["path"] for each in answer.json()["errors"]] == [
        "/jobs/1",
        "/jobs/2/job_type_id",
        "/jobs/3/job_type_id",
        "/jobs/3/job_dat",
        "/jobs/4/job_type_id",
        "/jobs/4/job_data",
    ]
    several = [{"job_type_id": "x"}, {**good, "job_data": {"output_data": {}}}, good]
    answer = client.post(NEW, json={"jobs": several, "more": 1}, headers=op)
    assert [each["path"] for each in answer.json()["errors"]] == [
        "/jobs/0/job_type_id",
        "/jobs/1/job_data/output_data",
        "/more",
    ]
    for body in ({}, [], {"jobs": {}}, {"jobs": []}, {"jobs": [good], "more": 1}):
        answer = client.post(NEW, json=body, headers=op)
        assert answer.status_code == 400, (body, answer.text)
        assert answer.json()["errors"]
    assert counts(session) == before


def test_how_many(client: httpx.Client, world: World, session: Session, op: dict[str, str]) -> None:
    plain = world.job_type("plain", interface({}, {}))
    before = counts(session)
    too_many = [{"job_type_id": plain.id}] * (MOST_JOBS + 1)
    answer = client.post(NEW, json={"jobs": too_many}, headers=op)
    assert answer.status_code == 400
    assert "From 1 to 10000 jobs can be queued at once; there are 10001." in answer.json()["detail"]
    # However many are wrong, not more is told than anybody reads.
    answer = client.post(NEW, json={"jobs": [{}] * MOST_JOBS}, headers=op)
    assert answer.status_code == 400
    assert 100 < len(answer.json()["errors"]) < 300
    assert counts(session) == before
    answer = client.post(NEW, json={"jobs": too_many[:1000]}, headers=op)
    assert answer.status_code == 201, answer.text
    assert answer.json()["count"] == 1000
    jobs, executions, files, entries, events = counts(session)
    assert [jobs, executions, files, entries, events] == [1000, 1000, 0, 1000, before[4] + 1]


def test_needs_the_permission(client: httpx.Client, database: str, viewer: dict[str, str]) -> None:
    assert client.post(NEW, json={"jobs": []}).status_code == 401
    assert client.post(NEW, json={"jobs": []}, headers=viewer).status_code == 403
