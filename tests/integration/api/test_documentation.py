# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document and its page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest


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
        assert operation["operationId"] not in seen, name
        seen.add(operation["operationId"])
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (name, parameter)
        if name.split()[0] in ("POST", "PUT", "PATCH"):
            assert operation["requestBody"]["content"], name
    assert len(seen) > 15


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
    assert not any(path.startswith("/api/runtime/") for path in document["paths"])


def test_page(client: httpx.Client, viewer: dict[str, str]) -> None:
    answer = client.get("/scale/docs", headers=viewer)
    assert answer.status_code == 200
    assert "/api/queue/new-job/" in answer.text
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
