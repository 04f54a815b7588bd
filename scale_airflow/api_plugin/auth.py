# SPDX-License-Identifier: Apache-2.0
"""Who calls, and may they: every endpoint states a method and a resource with :func:`requires`.

A caller is known by, in this order: ``Authorization: Bearer`` with a long-lived token of ours
(``scale_…``) or a token of Airflow's; HTTP Basic where FAB holds the passwords; the session cookie of
Airflow's pages; else, for reading alone, the role of ``[scale] anonymous_role``.

A browser sends cookies and remembered passwords along with requests that another site makes it send. Such
a login alone therefore never authorizes a change: the request must also come from this very origin.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.core_api.security import USER_INJECTED_BY_TRUSTED_MIDDLEWARE
from fastapi import Depends, Request
from jwt import InvalidTokenError
from starlette.concurrency import run_in_threadpool

from scale_airflow.api_plugin import users
from scale_airflow.api_plugin.links import links_of
from scale_airflow.api_plugin.permissions import RESOURCES, Method
from scale_airflow.config import settings
from scale_airflow.errors import Forbidden, Unauthenticated
from scale_airflow.services import tokens
from scale_airflow.store.session import transaction

Login = Literal["token", "bearer", "basic", "cookie", "public", "anonymous"]

_SAFE = ("GET", "HEAD", "OPTIONS")
_HOW = "Log in with a bearer token, HTTP Basic or the session of Airflow's pages."


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    :param username: the user's name; ``Anonymous`` without a login.
    :param login: how the caller is known.
    :param user: the auth manager's user; None for an anonymous caller.
    """

    username: str
    login: Login
    user: Any = None

    def may(self, method: Method, resource: str) -> bool:
        """Tell whether the caller may do this."""
        if self.login == "anonymous":
            return method == "GET" and users.anonymous_may_read(settings().anonymous_role, resource)
        return users.is_allowed(self.user, method, resource)

    def demand(self, method: Method, resource: str) -> None:
        """Check that the caller may do this.

        :raises Unauthenticated: if a login might help.
        :raises Forbidden: if not.
        """
        if self.may(method, resource):
            return
        if self.login in ("anonymous", "public"):
            raise Unauthenticated(_HOW)
        raise Forbidden(f"You lack the permission {_WORDS[method]} on {resource}.")


_WORDS: dict[Method, str] = {"GET": "to read", "POST": "to create", "PUT": "to edit", "DELETE": "to delete"}


async def authenticate(request: Request) -> Caller:
    """Return who sent the request.

    :raises Unauthenticated: without a login, or with a wrong one.
    :raises Forbidden: for a change that another site may have made a browser send.
    """
    caller = await _identify(request)
    if request.method not in _SAFE:
        _check_origin(request, caller.login)
    return caller


CallerDep = Annotated[Caller, Depends(authenticate)]


def requires(method: Method, resource: str) -> Callable[[Caller], Caller]:
    """Return the dependency that lets a request through only if its caller may do this, and gives the caller.

    Use it on every route: ``Depends(requires("POST", "Scale Jobs"))``.

    :param method: what is done to the resource: GET reads, POST creates, PUT edits, DELETE deletes.
    :param resource: one of :data:`scale_airflow.api_plugin.permissions.RESOURCES`.
    """
    if resource not in RESOURCES:
        raise ValueError(f"{resource!r} is none of the resources of permissions.py.")

    def authorize(caller: CallerDep) -> Caller:
        caller.demand(method, resource)
        return caller

    return authorize


async def _identify(request: Request) -> Caller:
    header = request.headers.get("authorization", "")
    if header:
        return await _by_header(header)
    cookie = request.cookies.get(COOKIE_NAME_JWT_TOKEN)
    # Airflow's own middleware has checked the cookie already, or set the public role of FAB.
    user = getattr(request.state, "user", None)
    if (
        user is not None
        and getattr(request.state, "user_authenticated_via", None) is USER_INJECTED_BY_TRUSTED_MIDDLEWARE
    ):
        return Caller(user.get_name(), "cookie" if cookie else "public", user)
    if cookie:
        user = await _by_jwt(cookie)
        if user is not None:
            return Caller(user.get_name(), "cookie", user)
    if settings().anonymous_role:
        return Caller("Anonymous", "anonymous")
    raise Unauthenticated(_HOW)


async def _by_header(header: str) -> Caller:
    scheme, _, value = header.partition(" ")
    value = value.strip()
    match scheme.lower():
        case "bearer" if value.startswith(tokens.PREFIX):
            user = await run_in_threadpool(_by_token, value)
            if user is not None:
                return Caller(user.get_name(), "token", user)
        case "bearer":
            user = await _by_jwt(value)
            if user is not None:
                return Caller(user.get_name(), "bearer", user)
        case "basic":
            user = await run_in_threadpool(_by_basic, value)
            if user is not None:
                return Caller(user.get_name(), "basic", user)
        case _:
            raise Unauthenticated(f"The scheme of the Authorization header is unknown. {_HOW}")
    raise Unauthenticated("The token or password is wrong, has expired or was revoked.")


async def _by_jwt(token: str) -> Any | None:
    try:
        return await get_auth_manager().get_user_from_token(token)
    except InvalidTokenError:
        return None


def _by_token(secret: str) -> Any | None:
    with transaction() as session:
        username = tokens.user_of_token(session, secret)
    return None if username is None else users.by_name(username)


def _by_basic(value: str) -> Any | None:
    try:
        username, separator, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return users.by_password(username, password) if separator else None


def _check_origin(request: Request, login: Login) -> None:
    """Refuse a change with a login that a browser adds by itself, unless it comes from our own pages."""
    if login in ("token", "bearer") and not users.everybody_is_admin():
        return
    said = _same_origin(request)
    # Scripts with a password say nothing about an origin; a browser with a cookie must.
    if said is False or (said is None and login == "cookie"):
        raise Forbidden(
            "A session cookie or remembered password changes things only from this server's own pages: "
            "the request's Sec-Fetch-Site, Origin or Referer does not say that it comes from there. "
            "Scripts send a bearer token."
        )


def _same_origin(request: Request) -> bool | None:
    """Tell whether the browser says that our own pages sent the request; None if it says nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    for name in ("origin", "referer"):
        value = request.headers.get(name)
        if value is not None:
            return _origin(value) in _own_origins(request)
    return None


def _own_origins(request: Request) -> set[tuple[str, str]]:
    from airflow.configuration import conf

    own = {_origin(str(request.url))}
    configured = str(conf.get("api", "base_url", fallback="") or "")
    if "://" in configured:
        own.add(_origin(configured))
    own.add(_origin(links_of(request).root))
    return own


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", url
    return parts.scheme.lower(), host if port in (None, default) else f"{host}:{port}"
