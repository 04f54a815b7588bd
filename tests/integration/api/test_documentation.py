# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document and its page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from answer_models import Models

from scale_airflow.api_plugin.models.operations import ANSWERS, PLAIN
from scale_airflow.api_plugin.models.runtime import RUNTIME
from scale_airflow.definitions.configuration_export import ConfigurationExport
from scale_airflow.execution.wire import MessageError


@pytest.fixture
def document(client: httpx.Client, viewer: dict[str, str]) -> Any:
    answer = client.get("/scale/openapi.json", headers=viewer)
    assert answer.status_code == 200
    return answer.json()


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_is_described(document: Any) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    seen = set()
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        assert {"400", "401", "403", "404"} <= operation["responses"].keys(), name
        assert "422" not in operation["responses"], name
        assert {"503"} <= operation["responses"].keys(), name
        if not name.startswith("GET "):
            assert {"409", "413", "415"} <= operation["responses"].keys(), name
        assert operation["operationId"] not in seen, name
        seen.add(operation["operationId"])
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (name, parameter)
            assert "example" in parameter, (name, parameter)
        if name.split()[0] in ("POST", "PUT", "PATCH"):
            assert operation["requestBody"]["content"], name
    assert len(seen) > 15


def test_every_answer_has_its_model_and_example(document: Any) -> None:
    names = set()
    models = Models(document)
    for name, operation in operations(document):
        method, path = name.split()
        names.add(operation["operationId"])
        if operation["operationId"] in RUNTIME:
            continue
        (status,) = (each for each in operation["responses"] if each.startswith("2"))
        if operation["operationId"] in PLAIN:
            assert operation["responses"][status]["content"].keys() == {PLAIN[operation["operationId"]]}
            continue
        (content,) = operation["responses"][status]["content"].values()
        assert "$ref" in content["schema"], f"{name}: say in models/operations.py what it answers"
        assert models.faults(method, path, int(status), content["example"]) == []
        for each in (400, 401, 403, 404):
            refused = document["components"]["responses"][str(each)]["content"]["application/json"]
            assert models.faults(method, path, each, refused["example"]) == []
    assert names == ANSWERS.keys() | PLAIN.keys() | RUNTIME.keys()


def test_what_workers_send_and_are_answered(document: Any) -> None:
    said = {operation["operationId"]: operation for _, operation in operations(document)}
    schemes = document["components"]["securitySchemes"]
    for name, operation in operations(document):
        is_runtime = name.split()[1].startswith("/api/runtime/")
        assert (operation["operationId"] in RUNTIME) == is_runtime, name
        assert (operation["tags"] == ["Runtime"]) == is_runtime, name
        assert ("security" in operation) == is_runtime, name
    for name, exchange in RUNTIME.items():
        operation = said[name]
        assert operation["security"] == [{exchange.login: []}]
        assert schemes[exchange.login]["description"]
        answer = operation["responses"]["200"]["content"].get("application/json")
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        assert (body is None) == (exchange.takes is None), name
        for content in filter(None, (answer, body)):
            jsonschema_rs.Draft202012Validator(content["schema"]).validate(content["example"])
        if isinstance(exchange.takes, type):
            # The example is what the server reads, and the schema refuses what it refuses.
            exchange.takes.from_dict(body["example"])
            validator = jsonschema_rs.Draft202012Validator(body["schema"])
            for wrong in ({}, {**body["example"], "more": 1}):
                assert not validator.is_valid(wrong), name
                with pytest.raises(MessageError):
                    exchange.takes.from_dict(wrong)


def test_an_upload_has_an_example(document: Any) -> None:
    upload = document["paths"]["/api/configuration/upload/"]["post"]["requestBody"]["content"]
    example = upload["multipart/form-data"]["example"]
    assert ConfigurationExport.parse(json.loads(example["import"])).errors


def test_every_body_has_an_example_that_is_right(document: Any) -> None:
    for name, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is not None:
            faults = list(
                jsonschema_rs.Draft202012Validator(content["schema"]).iter_errors(content["example"])
            )
            assert not faults, (name, [fault.message for fault in faults])
            assert content["example"], name


def test_every_field_of_a_model_is_described(document: Any) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        for field, part in schema["properties"].items():
            assert part["description"], (name, field)


def test_parameters_say_what_they_take(document: Any) -> None:
    listed = {each["name"]: each for each in document["paths"]["/api/jobs/"]["get"]["parameters"]}
    assert set(listed) == {
        *("page", "page_size", "started", "ended", "order", "status", "job_id"),
        *("job_type_id", "job_type_name", "job_type_category"),
    }
    assert listed["page_size"]["schema"]["maximum"] == 1000
    assert "COMPLETED" in str(listed["status"]["schema"])


def test_where_it_is_served(client: httpx.Client, document: Any) -> None:
    assert document["servers"] == [{"url": "/scale"}]
    assert all(path.startswith("/api/") for path in document["paths"])


def test_page(client: httpx.Client, viewer: dict[str, str]) -> None:
    answer = client.get("/scale/docs", headers=viewer)
    assert answer.status_code == 200
    assert "/api/queue/new-job/" in answer.text
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("place", ["/scale/", "/scale/api", "/scale/api/", "/scale/docs/"])
def test_page_where_somebody_may_look_first(client: httpx.Client, viewer: dict[str, str], place: str) -> None:
    assert client.get(place).status_code == 401
    answer = client.get(place, headers=viewer)
    assert answer.status_code == 200
    assert 'href="http://scale.example/scale/openapi.json"' in answer.text
