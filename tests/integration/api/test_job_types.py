# SPDX-License-Identifier: Apache-2.0
"""The job type services, in the shapes of the specification's examples."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from world import World, interface

from scale_airflow.services.installation import initialize
from scale_airflow.services.queue import queue_job, user_event
from scale_airflow.services.workspaces import create_workspace
from scale_airflow.store.models import ErrorModel, utcnow
from scale_airflow.store.session import transaction

API = "/scale/api"
TYPES = f"{API}/job-types/"
Headers = dict[str, str]

#: The specification's example of POST /job-types/.
EXAMPLE: dict[str, Any] = {
    "name": "my-job",
    "version": "1.0",
    "title": "My Job",
    "description": "This is a description of the job",
    "category": "test",
    "author_name": None,
    "author_url": None,
    "is_long_running": False,
    "is_operational": True,
    "is_paused": False,
    "icon_code": "f1c5",
    "docker_privileged": False,
    "docker_image": None,
    "priority": 1,
    "timeout": 0,
    "max_tries": 0,
    "cpus_required": 0.5,
    "mem_required": 64.0,
    "disk_out_const_required": 64.0,
    "disk_out_mult_required": 0.0,
    "interface": {
        "version": "1.0",
        "command": "test_cmd",
        "command_arguments": "test_arg",
        "input_data": [{"media_types": ["image/png"], "type": "file", "name": "input_file"}],
        "output_data": [],
        "shared_resources": [],
    },
    "error_mapping": {"version": "1.0", "exit_codes": {"1": "unknown"}},
    "trigger_rule": {
        "type": "PARSE",
        "is_active": True,
        "configuration": {
            "version": "1.0",
            "condition": {"media_type": "image/png", "data_types": []},
            "data": {"input_data_name": "input_file", "workspace_name": "rs"},
        },
    },
}

BRIEF = {
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
}
LISTED = BRIEF | {
    "uses_docker",
    "docker_privileged",
    "docker_image",
    "revision_num",
    "priority",
    "timeout",
    "max_scheduled",
    "max_tries",
    "cpus_required",
    "mem_required",
    "disk_out_const_required",
    "disk_out_mult_required",
    "created",
    "archived",
    "paused",
    "last_modified",
}
DETAILS = LISTED | {
    "interface",
    "error_mapping",
    "configuration",
    "trigger_rule",
    "errors",
    "job_counts_6h",
    "job_counts_12h",
    "job_counts_24h",
}


@pytest.fixture(autouse=True)
def installed(database: str) -> None:
    broker = {"broker": {"type": "host", "path": "/nowhere"}}
    with transaction() as session:
        initialize(session)
        create_workspace(session, {"name": "rs", "json_config": broker})


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(EXAMPLE), **changes}


def test_create_and_details(client: httpx.Client, op: Headers, viewer: Headers) -> None:
    made = client.post(TYPES, json=EXAMPLE, headers=op)
    assert made.status_code == 201, made.text
    number = made.json()["id"]
    assert made.headers["location"].endswith(f"{TYPES}{number}/")
    assert set(made.json()) == DETAILS
    assert client.get(f"{TYPES}{number}/", headers=viewer).json() == made.json()
    shown = made.json()
    same = {name: shown[name] for name in EXAMPLE if name != "trigger_rule"}
    assert same == {name: value for name, value in EXAMPLE.items() if name != "trigger_rule"}
    assert (shown["revision_num"], shown["is_system"], shown["max_scheduled"]) == (1, False, None)
    assert set(shown["trigger_rule"]) == {
        "id",
        "type",
        "name",
        "is_active",
        "configuration",
        "created",
        "archived",
        "last_modified",
    }
    assert shown["trigger_rule"]["name"] == "my-job"
    assert [each["name"] for each in shown["errors"]] == ["unknown"]
    assert shown["job_counts_6h"] == shown["job_counts_12h"] == shown["job_counts_24h"] == []


def test_list(client: httpx.Client, op: Headers, viewer: Headers) -> None:
    client.post(TYPES, json=EXAMPLE, headers=op)
    listed = client.get(TYPES, headers=viewer).json()
    assert listed["count"] == 6
    assert [each["name"] for each in listed["results"]] == [
        "my-job",
        "scale-cleanup",
        "scale-clock",
        "scale-daily-metrics",
        "scale-ingest",
        "scale-strike",
    ]
    assert all(set(each) == LISTED for each in listed["results"])
    found = client.get(TYPES, params={"name": ["my-job", "scale-clock"], "category": "test"}, headers=viewer)
    assert [each["name"] for each in found.json()["results"]] == ["my-job"]
    found = client.get(TYPES, params={"order": ["-priority", "name"], "page_size": 1}, headers=viewer)
    assert found.json()["results"][0]["name"] == "scale-daily-metrics"
    assert client.get(TYPES, params={"ended": "P1D"}, headers=viewer).json()["count"] == 0


def test_edit(client: httpx.Client, op: Headers) -> None:
    number = client.post(TYPES, json=EXAMPLE, headers=op).json()["id"]
    edit = f"{TYPES}{number}/"
    # A web client sends fields that no job type has, and name and version along.
    answer = client.patch(edit, json={"is_paused": True, "error_mappings": {}, "name": "x"}, headers=op)
    assert answer.status_code == 200
    assert (answer.json()["is_paused"], answer.json()["name"]) == (True, "my-job")
    assert answer.json()["paused"] is not None

    other = {**EXAMPLE["interface"], "command": "other"}
    answer = client.patch(edit, json={"interface": other, "max_scheduled": 2}, headers=op)
    assert (answer.json()["revision_num"], answer.json()["max_scheduled"]) == (2, 2)

    first = answer.json()["trigger_rule"]
    answer = client.patch(edit, json={"trigger_rule": {"is_active": False}}, headers=op)
    assert answer.json()["trigger_rule"]["id"] == first["id"]
    assert answer.json()["trigger_rule"]["is_active"] is False
    answer = client.patch(edit, json={"trigger_rule": None}, headers=op)
    assert answer.json()["trigger_rule"] is None
    assert client.get(edit, headers=op).json() == answer.json()

    revisions = client.get(f"{edit}revisions/", headers=op).json()
    assert [each["revision_num"] for each in revisions["results"]] == [2, 1]
    assert revisions["results"][0]["interface"]["command"] == "other"
    assert revisions["results"][1]["interface"]["command"] == "test_cmd"


def test_edit_that_breaks_a_recipe(client: httpx.Client, op: Headers) -> None:
    number = client.post(TYPES, json=EXAMPLE, headers=op).json()["id"]
    job = {
        "name": "only",
        "job_type": {"name": "my-job", "version": "1.0"},
        "recipe_inputs": [{"recipe_input": "image", "job_input": "input_file"}],
    }
    recipe = {
        "name": "r",
        "version": "1",
        "definition": {"input_data": [{"name": "image", "type": "file"}], "jobs": [job]},
    }
    assert client.post(f"{API}/recipe-types/", json=recipe, headers=op).status_code == 201
    renamed = copy.deepcopy(EXAMPLE["interface"])
    renamed["input_data"][0]["name"] = "renamed"
    body = {"interface": renamed, "trigger_rule": None}
    answer = client.patch(f"{TYPES}{number}/", json=body, headers=op)
    assert answer.status_code == 400
    assert [fault["path"] for fault in answer.json()["errors"]] == ["/interface"]
    assert client.get(f"{TYPES}{number}/", headers=op).json()["revision_num"] == 1


def test_validation(client: httpx.Client, op: Headers) -> None:
    answer = client.post(f"{TYPES}validation/", json=EXAMPLE, headers=op)
    assert (answer.status_code, answer.json()) == (200, {"warnings": []})
    warned = changed()
    warned["trigger_rule"]["configuration"]["condition"]["media_type"] = "text/plain"
    answer = client.post(f"{TYPES}validation/", json=warned, headers=op)
    assert answer.json() == {
        "warnings": [
            {"id": "media_type", "details": "Invalid media type for data input: input_file -> text/plain"}
        ]
    }
    assert client.get(TYPES, headers=op).json()["count"] == 5
    assert client.post(TYPES, json=EXAMPLE, headers=op).status_code == 201
    assert client.post(TYPES, json=EXAMPLE, headers=op).status_code == 400
    assert client.post(f"{TYPES}validation/", json=EXAMPLE, headers=op).status_code == 200


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"timeout": -1, "max_tries": -1, "priority": "high"}, {"/timeout", "/max_tries", "/priority"}),
        ({"surprise": 1}, {"/surprise"}),
        ({"interface": None}, {"/interface"}),
        ({"interface": {"command": "x"}}, {"/interface"}),
        ({"error_mapping": {"exit_codes": {"1": "unknwon"}}}, {"/error_mapping/exit_codes/1"}),
        ({"trigger_rule": {"type": "PARSE"}}, {"/trigger_rule"}),
        ({"trigger_rule": {"configuration": {}}}, {"/trigger_rule"}),
        ({"trigger_rule": {"is_active": True}}, {"/trigger_rule"}),
        ({"name": "scale-clock", "version": "1.0"}, {"/version"}),
        ({"name": "a\tb"}, {"/name"}),
        ({"name": "x" * 256}, {"/name"}),
        ({"priority": 2**31}, {"/priority"}),
        ({"mem_required": 1e300}, {"/mem_required"}),
    ],
)
def test_wrong_bodies(client: httpx.Client, op: Headers, changes: Any, paths: set[str]) -> None:
    answer = client.post(TYPES, json=changed(**changes), headers=op)
    assert answer.status_code == 400
    assert {fault["path"] for fault in answer.json()["errors"]} == paths


def test_system_types_stay(client: httpx.Client, op: Headers) -> None:
    number = client.get(TYPES, params={"name": "scale-ingest"}, headers=op).json()["results"][0]["id"]
    assert client.patch(f"{TYPES}{number}/", json={"is_paused": True}, headers=op).status_code == 400
    body = changed(name="scale-ingest")
    assert client.post(f"{TYPES}validation/", json=body, headers=op).status_code == 400


def test_no_such_type(client: httpx.Client, op: Headers) -> None:
    for number in (0, 99, 2**63, 10**40):
        assert client.get(f"{TYPES}{number}/", headers=op).status_code == 404
        assert client.get(f"{TYPES}{number}/revisions/", headers=op).status_code == 404
        assert client.patch(f"{TYPES}{number}/", json={}, headers=op).status_code == 404


def test_permissions(client: httpx.Client, viewer: Headers) -> None:
    assert client.get(TYPES).status_code == 401
    for path in (TYPES, f"{TYPES}validation/"):
        assert client.post(path, json=EXAMPLE, headers=viewer).status_code == 403


@pytest.fixture
def jobs(world: World) -> dict[str, int]:
    """Jobs of two types in some statuses since some hours; the ids of the types."""
    session = world.session
    errors = {error.name: error.id for error in session.scalars(select(ErrorModel))}
    plain = interface(inputs={}, outputs={})
    types = {name: world.job_type(name, plain) for name in ("counted", "other")}
    for name, status, hours, error in (
        ("counted", "QUEUED", 1, None),
        ("counted", "COMPLETED", 1, None),
        ("counted", "COMPLETED", 8, None),
        ("counted", "FAILED", 20, "unknown"),
        ("counted", "FAILED", 21, "unknown"),
        ("counted", "FAILED", 30, "nfs"),
        ("counted", "RUNNING", 40, None),
        ("other", "RUNNING", 50, None),
        ("other", "RUNNING", 1, None),
        ("other", "FAILED", 2, "unknown"),
    ):
        job = queue_job(session, job_type=types[name], data={}, event=user_event(session, "somebody"))
        job.status, job.last_status_change = status, utcnow() - timedelta(hours=hours)
        job.started = job.last_status_change
        job.error_id = errors[error] if error else None
    session.commit()
    return {name: each.id for name, each in types.items()}


def counts_of(shown: list[dict[str, Any]]) -> list[tuple[str, int, str | None]]:
    assert all(each["most_recent"].endswith("Z") for each in shown)
    return [(each["status"], each["count"], each["category"]) for each in shown]


def test_counts(client: httpx.Client, op: Headers, jobs: dict[str, int]) -> None:
    """Jobs count by the status they came into within the hours, failed ones by their error's category."""
    shown = client.get(f"{TYPES}{jobs['counted']}/", headers=op).json()
    assert {hours: counts_of(shown[f"job_counts_{hours}h"]) for hours in (6, 12, 24)} == {
        6: [("COMPLETED", 1, None), ("QUEUED", 1, None)],
        12: [("COMPLETED", 2, None), ("QUEUED", 1, None)],
        24: [("COMPLETED", 2, None), ("FAILED", 2, "SYSTEM"), ("QUEUED", 1, None)],
    }


