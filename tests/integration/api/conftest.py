# SPDX-License-Identifier: Apache-2.0
"""Airflow's own API server application with Scale's plugin in it, FAB's users, and their logins."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session
from world import World

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather use httpx's successor
    from starlette.testclient import TestClient

USERS = {"admin": "Admin", "op": "Op", "viewer": "Viewer", "nobody": "Public"}
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def api_server(airflow_db: str) -> Iterator[Any]:
    """The application that ``airflow api-server`` serves, without its background work."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    from scale_airflow.api_plugin.permissions import sync_permissions

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Airflow and FAB warn of while they start is theirs
        app = create_app(apps="core")
        _make_users()
    sync_permissions()
    yield app
    purge_cached_app()


def _make_users() -> None:
    from airflow.api_fastapi.app import get_auth_manager

    manager: Any = get_auth_manager()
    with manager.flask_app.app_context():
        security = manager.security_manager
        for name, role in USERS.items():
            security.add_user(name, name, "Test", f"{name}@example.org", security.find_role(role), PASSWORD)
        security.session.remove()


@pytest.fixture
def client(api_server: Any, database: str) -> TestClient:
    """A client without a login, on empty tables; it does not follow redirects."""
    return TestClient(api_server, base_url="http://scale.example", follow_redirects=False)


def bearer(name: str) -> dict[str, str]:
    """Return the headers of a login as one of :data:`USERS`."""
    from airflow.api_fastapi.app import get_auth_manager

    from scale_airflow.api_plugin import users

    return {"Authorization": f"Bearer {get_auth_manager().generate_jwt(users.by_name(name))}"}


@pytest.fixture(scope="session")
def admin(api_server: Any) -> dict[str, str]:
    """Headers of a user who may do everything."""
    return bearer("admin")


@pytest.fixture(scope="session")
def op(api_server: Any) -> dict[str, str]:
    """Headers of an operator, who may do everything as well."""
    return bearer("op")


@pytest.fixture(scope="session")
def viewer(api_server: Any) -> dict[str, str]:
    """Headers of a user who may only read."""
    return bearer("viewer")


@pytest.fixture(scope="session")
def nobody(api_server: Any) -> dict[str, str]:
    """Headers of a user whose role has no permission at all."""
    return bearer("nobody")


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A small Scale installation with workspaces ``raw`` and ``products`` and one node."""
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


@pytest.fixture
def password() -> str:
    """The password of all users."""
    return PASSWORD
