# SPDX-License-Identifier: Apache-2.0
"""The recipe type services, in the shapes of the specification's examples."""

from __future__ import annotations

import copy
from typing import Any

import httpx
import pytest

from scale_airflow.services.installation import initialize
from scale_airflow.services.job_types import create_job_type
from scale_airflow.services.workspaces import create_workspace
from scale_airflow.store.session import transaction

API = "/scale/api"
TYPES = f"{API}/recipe-types/"
Headers = dict[str, str]

#: The specification's example of POST /recipe-types/.
EXAMPLE: dict[str, Any] = {
    "name": "my-recipe",
    "version": "1.0",
    "title": "My Recipe",
    "description": "This is a description of the recipe",
    "definition": {
        "input_data": [{"media_types": ["text/plain"], "type": "file", "name": "input_file"}],
        "jobs": [
            {
                "recipe_inputs": [{"job_input": "input_file", "recipe_input": "input_file"}],
                "name": "MyJob1",
                "job_type": {"name": "my-job1", "version": "1.2.3"},
            },
            {
                "recipe_inputs": [{"job_input": "input_file", "recipe_input": "input_file"}],
                "name": "MyJob2",
                "job_type": {"name": "my-job2", "version": "4.5.6"},
            },
        ],
    },
    "trigger_rule": {
        "type": "PARSE",
        "is_active": True,
        "configuration": {
            "version": "1.0",
            "condition": {"media_type": "text/plain", "data_types": []},
            "data": {"input_data_name": "input_file", "workspace_name": "rs"},
        },
    },
}
LISTED = {
    "id",
    "name",
    "version",
    "title",
    "description",
    "is_active",
    "definition",
    "revision_num",
    "created",
    "last_modified",
    "archived",
    "trigger_rule",
}
JOB_TYPE = {
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
    "interface",
}


@pytest.fixture(autouse=True)
def installed(database: str) -> None:
    interface = {
        "command": "run",
        "command_arguments": "${input_file}",
        "input_data": [{"media_types": ["text/plain"], "type": "file", "name": "input_file"}],
    }
    with transaction() as session:
        initialize(session)
        create_workspace(
            session, {"name": "rs", "json_config": {"broker": {"type": "host", "path": "/nowhere"}}}
        )
        for name, version in (("my-job1", "1.2.3"), ("my-job2", "4.5.6")):
            create_job_type(
                session, {"name": name, "version": version, "interface": interface}, publish=False
            )


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(EXAMPLE), **changes}


def test_create_list_details(client: httpx.Client, op: Headers, viewer: Headers) -> None:
    made = client.post(TYPES, json=EXAMPLE, headers=op)
    assert made.status_code == 201, made.text
    shown = made.json()
    assert made.headers["location"].endswith(f"{TYPES}{shown['id']}/")
    assert set(shown) == LISTED | {"job_types"}
    assert shown["definition"] == EXAMPLE["definition"]
    assert (shown["revision_num"], shown["is_active"], shown["archived"]) == (1, True, None)
    assert (shown["trigger_rule"]["type"], shown["trigger_rule"]["name"]) == ("PARSE", "my-recipe")
    assert [each["name"] for each in shown["job_types"]] == ["my-job1", "my-job2"]
    assert all(set(each) == JOB_TYPE for each in shown["job_types"])
    assert client.get(f"{TYPES}{shown['id']}/", headers=viewer).json() == shown

    client.post(TYPES, json=changed(name="a-recipe", trigger_rule=None), headers=op)
    listed = client.get(TYPES, headers=viewer).json()
    assert [each["name"] for each in listed["results"]] == ["a-recipe", "my-recipe"]
    assert all(set(each) == LISTED for each in listed["results"])
    assert [each["trigger_rule"] for each in listed["results"]] == [None, {"id": shown["trigger_rule"]["id"]}]
    by_rule = client.get(TYPES, params={"order": "-trigger_rule__id"}, headers=viewer)
    assert by_rule.status_code == 200


