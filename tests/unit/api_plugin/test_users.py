# SPDX-License-Identifier: Apache-2.0
"""Roles of the simple auth manager, which by itself lets every user do everything in a plugin."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

from scale_airflow.api_plugin import users
from scale_airflow.api_plugin.auth import requires


@pytest.fixture(autouse=True)
def _simple(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "get_auth_manager", SimpleAuthManager)
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "ann:admin,vic:viewer")


def user(role: str | None) -> Any:
    return SimpleAuthManagerUser(username="x", role=role)


@pytest.mark.parametrize(
    ("role", "reads", "changes"),
    [
        ("viewer", True, False),
        ("USER", True, False),
        ("op", True, True),
        ("Admin", True, True),
        (None, False, False),
        ("other", False, False),
    ],
)
def test_roles(role: str | None, reads: bool, changes: bool) -> None:
    assert users.is_allowed(user(role), "GET", "Scale Jobs") is reads
    for method in ("POST", "PUT", "DELETE"):
        assert users.is_allowed(user(role), method, "Scale Jobs") is changes  # type: ignore[arg-type]
    assert users.is_allowed(user(role), "GET", "Scale Privileged Containers") is changes


def test_names() -> None:
    assert users.by_name("vic").role == "viewer"
    assert users.by_name("nobody") is None
    assert users.by_password("vic", "vic") is None


def test_anonymous() -> None:
    assert users.anonymous_may_read("viewer", "Scale Jobs")
    assert not users.anonymous_may_read("guest", "Scale Jobs")
    assert not users.anonymous_may_read("admin", "Scale Privileged Containers")


def test_no_permission_is_asked_for_that_nobody_can_have() -> None:
    with pytest.raises(ValueError, match="Scale Nonsense"):
        requires("GET", "Scale Nonsense")
