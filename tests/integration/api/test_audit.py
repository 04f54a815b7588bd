# SPDX-License-Identifier: Apache-2.0
"""Everything that a user changes stands in Airflow's event log: who, what, which, and no secret."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from airflow.models.log import Log
from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from world import World, interface

from scale_airflow.cli import commands
from scale_airflow.services import audit

API = "/scale/api"
SECRET = "swordfish"

CHECKS = {
    "/api/configuration/validation/",
    "/api/job-types/validation/",
    "/api/recipe-types/validation/",
    "/api/strikes/validation/",
    "/api/workspaces/validation/",
}
"""Requests that look like changes, and save nothing."""


class Site:
    """Sends changes, and reads what the event log has of them."""

    def __init__(self, client: httpx.Client, login: dict[str, str], world: World):
        self.client, self.login, self.world = client, login, world
        self.seen: set[tuple[str, str]] = set()

    def send(self, method: str, path: str, body: Any, *ids: int, **more: Any) -> Any:
        arguments: dict[str, Any] = more or {"json": body}
        address = f"{API}{path.format(*ids)}"
        answer = self.client.request(method, address, headers=self.login, **arguments)
        assert answer.status_code in (200, 201), (method, path, answer.text)
        self.seen.add((method, f"/api{path}"))
        return answer.json()

    def entries(self) -> list[tuple[str, Any]]:
        """Return and forget what was written: the event and what is said about it."""
        self.world.session.rollback()
        rows = self.world.session.scalars(select(Log).where(Log.event.like("scale.%")).order_by(Log.id)).all()
        found = []
        for row in rows:
            assert row.owner == row.owner_display_name == "op"
            assert row.dttm is not None
            assert SECRET not in str(row.extra)
            found.append((row.event.removeprefix(audit.PREFIX), json.loads(str(row.extra))))
        self.world.session.execute(delete(Log))
        self.world.session.commit()
        return found

    def change(self, method: str, path: str, body: Any, *ids: int, **more: Any) -> tuple[Any, str, Any]:
        """Send a change; return the answer, the one event, and what is said about it."""
        answer = self.send(method, path, body, *ids, **more)
        ((event, about),) = self.entries()
        return answer, event, about


@pytest.fixture
def site(client: httpx.Client, op: dict[str, str], world: World) -> Site:
    made = Site(client, op, world)
    assert made.entries() == []
    return made


def test_every_change(site: Site, api_server: Any) -> None:
    types(site)
    work(site)
    hosts(site)
    documents(site)
    app = next(route.app for route in api_server.routes if getattr(route, "path", "") == "/scale")
    missing = {
        (method, shape(route.path))
        for route in app.routes
        for method in route.methods - {"GET", "HEAD"}
        if not route.path.startswith("/api/runtime/") and route.path not in CHECKS
    } - {(method, shape(path)) for method, path in site.seen}
    assert not missing, f"let them call services.audit.record, and add them to this test: {missing}"


def shape(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def types(site: Site) -> None:
    error = {"name": "bad", "title": "Bad", "description": SECRET, "category": "DATA"}
    made, event, about = site.change("POST", "/errors/", error)
    assert (event, about) == ("create_error", {"error_id": made["id"], "name": "bad"})
    title = {"title": SECRET, "description": "x"}
    _, event, about = site.change("PATCH", "/errors/{}/", title, made["id"])
    assert (event, about) == ("edit_error", {"error_id": made["id"], "fields": ["description", "title"]})

    broker = {"type": "nfs", "mount": f"{SECRET}:/my/path"}
    body = {"name": "rs", "json_config": {"version": "1.0", "broker": broker}}
    made, event, about = site.change("POST", "/workspaces/", body)
    assert (event, about) == ("create_workspace", {"workspace_id": made["id"], "name": "rs"})
    _, event, about = site.change("PATCH", "/workspaces/{}/", {"is_active": False}, made["id"])
    assert (event, about) == ("edit_workspace", {"workspace_id": made["id"], "fields": ["is_active"]})
    site.send("PATCH", "/workspaces/{}/", {"is_active": True}, made["id"])
    site.entries()

    job_type = {"name": "tiles", "version": "1.0", "interface": interface({}, {}), "docker_image": SECRET}
    made, event, about = site.change("POST", "/job-types/", job_type)
    named = {"name": "tiles", "version": "1.0"}
    assert (event, about) == ("create_job_type", {"job_type_id": made["id"], **named})
    _, event, about = site.change("PATCH", "/job-types/{}/", {"docker_image": SECRET}, made["id"])
    assert (event, about) == ("edit_job_type", {"job_type_id": made["id"], "fields": ["docker_image"]})

    definition = {"version": "1.0", "input_data": [], "jobs": [{"name": "one", "job_type": named}]}
    recipe_type = {"name": "both", "version": "2.0", "definition": definition}
    made, event, about = site.change("POST", "/recipe-types/", recipe_type)
    assert event == "create_recipe_type"
    assert about == {"recipe_type_id": made["id"], "name": "both", "version": "2.0"}
    _, event, about = site.change("PATCH", "/recipe-types/{}/", {"title": SECRET}, made["id"])
    assert (event, about) == ("edit_recipe_type", {"recipe_type_id": made["id"], "fields": ["title"]})


def work(site: Site) -> None:
    job_type = site.client.get(f"{API}/job-types/?name=tiles", headers=site.login).json()["results"][0]["id"]
    made, event, about = site.change("POST", "/queue/new-job/", {"job_type_id": job_type})
    job = made["id"]
    assert (event, about) == ("queue_new_job", {"job_type_id": job_type, "job_id": job})
    made, event, about = site.change("POST", "/queue/new-jobs/", {"jobs": [{"job_type_id": job_type}]})
    assert (event, about) == ("queue_new_jobs", {"job_ids": [made["results"][0]["id"]]})
    _, event, about = site.change("PATCH", "/jobs/{}/", {"status": "CANCELED"}, job)
    assert (event, about) == ("edit_job", {"job_id": job, "status": "CANCELED"})
    _, event, about = site.change("POST", "/queue/requeue-job/", {"job_id": job})
    assert (event, about) == ("requeue_job", {"job_id": job})
    _, event, about = site.change("POST", "/jobs/cancel/", {"job_ids": [job]})
    assert (event, about) == ("cancel_jobs", {"filter": {"job_ids": [job]}, "job_ids": [job]})
    _, event, about = site.change("POST", "/jobs/cancel/", {"job_ids": [job]})
    assert (event, about) == ("cancel_jobs", {"filter": {"job_ids": [job]}, "job_ids": []})
    _, event, about = site.change("POST", "/queue/requeue-jobs/", {"status": "CANCELED", "priority": 3})
    assert event == "requeue_jobs"
    assert about == {"filter": {"status": "CANCELED", "priority": 3}, "job_ids": [job]}

    recipes = site.client.get(f"{API}/recipe-types/", headers=site.login).json()["results"]
    body = {"recipe_type_id": recipes[0]["id"], "recipe_data": {"version": "1.0", "input_data": []}}
    made, event, about = site.change("POST", "/queue/new-recipe/", body)
    assert event == "queue_new_recipe"
    assert about == {"recipe_type_id": recipes[0]["id"], "recipe_id": made["id"]}


def hosts(site: Site) -> None:
    node = site.client.get(f"{API}/nodes/", headers=site.login).json()["results"][0]
    paused = {"is_paused": True, "pause_reason": "A new disk"}
    _, event, about = site.change("PATCH", "/nodes/{}/", paused, node["id"])
    assert (event, about) == ("edit_node", {"node_id": node["id"], "changes": paused})
    whole = {"hostname": "worker-1", "port": 5051, "is_paused": False}
    _, event, about = site.change("PUT", "/nodes/{}/", whole, node["id"])
    assert about == {"node_id": node["id"], "changes": {"pause_reason": None, **whole}}
    _, event, about = site.change("PATCH", "/scheduler/", {"is_paused": True})
    assert (event, about) == ("edit_scheduler", {"changes": {"is_paused": True}})
    configuration = {
        "version": "1.0",
        "mount": f"{SECRET}:/my/path",
        "transfer_suffix": "_tmp",
        "files_to_ingest": [
            {"filename_regex": ".*txt", "workspace_path": "my/path", "workspace_name": "rs"},
        ],
    }
    strike = {"name": "inbox", "configuration": configuration}
    made, event, about = site.change("POST", "/strike/create/", strike)
    assert (event, about) == ("create_strike", {"strike_id": made["strike_id"], "name": "inbox"})
    configuration["mount"] = f"{SECRET}:/other/path"
    made, event, about = site.change("POST", "/strikes/", {**strike, "name": "other"})
    assert (event, about) == ("create_strike", {"strike_id": made["id"], "name": "other"})
    _, event, about = site.change("PATCH", "/strikes/{}/", {"is_active": False}, made["id"])
    assert (event, about) == ("edit_strike", {"strike_id": made["id"], "fields": ["is_active"]})


def documents(site: Site) -> None:
    error = {"name": "worse", "title": "Worse", "description": SECRET, "category": "DATA"}
    document = {"version": "1.0", "errors": [error], "job_types": [], "recipe_types": []}
    names = {"errors": ["worse"], "job_types": [], "recipe_types": []}
    _, event, about = site.change("POST", "/configuration/", {"import": document})
    assert (event, about) == ("import_configuration", names)
    file = {"import": ("export.json", json.dumps(document))}
    _, event, about = site.change("POST", "/configuration/upload/", None, files=file)
    assert (event, about) == ("import_configuration", names)


def test_what_is_refused_or_only_checked_is_no_change(site: Site) -> None:
    def send(path: str, body: Any) -> int:
        return site.client.post(f"{API}{path}", json=body, headers=site.login).status_code

    assert send("/errors/", {"name": "x"}) == 400
    assert send("/jobs/cancel/", {"job_ids": [1]}) == 404
    good = {"name": "tiles", "version": "1.0", "interface": interface({}, {}), "docker_image": "image"}
    assert send("/job-types/validation/", good) == 200
    assert site.entries() == []


def test_workers_are_no_users(site: Site) -> None:
    """What workers report is in Scale's own tables, and their tasks' events are Airflow's."""
    site.world.beat()
    assert site.entries() == []


