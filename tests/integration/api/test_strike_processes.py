# SPDX-License-Identifier: Apache-2.0
"""Strike processes over HTTP: listed, shown, checked, made, edited, and switched off and on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from world import World

API = "/scale/api"
STRIKES = f"{API}/strikes/"
ROOT = "http://scale.example"


def body(name: str = "inbox", path: str = "/in", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": f"The {name}",
        "description": "What comes in",
        "configuration": configuration(path),
        **changes,
    }


def configuration(path: str = "/in", workspace: str = "raw") -> dict[str, Any]:
    rule = {"filename_regex": ".*h5", "workspace_path": "/my/path", "workspace_name": workspace}
    return {
        "version": "1.0",
        "mount": f"host:{path}",
        "transfer_suffix": "_tmp",
        "files_to_ingest": [rule],
    }


def test_made_listed_and_shown(client: httpx.Client, world: World, op: dict[str, str]) -> None:
    answer = client.post(STRIKES, json=body("b"), headers=op)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"{ROOT}{STRIKES}{made['id']}/"
    assert client.get(answer.headers["location"], headers=op).json() == made
    assert list(made) == [
        *("id", "name", "title", "description", "job", "created", "last_modified", "configuration"),
        "is_active",
    ]
    assert (made["title"], made["is_active"]) == ("The b", True)
    assert made["configuration"]["files_to_ingest"][0]["workspace_path"] == "/my/path"
    assert (made["job"]["status"], made["job"]["job_type"]["name"]) == ("RUNNING", "scale-strike")
    other = client.post(f"{API}/strike/create/", json=body("a", "/other"), headers=op).json()
    listed = client.get(STRIKES, headers=op).json()
    assert listed["count"] == 2
    assert [each["id"] for each in listed["results"]] == [other["strike_id"], made["id"]]
    assert listed["results"][1] == {name: made[name] for name in made if name != "configuration"}
    for query, expected in {
        "name=b": ["b"],
        "name=b&name=a&order=-name": ["b", "a"],
        "name=c": [],
        "order=job__job_type__name&order=-last_modified": ["a", "b"],
        "started=PT1H&order=created": ["b", "a"],
        "ended=PT1H": [],
        "page_size=1&page=2": ["b"],
    }.items():
        found = client.get(f"{STRIKES}?{query}", headers=op).json()["results"]
        assert [each["name"] for each in found] == expected, query
    for query in ("order=configuration", "page=3", "started=x", "page_size=0"):
        assert client.get(f"{STRIKES}?{query}", headers=op).status_code == 400, query


def test_edited_and_switched(client: httpx.Client, world: World, op: dict[str, str]) -> None:
    address = client.post(STRIKES, json=body(), headers=op).headers["location"]
    edited = client.patch(address, json={"title": None, "configuration": configuration("/new")}, headers=op)
    assert edited.status_code == 200, edited.text
    shown = edited.json()
    assert shown == client.get(address, headers=op).json()
    assert (shown["title"], shown["description"]) == (None, "What comes in")
    assert shown["configuration"]["mount"] == "host:/new"
    off = client.patch(address, json={"is_active": False}, headers=op).json()
    assert (off["is_active"], off["job"]["status"]) == (False, "CANCELED")
    # Another one may watch the directory now, and keeps this one from coming back to it.
    taken = client.post(STRIKES, json=body("other", "/new"), headers=op)
    assert taken.status_code == 201
    refused = client.patch(address, json={"is_active": True, "title": "T"}, headers=op)
    assert refused.status_code == 400
    assert [each["path"] for each in refused.json()["errors"]] == ["/configuration/mount"]
    assert client.get(address, headers=op).json() == off
    on = client.patch(address, json={"is_active": True, "configuration": configuration()}, headers=op)
    assert on.status_code == 200, on.text
    assert (on.json()["is_active"], on.json()["job"]["status"], on.json()["job"]["num_exes"]) == (
        True,
        "RUNNING",
        2,
    )
    made = client.post(STRIKES, json=body("asleep", "/third", is_active=False), headers=op).json()
    assert (made["is_active"], made["job"]["status"]) == (False, "CANCELED")


def test_checked_without_being_saved(client: httpx.Client, world: World, op: dict[str, str]) -> None:
    answer = client.post(f"{STRIKES}validation/", json=body(), headers=op)
    assert answer.status_code == 200, answer.text
    # No host of these tests has such a directory; a worker may.
    assert [each["id"] for each in answer.json()["warnings"]] == ["directory"]
    assert client.get(STRIKES, headers=op).json()["count"] == 0
    client.post(STRIKES, json=body(), headers=op)
    assert client.post(f"{STRIKES}validation/", json=body(), headers=op).status_code == 200
    other = client.post(f"{STRIKES}validation/", json=body("other"), headers=op)
    assert [each["path"] for each in other.json()["errors"]] == ["/configuration/mount"]


WRONG = {
    "name": "",
    "title": 1,
    "is_active": "yes",
    "more": 1,
    "configuration": configuration(workspace="nowhere"),
}


def test_every_fault_is_told(client: httpx.Client, world: World, op: dict[str, str]) -> None:
    address = client.post(STRIKES, json=body(), headers=op).headers["location"]
    for method, path in (("POST", STRIKES), ("POST", f"{STRIKES}validation/"), ("PATCH", address)):
        answer = client.request(method, path, json=WRONG, headers=op)
        assert answer.status_code == 400, (method, path)
        places = {fault["path"] for fault in answer.json()["errors"]}
        assert places == {"/name", "/title", "/is_active", "/more"}, (method, path)
        unknown = {"name": "x", "configuration": configuration(workspace="nowhere")}
        answer = client.request(
            method,
            path,
            json=unknown if method == "POST" else {"configuration": unknown["configuration"]},
            headers=op,
        )
        assert answer.status_code == 400
        assert "/configuration/files_to_ingest/0/workspace_name" in {
            fault["path"] for fault in answer.json()["errors"]
        }
        for wrong in ([], "x", {"configuration": []}, {"configuration": {}}):
            answer = client.request(method, path, json=wrong, headers=op)
            assert answer.status_code == 400, (method, path, wrong, answer.text)
            assert answer.json()["errors"]
    again = client.post(STRIKES, json=body(), headers=op)
    assert "/name" in {fault["path"] for fault in again.json()["errors"]}


@pytest.mark.parametrize("number", ["0", "999", "-1", "x", str(2**70)])
def test_there_is_no_such_strike_process(
    client: httpx.Client, database: str, op: dict[str, str], number: str
) -> None:
    assert client.get(f"{STRIKES}{number}/", headers=op).status_code == 404
    assert client.patch(f"{STRIKES}{number}/", json={"title": "T"}, headers=op).status_code == 404