def test_title_is_the_name_if_nobody_says(client: httpx.Client, op: Headers) -> None:
    body = {name: EXAMPLE[name] for name in ("name", "version", "definition")}
    assert client.post(TYPES, json=body, headers=op).json()["title"] == "my-recipe"


def test_edit(client: httpx.Client, op: Headers) -> None:
    number = client.post(TYPES, json=EXAMPLE, headers=op).json()["id"]
    edit = f"{TYPES}{number}/"
    answer = client.patch(edit, json={"title": "Other"}, headers=op)
    assert (answer.status_code, answer.json()["revision_num"]) == (200, 1)
    shorter = {**EXAMPLE["definition"], "jobs": EXAMPLE["definition"]["jobs"][:1]}
    answer = client.patch(edit, json={"definition": shorter}, headers=op)
    assert answer.json()["revision_num"] == 2
    assert [each["name"] for each in answer.json()["job_types"]] == ["my-job1"]
    answer = client.patch(edit, json={"trigger_rule": None}, headers=op)
    assert answer.json()["trigger_rule"] is None
    assert client.get(edit, headers=op).json() == answer.json()
    revisions = client.get(f"{edit}revisions/", headers=op).json()["results"]
    assert [(each["revision_num"], len(each["definition"]["jobs"])) for each in revisions] == [(2, 1), (1, 2)]
    assert revisions[0]["dag_id"].endswith(".r2")


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"definition": {}}, {"/definition"}),
        ({"definition": None, "surprise": 1}, {"/definition", "/surprise"}),
        ({"trigger_rule": {"type": "PARSE"}}, {"/trigger_rule"}),
        ({"name": "", "version": 1}, {"/name", "/version"}),
    ],
)
def test_wrong_bodies(client: httpx.Client, op: Headers, changes: Any, paths: set[str]) -> None:
    for path in (TYPES, f"{TYPES}validation/"):
        answer = client.post(path, json=changed(**changes), headers=op)
        assert answer.status_code == 400
        assert {fault["path"] for fault in answer.json()["errors"]} == paths


def test_wrong_references(client: httpx.Client, op: Headers) -> None:
    wrong = changed()
    wrong["definition"]["jobs"][0]["job_type"]["name"] = "my-job3"
    wrong["definition"]["jobs"][1]["recipe_inputs"] = []
    wrong["trigger_rule"]["configuration"]["data"]["workspace_name"] = "sr"
    answer = client.post(TYPES, json=wrong, headers=op)
    assert {fault["path"] for fault in answer.json()["errors"]} == {
        "/definition/jobs/0/job_type",
        "/definition/jobs/1",
        "/trigger_rule/configuration/data/workspace_name",
    }


def test_validation(client: httpx.Client, op: Headers) -> None:
    warned = changed()
    warned["definition"]["input_data"][0]["media_types"] = ["image/png"]
    answer = client.post(f"{TYPES}validation/", json=warned, headers=op)
    assert answer.status_code == 200
    details = {each["details"] for each in answer.json()["warnings"]}
    assert "Invalid media type for data input: input_file -> image/png" in details
    assert client.get(TYPES, headers=op).json()["count"] == 0
    assert client.post(TYPES, json=EXAMPLE, headers=op).status_code == 201
    assert client.post(TYPES, json=EXAMPLE, headers=op).status_code == 400
    assert client.post(f"{TYPES}validation/", json=EXAMPLE, headers=op).status_code == 200


def test_no_such_type(client: httpx.Client, op: Headers) -> None:
    for number in (0, 99, 2**63, 10**40):
        assert client.get(f"{TYPES}{number}/", headers=op).status_code == 404
        assert client.get(f"{TYPES}{number}/revisions/", headers=op).status_code == 404
        assert client.patch(f"{TYPES}{number}/", json={}, headers=op).status_code == 404


def test_permissions(client: httpx.Client, viewer: Headers) -> None:
    assert client.get(TYPES).status_code == 401
    for path in (TYPES, f"{TYPES}validation/"):
        assert client.post(path, json=EXAMPLE, headers=viewer).status_code == 403
