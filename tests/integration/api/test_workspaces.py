# SPDX-License-Identifier: Apache-2.0
"""The workspace services, and what this project adds to them: create, edit, validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

API = "/scale/api"
WORKSPACES = f"{API}/workspaces/"
Headers = dict[str, str]

BRIEF = {
    "id",
    "name",
    "title",
    "description",
    "base_url",
    "is_active",
    "used_size",
    "total_size",
    "created",
    "archived",
    "last_modified",
}


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))


def workspace(name: str = "rs", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": "Raw Source",
        "json_config": {"version": "1.0", "broker": {"type": "nfs", "mount": "host:/my/path"}},
        **changes,
    }


def test_create_list_details_edit(client: httpx.Client, op: Headers, viewer: Headers) -> None:
    made = client.post(WORKSPACES, json=workspace(base_url="http://host.com/rs"), headers=op)
    assert made.status_code == 201
    number = made.json()["id"]
    assert made.headers["location"].endswith(f"{WORKSPACES}{number}/")
    assert set(made.json()) == {*BRIEF, "json_config", "is_move_enabled"}
    client.post(WORKSPACES, json=workspace("products"), headers=op)

    listed = client.get(WORKSPACES, headers=viewer).json()
    assert [each["name"] for each in listed["results"]] == ["products", "rs"]
    assert set(listed["results"][0]) == BRIEF
    named = client.get(WORKSPACES, params={"name": ["rs", "other"]}, headers=viewer).json()
    assert named["count"] == 1

    edited = client.patch(f"{WORKSPACES}{number}/", json={"is_active": False}, headers=op)
    assert edited.status_code == 200
    found = client.get(f"{WORKSPACES}{number}/", headers=viewer).json()
    assert found == edited.json()
    assert found["archived"] is not None


def test_validation(client: httpx.Client, op: Headers, tmp_path: Path) -> None:
    there = {"broker": {"type": "host", "path": str(tmp_path)}}
    answer = client.post(f"{WORKSPACES}validation/", json=workspace(json_config=there), headers=op)
    assert (answer.status_code, answer.json()) == (200, {"warnings": []})
    answer = client.post(f"{WORKSPACES}validation/", json=workspace(), headers=op)
    assert [each["id"] for each in answer.json()["warnings"]] == ["directory"]
    assert client.get(WORKSPACES, headers=op).json()["count"] == 0


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, {""}),
        (workspace(json_config={"broker": {"type": "ftp"}}), {"/json_config/broker/type"}),
        (workspace(json_config={"broker": {"type": "nfs"}}), {"/json_config/broker"}),
        (
            workspace(json_config={"broker": {"type": "host", "path": "/a/../b"}}),
            {"/json_config/broker/path"},
        ),
        (workspace(used_size=1, is_active="yes"), {"/used_size", "/is_active"}),
    ],
)
def test_wrong_bodies(client: httpx.Client, op: Headers, body: Any, paths: set[str]) -> None:
    for path in (WORKSPACES, f"{WORKSPACES}validation/"):
        answer = client.post(path, json=body, headers=op)
        assert answer.status_code == 400
        assert {fault["path"] for fault in answer.json()["errors"]} == paths


def test_name_exists(client: httpx.Client, op: Headers) -> None:
    assert client.post(WORKSPACES, json=workspace(), headers=op).status_code == 201
    assert client.post(WORKSPACES, json=workspace(), headers=op).status_code == 400
    assert client.post(f"{WORKSPACES}validation/", json=workspace(), headers=op).status_code == 200


def test_no_such_workspace(client: httpx.Client, op: Headers) -> None:
    for number in (0, 4, 2**63, 10**30):
        assert client.get(f"{WORKSPACES}{number}/", headers=op).status_code == 404
        assert client.patch(f"{WORKSPACES}{number}/", json={}, headers=op).status_code == 404


def test_permissions(client: httpx.Client, viewer: Headers) -> None:
    assert client.get(WORKSPACES).status_code == 401
    for path in (WORKSPACES, f"{WORKSPACES}validation/"):
        assert client.post(path, json=workspace(), headers=viewer).status_code == 403
