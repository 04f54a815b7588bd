# SPDX-License-Identifier: Apache-2.0
"""Jobs with their input files as they change their status, and jobs with their latest executions."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from world import World, interface

from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import Job, JobType

API = "/scale/api"
START = datetime(2015, 1, 1, tzinfo=timezone.utc)


def queue(world: World, job_type: JobType, files: dict[str, list[int]]) -> int:
    """Queue a job on these files of each input."""
    inputs = [
        {"name": each, "file_ids": ids} if len(ids) > 1 else {"name": each, "file_id": ids[0]}
        for each, ids in files.items()
    ]
    event = user_event(world.session, "me")
    job = queue_job(world.session, job_type=job_type, data={"input_data": inputs}, event=event)
    world.session.commit()
    return job.id


@pytest.fixture
def jobs(world: World) -> list[int]:
    """Four jobs that changed their status in the reverse order of their ids.

    The first was never queued, the last is in its second try.
    """
    sources = [world.source(f"scene {number}.zip").id for number in range(3)]
    none = world.job_type("none", interface({}, {}), category="science")
    one = world.job_type("one", interface({"input": "file"}, {}), category="science")
    many = world.job_type("many", interface({"some": "files", "again": "file"}, {}))
    made = [
        queue(world, none, {}),
        queue(world, one, {"input": [sources[1]]}),
        queue(world, many, {"some": [sources[2], sources[0]], "again": [sources[2]]}),
        queue(world, one, {"input": [sources[1]]}),
    ]
    world.dispatch()
    order = world.claim(world.session.get_one(Job, made[3])).order
    assert order is not None
    world.fail(order, exit_code=1)
    for number, job_id in enumerate(reversed(made)):
        changed = START + timedelta(days=number)
        values = {"last_status_change": changed, "last_modified": START + timedelta(days=10 - number)}
        world.session.execute(update(Job).where(Job.id == job_id).values(values))
    never = {"num_exes": 0, "status": "PENDING", "last_modified": START + timedelta(days=7)}
    world.session.execute(update(Job).where(Job.id == made[0]).values(never))
    world.session.commit()
    return made


def shown(client: httpx.Client, path: str, login: dict[str, str]) -> list[Any]:
    answer = client.get(f"{API}{path}", headers=login)
    assert answer.status_code == 200, answer.text
    found = list(answer.json()["results"])
    assert answer.json()["count"] == (4 if "page_size=" in path else len(found))
    return found


def test_updates_show_the_input_files(client: httpx.Client, jobs: list[int], viewer: dict[str, str]) -> None:
    found = shown(client, "/jobs/updates/", viewer)
    assert [each["id"] for each in found] == jobs[::-1]
    assert [[file["file_name"] for file in each["input_files"]] for each in found] == [
        ["scene 1.zip"],
        ["scene 0.zip", "scene 2.zip"],
        ["scene 1.zip"],
        [],
    ]
    (file,) = found[0]["input_files"]
    details = client.get(f"{API}/jobs/{jobs[3]}/", headers=viewer).json()
    assert [file] == details["input_files"]
    (in_list,) = shown(client, f"/jobs/?job_id={jobs[3]}", viewer)
    assert {**in_list, "input_files": [file]} == found[0]
    for query, expected in UPDATES.items():
        answer = shown(client, f"/jobs/updates/?{query}", viewer)
        assert [jobs.index(each["id"]) for each in answer] == expected, query


UPDATES = {
    "": [3, 2, 1, 0],
    "order=-last_status_change": [0, 1, 2, 3],
    "order=job_type__category&order=-job_type__name&order=-id": [3, 1, 0, 2],
    # The range is of the change of the status, which is earlier than the last change of anything.
    "started=2015-01-02T00:00:00Z&ended=2015-01-03T00:00:00Z": [2, 1],
    "started=2015-01-05T00:00:00Z": [],
    "status=PENDING": [0],
    "status=RUNNING": [],
    "job_type_category=science": [3, 1, 0],
    "job_type_category=science&job_type_name=none&job_type_name=many": [0],
    "job_type_name=many&job_type_name=one": [3, 2, 1],
    "job_type_id=0": [],
    "page_size=2&page=2": [1, 0],
    # The specification has no such filter here, so it is ignored.
    "job_id=0": [3, 2, 1, 0],
}
WITH_EXECUTIONS = {
    "": [0, 1, 2, 3],
    "order=-last_modified": [3, 2, 1, 0],
    "order=latest_job_exe&order=-id": [1, 2, 3, 0],
    "order=latest_job_exe__node&order=-latest_job_exe__queued": [0, 3, 2, 1],
    "job_id={1}&job_id={3}": [1, 3],
    "job_id={1}&job_type_name=many": [],
    "status=QUEUED&job_type_category=science": [1, 3],
    "started=2015-01-09T00:00:00Z&ended=2015-01-10T00:00:00Z": [1, 2],
}


def test_jobs_with_their_latest_executions(
    client: httpx.Client, world: World, jobs: list[int], op: dict[str, str]
) -> None:
    found = {each["id"]: each for each in shown(client, "/jobs/executions/", op)}
    failed = found[jobs[3]]
    details = client.get(f"{API}/jobs/{jobs[3]}/", headers=op).json()
    # The error is a system error, so there is a second try.
    latest, first = details["job_exes"]
    assert failed["latest_job_exe"] == latest
    assert (latest["status"], first["status"], failed["num_exes"]) == ("QUEUED", "FAILED", 2)
    assert first["error"]["name"] == "unknown"
    assert latest["job"] == {"id": jobs[3]}
    (in_list,) = shown(client, f"/jobs/?job_id={jobs[3]}", op)
    assert failed == {**in_list, "latest_job_exe": latest}
    assert found[jobs[0]]["latest_job_exe"] is None
    for query, expected in WITH_EXECUTIONS.items():
        answer = shown(client, f"/jobs/executions/?{query.format(*jobs)}", op)
        assert [jobs.index(each["id"]) for each in answer] == expected, query


@pytest.mark.parametrize("path", ["/jobs/updates/", "/jobs/executions/"])
def test_wrong_parameters_are_told_all_at_once(
    client: httpx.Client, viewer: dict[str, str], path: str
) -> None:
    query = "page=0&page_size=1001&started=2015-01-01&ended=x&status=DONE&job_type_id=x"
    answer = client.get(f"{API}{path}?{query}", headers=viewer)
    assert answer.status_code == 400
    places = {fault["path"] for fault in answer.json()["errors"]}
    assert places == {"page", "page_size", "started", "ended", "status", "job_type_id"}
    assert client.get(f"{API}{path}?order=input_files", headers=viewer).status_code == 400
