# SPDX-License-Identifier: Apache-2.0
"""Users of the auth manager that Airflow is configured with: found by password or by name, and what they may.

Only the FAB and simple auth managers know their users themselves; under another one a login is a bearer
token or session cookie of that manager, and long-lived tokens and passwords are refused.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from cachetools import TTLCache

from scale_airflow.api_plugin.permissions import Method, action
from scale_airflow.engine import fab_tables
from scale_airflow.store.session import transaction

_FAB = "airflow.providers.fab.auth_manager.fab_auth_manager"
_SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager"

# A good password costs its slow hash once in half a minute, as long as FAB itself keeps users in memory.
_KEY = os.urandom(32)
_passwords: TTLCache[bytes, int] = TTLCache(maxsize=256, ttl=30)
_anonymous: TTLCache[str, frozenset[tuple[str, str]]] = TTLCache(maxsize=4, ttl=30)


def is_fab() -> bool:
    """Tell whether users and roles are FAB's."""
    return _is(_FAB, "FabAuthManager")


def is_simple() -> bool:
    """Tell whether Airflow runs with its simple auth manager."""
    return _is(_SIMPLE, "SimpleAuthManager")


def everybody_is_admin() -> bool:
    """Tell whether the simple auth manager lets everybody in without a login."""
    from airflow.configuration import conf

    return is_simple() and conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False)


def _is(module: str, name: str) -> bool:
    # Looked up, not imported: under another auth manager its module need not even be importable.
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(get_auth_manager(), getattr(loaded, name))


def by_password(username: str, password: str) -> Any | None:
    """Return the active user with this name and password, or None; only FAB has passwords."""
    if not is_fab() or not username or not password or "\0" in username + password:
        return None
    secret = hmac.digest(_KEY, f"{len(username)}:{username}:{password}".encode(), hashlib.sha256)
    user_id = _passwords.get(secret)
    if user_id is None:
        manager: Any = get_auth_manager()
        with _flask_app(manager).app_context():
            user = manager.create_token(headers={}, body={"username": username, "password": password})
            user_id = None if user is None else int(user.id)
            manager.security_manager.session.remove()
        if user_id is None:
            return None
        _passwords[secret] = user_id
    return _fab_user(user_id)


def _flask_app(manager: Any) -> Any:
    if manager.flask_app is None:
        from airflow.providers.fab.www.app import create_app

        with manager._flask_app_lock:
            manager.flask_app = manager.flask_app or create_app(enable_plugins=False)
    return manager.flask_app


def by_name(username: str) -> Any | None:
    """Return the active user with this name, or None."""
    if is_fab():
        with transaction() as session:
            user_id = fab_tables.user_id_of(session, username)
        return None if user_id is None else _fab_user(user_id)
    if is_simple():
        manager: Any = get_auth_manager()
        return next((user for user in manager.get_users() if user.username == username), None)
    return None


def _fab_user(user_id: int) -> Any | None:
    manager: Any = get_auth_manager()
    try:
        return manager.deserialize_user({"sub": str(user_id)})
    except ValueError:  # gone, or not active any more
        return None


def is_allowed(user: Any, method: Method, resource: str) -> bool:
    """Ask the auth manager whether a user may do this.

    The simple auth manager says yes to every logged-in user for pages of plugins, so its roles are looked
    at here: viewer and user read, op and admin change.
    """
    if is_simple():
        role = str(user.role or "").upper()
        if method == "GET" and resource != "Scale Privileged Containers":
            return role in ("VIEWER", "USER", "OP", "ADMIN")
        return role in ("OP", "ADMIN")
    manager: Any = get_auth_manager()
    return bool(manager.is_authorized_custom_view(method=method, resource_name=resource, user=user))


def anonymous_may_read(role: str, resource: str) -> bool:
    """Tell whether the role of ``[scale] anonymous_role`` may read a resource."""
    if resource == "Scale Privileged Containers":
        return False
    if is_simple():
        return role.upper() in ("VIEWER", "USER", "OP", "ADMIN")
    if not is_fab():
        return False
    granted = _anonymous.get(role)
    if granted is None:
        with transaction() as session:
            granted = fab_tables.permissions_of(session, role)
        _anonymous[role] = granted
    return (action("GET"), resource) in granted


def forget() -> None:
    """Forget what is remembered of users; for tests, and after permissions were synchronized."""
    _passwords.clear()
    _anonymous.clear()
