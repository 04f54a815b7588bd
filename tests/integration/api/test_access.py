# SPDX-License-Identifier: Apache-2.0
"""Who may do what, on Airflow's own API server with FAB's users."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session
from world import World

from scale_airflow.api_plugin import users
from scale_airflow.services import tokens
from scale_airflow.store.models import utcnow

VERSION = "/scale/api/version/"
CANCEL = "/scale/api/jobs/12345/"
BODY = {"status": "CANCELED"}


def scale_app(api_server: Any) -> Any:
    return next(route.app for route in api_server.routes if getattr(route, "path", "") == "/scale")


OPEN: dict[str, str] = {}
"""What of the application answers without a login, each with the reason: nothing. (There are no static files:
the page of the documentation has its style in it. The pages to log in are Airflow's.)"""


def routes(api_server: Any) -> list[tuple[str, str]]:
    """Every method and path of the mounted application, with ids filled in."""
    found = []
    for route in scale_app(api_server).routes:
        if getattr(route, "path", None) in OPEN:
            continue
        assert isinstance(route, APIRoute), f"{route} is none of the application's own endpoints"
        path = re.sub(r"\{\w*(id|number|after)\w*\}", "1", route.path)
        path = re.sub(r"\{\w+\}", "stdout", path)
        found += [(method, f"/scale{path}") for method in sorted(route.methods)]
    return found


def cookie(headers: dict[str, str]) -> dict[str, str]:
    return {"Cookie": f"_token={headers['Authorization'].split()[1]}"}


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def test_nothing_else_is_mounted(api_server: Any) -> None:
    """The walks below see all that the plugin adds to the API server."""
    from scale_airflow.api_plugin.plugin import ScalePlugin

    (mounted,) = ScalePlugin().fastapi_apps
    assert mounted["url_prefix"] == "/scale"
    others = (
        "fastapi_root_middlewares",
        "flask_blueprints",
        "appbuilder_views",
        "external_views",
        "react_apps",
    )
    assert {name: getattr(ScalePlugin, name) for name in others} == {name: [] for name in others}


def test_no_route_answers_without_a_login(client: httpx.Client, api_server: Any) -> None:
    tried = routes(api_server)
    assert len(tried) > 20
    assert ("GET", "/scale/docs") in tried
    for method, path in tried:
        for address in (path, path.rstrip("/")):
            answer = client.request(method, address)
            assert answer.status_code == 401, (method, address, answer.text)
            if method != "HEAD":
                assert set(answer.json()) == {"detail"}


def test_a_viewer_reads_and_changes_nothing(
    client: httpx.Client, api_server: Any, viewer: dict[str, str], nobody: dict[str, str]
) -> None:
    for method, path in routes(api_server):
        if path.startswith("/scale/api/runtime/"):
            continue
        if method in ("GET", "HEAD"):
            assert client.request(method, path, headers=viewer).status_code in (200, 404), (method, path)
        else:
            assert client.request(method, path, headers=viewer).status_code == 403, (method, path)
        if path.startswith("/scale/api/"):
            answer = client.request(method, path, headers=nobody)
            assert answer.status_code == 403, (method, path, answer.text)


def test_users_of_the_plugin_have_no_say_over_runtime(
    client: httpx.Client, api_server: Any, world: World, admin: dict[str, str]
) -> None:
    for method, path in routes(api_server):
        if path.startswith("/scale/api/runtime/"):
            assert client.request(method, path, headers=admin).status_code in (401, 403)


@pytest.mark.parametrize("role", ["admin", "op"])
def test_admin_and_op_change(client: httpx.Client, role: str, request: pytest.FixtureRequest) -> None:
    headers = request.getfixturevalue(role)
    answer = client.patch(CANCEL, json=BODY, headers=headers)
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer scale_x",
        "Basic",
        "Basic x",
        "Basic eDp5",
        "Digest x",
        "x",
    ],
)
def test_a_wrong_login_is_401(client: httpx.Client, header: str) -> None:
    answer = client.get(VERSION, headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_basic_with_the_password_of_fab(client: httpx.Client, password: str) -> None:
    assert client.get(VERSION, headers=basic("viewer", password)).status_code == 200
    assert client.get(VERSION, headers=basic("viewer", password)).status_code == 200
    assert client.get(VERSION, headers=basic("viewer", password + "x")).status_code == 401
    assert client.get(VERSION, headers=basic("admin", "")).status_code == 401
    assert client.get(VERSION, headers=basic("nobody-knows", password)).status_code == 401
    assert client.patch(CANCEL, json=BODY, headers=basic("op", password)).status_code == 404
    assert client.patch(CANCEL, json=BODY, headers=basic("viewer", password)).status_code == 403


class TestCookies:
    """A cookie alone never authorizes a change from another origin."""

    def test_reads(self, client: httpx.Client, viewer: dict[str, str]) -> None:
        assert client.get(VERSION, headers=cookie(viewer)).status_code == 200
        assert client.get(VERSION, headers={"Cookie": "_token=nonsense"}).status_code == 401

    @pytest.mark.parametrize(
        "said",
        [
            {"Sec-Fetch-Site": "same-origin"},
            {"Origin": "http://scale.example"},
            {"Origin": "http://scale.example:80"},
            {"Referer": "http://scale.example/scale/ui/jobs"},
        ],
    )
    def test_changes_from_our_own_pages(
        self, client: httpx.Client, op: dict[str, str], said: dict[str, str]
    ) -> None:
        answer = client.patch(CANCEL, json=BODY, headers={**cookie(op), **said})
        assert answer.status_code == 404, answer.text

    @pytest.mark.parametrize(
        "said",
        [
            {},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": "http://scale.example"},
            {"Origin": "https://scale.example"},
            {"Origin": "http://scale.example.evil.example"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://[bad"},
            {"Referer": "http://evil.example/scale.example"},
        ],
    )
    def test_not_from_elsewhere(self, client: httpx.Client, op: dict[str, str], said: dict[str, str]) -> None:
        answer = client.patch(CANCEL, json=BODY, headers={**cookie(op), **said})
        assert answer.status_code == 403
        assert "Origin" in answer.json()["detail"]

    def test_remembered_passwords_neither(self, client: httpx.Client, password: str) -> None:
        foreign = {**basic("op", password), "Origin": "http://evil.example"}
        assert client.patch(CANCEL, json=BODY, headers=foreign).status_code == 403

    def test_a_bearer_token_is_nothing_a_browser_adds(self, client: httpx.Client, op: dict[str, str]) -> None:
        foreign = {**op, "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert client.patch(CANCEL, json=BODY, headers=foreign).status_code == 404


class TestTokens:
    """Long-lived tokens act for their user, until they are revoked or expire."""

    def make(self, session: Session, username: str, **fields: Any) -> tuple[int, dict[str, str]]:
        token, secret = tokens.create_token(session, username=username, name="test", **fields)
        session.commit()
        assert secret not in repr(vars(token))
        return token.id, {"Authorization": f"Bearer {secret}"}

    def test_acts_for_its_user(self, client: httpx.Client, session: Session) -> None:
        _, reading = self.make(session, "viewer")
        assert client.get(VERSION, headers=reading).status_code == 200
        assert client.patch(CANCEL, json=BODY, headers=reading).status_code == 403
        _, changing = self.make(session, "op")
        assert client.patch(CANCEL, json=BODY, headers=changing).status_code == 404
        assert [row.last_used is None for row in tokens.list_tokens(session)] == [False, False]

    def test_revoked(self, client: httpx.Client, session: Session) -> None:
        token_id, headers = self.make(session, "viewer")
        tokens.revoke(session, token_id)
        session.commit()
        assert client.get(VERSION, headers=headers).status_code == 401

    def test_expired_or_of_nobody(self, client: httpx.Client, session: Session) -> None:
        _, expired = self.make(session, "viewer", expires=utcnow() - timedelta(seconds=1))
        _, unknown = self.make(session, "who")
        assert client.get(VERSION, headers=expired).status_code == 401
        assert client.get(VERSION, headers=unknown).status_code == 401


class TestAnonymous:
    """[scale] anonymous_role lets old clients read without a login, and never change anything."""

    @pytest.fixture(autouse=True)
    def _forget(self) -> None:
        users.forget()

    def test_reads_what_the_role_may(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__SCALE__ANONYMOUS_ROLE", "Viewer")
        assert client.get(VERSION).status_code == 200
        assert client.patch(CANCEL, json=BODY).status_code == 401

    def test_changes_nothing_whatever_the_role(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__SCALE__ANONYMOUS_ROLE", "Admin")
        assert client.get(VERSION).status_code == 200
        assert client.patch(CANCEL, json=BODY, headers={"Origin": "http://scale.example"}).status_code == 401

    @pytest.mark.parametrize("role", ["Public", "no such role"])
    def test_a_role_without_permissions(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, role: str
    ) -> None:
        monkeypatch.setenv("AIRFLOW__SCALE__ANONYMOUS_ROLE", role)
        assert client.get(VERSION).status_code == 401

    def test_a_wrong_login_is_not_anonymous(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__SCALE__ANONYMOUS_ROLE", "Viewer")
        assert client.get(VERSION, headers={"Authorization": "Bearer x"}).status_code == 401
