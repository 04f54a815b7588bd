# SPDX-License-Identifier: Apache-2.0
"""The import/export services: export, download, import, validation, upload."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from scale_airflow.services.installation import initialize
from scale_airflow.store.session import transaction

API = "/scale/api"
CONFIGURATION = f"{API}/configuration/"
Headers = dict[str, str]


def document() -> dict[str, Any]:
    return {
        "version": "1.0",
        "errors": [
            {"name": "bad-data", "title": "Bad Data", "description": "Bad data detected", "category": "DATA"}
        ],
        "job_types": [
            {
                "name": "my-job",
                "version": "1.0.0",
                "category": "mine",
                "interface": {
                    "command": "my-cmd",
                    "command_arguments": "${input_file} ${job_output_dir}",
                    "input_data": [{"media_types": ["image/png"], "type": "file", "name": "input_file"}],
                },
                "error_mapping": {"version": "1.0", "exit_codes": {"1": "bad-data"}},
            }
        ],
        "recipe_types": [
            {
                "name": "my-recipe",
                "version": "1.0.0",
                "definition": {
                    "input_data": [{"media_types": ["image/tiff"], "type": "file", "name": "input_file"}],
                    "jobs": [
                        {
                            "name": "only",
                            "job_type": {"name": "my-job", "version": "1.0.0"},
                            "recipe_inputs": [{"recipe_input": "input_file", "job_input": "input_file"}],
                        }
                    ],
                },
            }
        ],
    }


WARNINGS = {
    "warnings": [
        {"id": "media_type", "details": "Invalid media type for data input: input_file -> image/tiff"}
    ]
}


@pytest.fixture(autouse=True)
def installed(database: str) -> None:
    with transaction() as session:
        initialize(session)


def exported(client: httpx.Client, headers: Headers, **filters: Any) -> dict[str, list[str]]:
    answer = client.get(CONFIGURATION, params=filters, headers=headers)
    assert answer.status_code == 200
    assert answer.json().pop("version") == "1.0"
    return {
        part: [each["name"] for each in entries]
        for part, entries in answer.json().items()
        if isinstance(entries, list)
    }


NOTHING: dict[str, list[str]] = {"recipe_types": [], "job_types": [], "errors": []}


def test_import_and_export(client: httpx.Client, op: Headers, viewer: Headers) -> None:
    answer = client.post(f"{CONFIGURATION}validation/", json={"import": document()}, headers=op)
    assert (answer.status_code, answer.json()) == (200, WARNINGS)
    assert exported(client, viewer) == NOTHING
    answer = client.post(CONFIGURATION, json={"import": document()}, headers=op)
    assert (answer.status_code, answer.json()) == (200, WARNINGS)

    first = client.get(CONFIGURATION, headers=viewer).json()
    assert client.post(CONFIGURATION, json={"import": first}, headers=op).status_code == 200
    assert client.get(CONFIGURATION, headers=viewer).json() == first
    assert list(first["job_types"][0])[:2] == ["name", "version"]
    assert client.get(f"{API}/recipe-types/", headers=viewer).json()["results"][0]["revision_num"] == 1


def test_filters(client: httpx.Client, op: Headers) -> None:
    client.post(CONFIGURATION, json={"import": document()}, headers=op)
    everything = {"recipe_types": ["my-recipe"], "job_types": ["my-job"], "errors": ["bad-data"]}
    assert exported(client, op) == everything
    assert exported(client, op, recipe_type_name="my-recipe") == everything
    assert exported(client, op, recipe_type_id=99) == NOTHING
    assert exported(client, op, job_type_category=["other", "mine"]) == everything
    assert exported(client, op, include=["errors"]) == {**NOTHING, "errors": ["bad-data"]}
    for wrong in ({"include": "error"}, {"error_id": "x"}, {"job_type_id": 10**30}):
        assert client.get(CONFIGURATION, params=wrong, headers=op).status_code == 400


def test_download(client: httpx.Client, op: Headers, viewer: Headers) -> None:
    client.post(CONFIGURATION, json={"import": document()}, headers=op)
    answer = client.get(f"{CONFIGURATION}download/", headers=viewer)
    name = r"attachment; filename=scale-export_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.json"
    assert re.fullmatch(name, answer.headers["content-disposition"])
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == client.get(CONFIGURATION, headers=viewer).json()


def test_upload(client: httpx.Client, op: Headers) -> None:
    upload = f"{CONFIGURATION}upload/"
    content = json.dumps(document())
    answer = client.post(upload, files={"import": ("export.json", content)}, headers=op)
    assert (answer.status_code, answer.json()) == (200, WARNINGS)
    by_script = {**op, "X-Requested-With": "XMLHttpRequest", "X-File-Name": "export.JSON"}
    assert client.post(upload, content=content, headers=by_script).status_code == 200

    for files in (
        {"import": ("export.txt", content)},
        {"import": ("export.json", "{")},
        {"a": ("a.json", content), "b": ("b.json", content)},
        {},
    ):
        answer = client.post(upload, files=files, headers=op)
        assert answer.status_code == 400, answer.text
        assert answer.json()["detail"]
    assert client.post(upload, content=content, headers={**op, "X-File-Name": "x.yaml"}).status_code == 400
    assert client.post(upload, data={"import": content}, headers=op).status_code == 400
    broken = {**op, "Content-Type": "multipart/form-data; boundary=x"}
    assert client.post(upload, content=b"--y\r\nnonsense", headers=broken).status_code == 400


def test_every_fault_with_its_place(client: httpx.Client, op: Headers) -> None:
    wrong = document()
    wrong["errors"][0]["category"] = "SYSTEM"
    wrong["job_types"][0]["priority"] = -1
    wrong["recipe_types"][0]["definition"]["jobs"][0]["recipe_inputs"][0]["recipe_input"] = "x"
    for path in (CONFIGURATION, f"{CONFIGURATION}validation/"):
        answer = client.post(path, json={"import": wrong}, headers=op)
        assert answer.status_code == 400
        assert {fault["path"] for fault in answer.json()["errors"]} == {
            "/import/errors/0/category",
            "/import/job_types/0/priority",
            "/import/recipe_types/0/definition/jobs/0/recipe_inputs/0/recipe_input",
        }
    assert exported(client, op) == NOTHING


@pytest.mark.parametrize(
    "body", [{}, {"import": None}, {"import": []}, {"import": {}, "more": 1}, [], {"import": {"recipes": []}}]
)
def test_wrong_bodies(client: httpx.Client, op: Headers, body: Any) -> None:
    for path in (CONFIGURATION, f"{CONFIGURATION}validation/"):
        assert client.post(path, json=body, headers=op).status_code == 400


def test_a_wrong_field_hides_nothing(client: httpx.Client, op: Headers) -> None:
    answer = client.post(CONFIGURATION, json={"more": 1, "import": {"recipes": []}}, headers=op)
    assert answer.status_code == 400, answer.text
    assert [each["path"] for each in answer.json()["errors"]] == ["/more", "/import/recipes"]


def test_permissions(client: httpx.Client, viewer: Headers) -> None:
    assert client.get(CONFIGURATION).status_code == 401
    body = {"import": document()}
    for path in ("", "validation/", "upload/"):
        assert client.post(f"{CONFIGURATION}{path}", json=body, headers=viewer).status_code == 403


def test_an_export_that_is_not_the_value_of_import(client: httpx.Client, database: str, op: Headers) -> None:
    for path in ("", "validation/"):
        answer = client.post(f"{CONFIGURATION}{path}", json=document(), headers=op)
        assert answer.status_code == 400
        assert '{"import": ' in answer.json()["detail"]
