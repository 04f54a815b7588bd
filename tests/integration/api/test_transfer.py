# SPDX-License-Identifier: Apache-2.0
"""An export is all that an empty system needs, and validations leave nothing behind anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from scale_airflow.services.installation import initialize
from scale_airflow.services.workspaces import create_workspace
from scale_airflow.store.models import Base
from scale_airflow.store.session import transaction

API = "/scale/api"
Headers = dict[str, str]
LINK = [{"output": "made", "input": "given"}]


def install() -> None:
    with transaction() as session:
        initialize(session)
        broker = {"broker": {"type": "host", "path": "/nowhere"}}
        create_workspace(session, {"name": "rs", "json_config": broker})


@pytest.fixture(autouse=True)
def installed(database: str) -> None:
    install()


def rule(kind: str, **more: Any) -> dict[str, Any]:
    configuration = {
        "version": "1.0",
        "condition": {"media_type": "image/png", "data_types": ["day", "night"]},
        "data": {"input_data_name": "given", "workspace_name": "rs"},
    }
    return {"type": kind, "configuration": configuration, **more}


ERRORS = [
    {"name": "z-error", "title": "Z", "description": "Last, ä €", "category": "DATA"},
    {"name": "a-error", "title": "A", "description": "First\nof two lines", "category": "ALGORITHM"},
]
EVERYTHING: dict[str, Any] = {
    "name": "all of it",
    "version": "2.0",
    "title": "All",
    "description": "Every field, none as it is by default",
    "category": "mine",
    "author_name": "Someone",
    "author_url": "http://example.org/",
    "is_operational": False,
    "is_paused": True,
    "is_long_running": True,
    "icon_code": "f0f0",
    "docker_privileged": True,
    "docker_image": "registry.example/image:1",
    "priority": 7,
    "timeout": 0,
    "max_scheduled": 3,
    "max_tries": 9,
    "cpus_required": 1.5,
    "mem_required": 1025.0,
    "disk_out_const_required": 12.5,
    "disk_out_mult_required": 0.25,
    "interface": {
        "version": "1.0",
        "command": "run",
        "command_arguments": "${given} ${job_output_dir}",
        "input_data": [{"name": "given", "type": "file", "media_types": ["image/png"]}],
        "output_data": [{"name": "made", "type": "file", "media_type": "image/png"}],
    },
    "error_mapping": {"version": "1.0", "exit_codes": {"1": "z-error", "2": "a-error"}},
    "trigger_rule": rule("INGEST", name="arrived", is_active=False),
}
PLAIN = {key: EVERYTHING[key] for key in ("version", "interface")} | {"name": "plain"}
RECIPE = {
    "name": "two steps",
    "version": "1.0",
    "title": "Two",
    "description": "One after the other",
    "trigger_rule": rule("PARSE"),
    "definition": {
        "version": "1.0",
        "input_data": [{"name": "given", "type": "file", "media_types": ["image/png"]}],
        "jobs": [
            {
                "name": "second",
                "job_type": {"name": "plain", "version": "2.0"},
                "dependencies": [{"name": "first", "connections": LINK}],
            },
            {
                "name": "first",
                "job_type": {"name": "all of it", "version": "2.0"},
                "recipe_inputs": [{"recipe_input": "given", "job_input": "given"}],
            },
        ],
    },
}


def fill(client: httpx.Client, admin: Headers) -> None:
    for path, documents in (
        ("errors", ERRORS),
        ("job-types", [EVERYTHING, PLAIN]),
        ("recipe-types", [RECIPE]),
    ):
        for document in documents:
            answer = client.post(f"{API}/{path}/", json=document, headers=admin)
            assert answer.status_code == 201, answer.text


def ordered(content: bytes) -> bytes:
    return json.dumps(json.loads(content), sort_keys=True, indent=1).encode()


def details(client: httpx.Client, admin: Headers) -> list[dict[str, Any]]:
    """Return all that can be read about types, but for ids, times and what is paused for a while."""
    found = []
    for path in ("errors", "job-types", "recipe-types"):
        listed = client.get(f"{API}/{path}/?order=name", headers=admin).json()["results"]
        found += [client.get(f"{API}/{path}/{each['id']}/", headers=admin).json() for each in listed]
    return [without(each) for each in found]


def without(value: Any) -> Any:
    if isinstance(value, list):
        return [without(each) for each in value]
    if not isinstance(value, dict):
        return value
    left_out = {"id", "created", "last_modified", "is_paused", "paused"}
    kept = {name: without(each) for name, each in value.items() if name not in left_out}
    if "errors" in kept:
        kept["errors"].sort(key=lambda error: str(error["name"]))
    return kept


def test_an_export_makes_the_same_system_elsewhere(
    client: httpx.Client, admin: Headers, empty_database: Callable[[], None]
) -> None:
    fill(client, admin)
    first = client.get(f"{API}/configuration/download/", headers=admin).content
    shown = details(client, admin)
    exported = {each["name"]: each for each in json.loads(first)["job_types"]}
    given = {name: value for name, value in EVERYTHING.items() if name != "is_paused"}
    assert {name: exported["all of it"].get(name) for name in given} == given

    empty_database()
    install()
    assert details(client, admin) != shown
    answer = client.post(
        f"{API}/configuration/upload/", files={"import": ("scale-export.json", first)}, headers=admin
    )
    assert (answer.status_code, answer.json()) == (200, {"warnings": []})
    again = client.get(f"{API}/configuration/download/", headers=admin).content
    assert ordered(again) == ordered(first)
    assert details(client, admin) == shown


def counts(session: Session) -> dict[str, int]:
    session.rollback()
    tables = [
        *(table.name for table in Base.metadata.sorted_tables),
        "dag",
        "slot_pool",
        "dag_version",
        "log",
    ]
    rows = {table: session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables}
    session.rollback()
    return rows


def test_validations_leave_nothing_behind(client: httpx.Client, admin: Headers, session: Session) -> None:
    fill(client, admin)
    before = counts(session)
    edited = {**EVERYTHING, "name": "another", "trigger_rule": rule("PARSE", name="other")}
    other = {**RECIPE, "name": "other recipe"}
    for path, document in (
        ("job-types", edited),
        ("job-types", {**EVERYTHING, "title": "Changed"}),
        ("recipe-types", other),
        ("recipe-types", {**RECIPE, "title": "Changed"}),
        ("configuration", {"import": {"job_types": [edited], "recipe_types": [other]}}),
        ("workspaces", {"name": "w", "json_config": {"broker": {"type": "host", "path": "/nowhere"}}}),
    ):
        answer = client.post(f"{API}/{path}/validation/", json=document, headers=admin)
        assert (answer.status_code, set(answer.json())) == (200, {"warnings"}), answer.text
    assert counts(session) == before