def test_status(client: httpx.Client, viewer: Headers, jobs: dict[str, int]) -> None:
    """Every type is listed, and what runs counts whatever the range is."""
    shown = client.get(f"{TYPES}status/", headers=viewer).json()
    assert shown["count"] == 7
    found = {each["job_type"]["name"]: counts_of(each["job_counts"]) for each in shown["results"]}
    assert found.pop("counted") == [("COMPLETED", 1, None), ("QUEUED", 1, None), ("RUNNING", 1, None)]
    assert found.pop("other") == [("FAILED", 1, "SYSTEM"), ("RUNNING", 2, None)]
    assert set(found) == {
        f"scale-{name}" for name in ("cleanup", "clock", "daily-metrics", "ingest", "strike")
    }
    assert all(counts == [] for counts in found.values())
    assert set(shown["results"][0]["job_type"]) == BRIEF

    ranged = client.get(
        f"{TYPES}status/", params={"started": "PT31H", "ended": "PT7H"}, headers=viewer
    ).json()
    found = {each["job_type"]["name"]: counts_of(each["job_counts"]) for each in ranged["results"]}
    assert found["counted"] == [("COMPLETED", 1, None), ("FAILED", 3, "SYSTEM"), ("RUNNING", 1, None)]
    assert client.get(f"{TYPES}status/", params={"ended": "PT4H"}, headers=viewer).status_code == 400


def test_running(client: httpx.Client, viewer: Headers, jobs: dict[str, int]) -> None:
    stray = {"pageNumber": 1, "url": "x"}
    shown = client.get(f"{TYPES}running/", params=stray, headers=viewer).json()
    assert [(each["job_type"]["name"], each["count"]) for each in shown["results"]] == [
        ("other", 2),
        ("counted", 1),
    ]
    assert shown["results"][0]["longest_running"] < shown["results"][1]["longest_running"]
    second = client.get(f"{TYPES}running/", params={"page": 2, "page_size": 1}, headers=viewer).json()
    assert (second["count"], second["results"]) == (2, shown["results"][1:])


def test_system_failures(client: httpx.Client, viewer: Headers, jobs: dict[str, int]) -> None:
    shown = client.get(f"{TYPES}system-failures/", headers=viewer).json()
    found = [(each["job_type"]["name"], each["error"]["name"], each["count"]) for each in shown["results"]]
    assert found == [("other", "unknown", 1), ("counted", "unknown", 2), ("counted", "nfs", 1)]
    assert shown["results"][1]["first_error"] < shown["results"][1]["last_error"]