def test_commands(
    session: Session, world: World, api_server: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from airflow.cli import cli_parser

    monkeypatch.setattr("getpass.getuser", lambda: "somebody")

    def scale(*words: str) -> None:
        assert commands.get_commands()
        arguments = cli_parser.get_parser().parse_args(["scale", *words])
        arguments.func(arguments)

    scale("token", "create", "viewer", "--name", "nightly")
    token = capsys.readouterr().out.strip()
    scale("token", "revoke", "1")
    scale("rotate-secret")
    rows = session.scalars(select(Log).where(Log.event.like("scale.%")).order_by(Log.id)).all()
    by = {"command": "airflow scale"}
    assert [(row.event, row.owner, json.loads(str(row.extra))) for row in rows] == [
        ("scale.create_token", "somebody", {**by, "token_id": 1, "user": "viewer", "name": "nightly"}),
        ("scale.revoke_token", "somebody", {**by, "token_id": 1}),
        ("scale.rotate_secret", "somebody", by),
    ]
    assert token.startswith("scale_")
    assert all(token not in str(row.extra) for row in rows)


def test_long_values_are_cut(session: Session) -> None:
    ids = list(range(5000))
    audit.record(session, "x" * 600, "cancel_jobs", filter={"names": ["y" * 9000]}, job_ids=ids)
    session.flush()
    row = session.scalars(select(Log).where(Log.event == "scale.cancel_jobs")).one()
    about = json.loads(str(row.extra))
    assert row.owner == "x" * 500
    assert about["job_ids"] == ids[:1000]
    assert about["job_ids_count"] == 5000
    assert len(about["filter"]["names"][0]) < 600
