# SPDX-License-Identifier: Apache-2.0
"""GET, POST /errors/ and GET, PATCH /errors/{id}/."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from scale_airflow.services.installation import initialize
from scale_airflow.store.session import transaction

API = "/scale/api"
ERRORS = f"{API}/errors/"
NEW = {
    "name": "error1",
    "title": "Error 1",
    "description": "This is an algorithm error",
    "category": "ALGORITHM",
}
Headers = dict[str, str]


@pytest.fixture(autouse=True)
def installed(database: str) -> None:
    with transaction() as session:
        initialize(session)


def test_create_list_details_edit(client: httpx.Client, op: Headers, viewer: Headers) -> None:
    made = client.post(ERRORS, json=NEW, headers=op)
    assert made.status_code == 201
    number = made.json()["id"]
    assert made.headers["location"] == f"http://scale.example{ERRORS}{number}/"
    assert set(made.json()) == {"id", "name", "title", "description", "category", "created", "last_modified"}
    assert made.json()["created"].endswith("Z")

    listed = client.get(ERRORS, headers=viewer).json()
    assert (listed["count"], listed["next"], listed["previous"]) == (9, None, None)
    assert listed["results"][-1] == made.json(), "in the order of last_modified"

    edited = client.patch(f"{ERRORS}{number}/", json={"title": "My Error"}, headers=op)
    assert edited.status_code == 200
    found = client.get(f"{ERRORS}{number}", headers=viewer).json()
    assert found == edited.json()
    assert found["title"] == "My Error"
    assert found["last_modified"] > found["created"]


def test_order_and_pages(client: httpx.Client, viewer: Headers) -> None:
    found = client.get(ERRORS, params={"order": "-name", "page_size": 3, "page": 2}, headers=viewer).json()
    assert [each["name"] for each in found["results"]] == ["node-lost", "nfs", "mesos-lost"]
    assert "page=3" in found["next"]
    assert client.get(ERRORS, params={"order": "colour"}, headers=viewer).status_code == 400


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, {""}),
        ({**NEW, "category": "SYSTEM"}, {"/category"}),
        ({**NEW, "category": "OTHER"}, {"/category"}),
        ({**NEW, "name": "unknown"}, {"/name"}),
        ({**NEW, "name": ""}, {"/name"}),
        ({**NEW, "name": 7, "title": None}, {"/name", "/title"}),
        ({**NEW, "titel": "x"}, {"/titel"}),
        ([NEW], {""}),
    ],
)
def test_wrong_bodies(client: httpx.Client, op: Headers, body: Any, paths: set[str]) -> None:
    answer = client.post(ERRORS, json=body, headers=op)
    assert answer.status_code == 400
    assert {fault["path"] for fault in answer.json()["errors"]} == paths
    assert client.get(ERRORS, headers=op).json()["count"] == 8


def test_system_errors_stay(client: httpx.Client, op: Headers) -> None:
    assert client.patch(f"{ERRORS}1/", json={"title": "x"}, headers=op).status_code == 400
    number = client.post(ERRORS, json=NEW, headers=op).json()["id"]
    answer = client.patch(f"{ERRORS}{number}/", json={"category": "SYSTEM"}, headers=op)
    assert answer.status_code == 400
    assert client.patch(f"{ERRORS}{number}/", json={"name": "x"}, headers=op).status_code == 400


@pytest.mark.parametrize(
    "number", ["0", "-1", "99", "9223372036854775807", "9223372036854775808", "9" * 40, "x"]
)
def test_no_such_error(client: httpx.Client, op: Headers, number: str) -> None:
    assert client.get(f"{ERRORS}{number}/", headers=op).status_code == 404
    assert client.patch(f"{ERRORS}{number}/", json={}, headers=op).status_code == 404


def test_permissions(client: httpx.Client, viewer: Headers, nobody: Headers) -> None:
    assert client.get(ERRORS).status_code == 401
    assert client.get(ERRORS, headers=nobody).status_code == 403
    assert client.post(ERRORS, json=NEW, headers=viewer).status_code == 403
    assert client.patch(f"{ERRORS}1/", json={}, headers=viewer).status_code == 403
