# SPDX-License-Identifier: Apache-2.0
"""What the synchronous and the asynchronous client set up and translate alike: httpx on one side of it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import httpx

from scale_airflow.errors import InstallationError
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.exchange import Request
from scale_airflow.rescale.policy import Answer, Failed, Failure, RequestPolicy

ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)
USER_AGENT = f"scale-airflow/{version('scale-airflow')} httpx/{httpx.__version__}"
MAX_CONCURRENCY = 16
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
_LONGEST_REASON = 150


def http_settings(
    policy: RequestPolicy,
    *,
    verify: bool | str,
    user_agent: str,
    max_concurrency: int,
) -> dict[str, Any]:
    """Return the arguments of an httpx client, without proxies.

    :param verify: False trusts every certificate; a path names a file or directory of those to trust.
    :param max_concurrency: connections at once.
    :raises InstallationError: if the certificates can't be read.
    """
    return {
        "timeout": httpx.Timeout(policy.read_timeout, connect=policy.connect_timeout, pool=None),
        "limits": httpx.Limits(
            max_connections=max_concurrency, max_keepalive_connections=max_concurrency, keepalive_expiry=30.0
        ),
        # It may name a class of a user's, whose name may have any letters.
        "headers": {"User-Agent": user_agent.encode("ascii", "replace").decode()},
        "verify": certificates(verify),
        "follow_redirects": False,
    }


def proxy_urls(proxies: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return proxies by the pattern of addresses that they are for.

    :param proxies: one for everything, or by scheme: ``{"https": "http://proxy:3128"}``.
    :raises InstallationError: if one is no address.
    """
    named = {"all": proxies} if isinstance(proxies, str) else dict(proxies or {})
    for scheme, url in named.items():
        scheme = scheme.removesuffix("://")
        if scheme not in ("all", "http", "https") or not str(url).startswith(
            ("http://", "https://", "socks5")
        ):
            raise InstallationError(
                "The proxies of Rescale's client are not of the form {'https': 'http://HOST:PORT'}.",
                "Name proxies for all, http or https.",
            )
    return {f"{scheme.removesuffix('://')}://": url for scheme, url in named.items()}


def headers_of(request: Request, credentials: Credentials) -> dict[str, str]:
    """Return a request's headers, with the key if it may have it."""
    headers = dict(request.headers)
    if request.authorized:
        headers["Authorization"] = credentials.authorization
    return headers


def failure_of(error: Exception) -> Failed:
    """Return what kept a request from being answered."""
    if isinstance(error, httpx.ConnectError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Failed(Failure.UNTRUSTED)
    if isinstance(error, _NOT_SENT):
        # Without a connection there is nothing of the request in the words.
        return Failed(Failure.NOT_CONNECTED, " ".join(str(error).split())[:_LONGEST_REASON])
    return Failed(Failure.TIMED_OUT if isinstance(error, httpx.TimeoutException) else Failure.BROKEN)


class Intake:
    """Takes in the body of one answer, within the policy's time and size."""

    def __init__(self, response: httpx.Response, policy: RequestPolicy):
        self._response = response
        self._policy = policy
        self._give_up = time.monotonic() + policy.answer_timeout
        self._pieces: list[bytes] = []
        self._size = 0

    def take(self, piece: bytes) -> Failed | None:
        """Take a piece; a failure if it is too much or too late."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._policy.max_answer:
            return Failed(Failure.ENDLESS)
        return Failed(Failure.TIMED_OUT) if time.monotonic() > self._give_up else None

    def answer(self) -> Answer:
        """Return the whole answer."""
        headers = {name.lower(): value for name, value in self._response.headers.items()}
        return Answer(self._response.status_code, headers, b"".join(self._pieces))


def check_concurrency(number: int) -> None:
    """Check how many connections there may be at once.

    :raises InstallationError: if it is none.
    """
    if number < 1:
        raise InstallationError("max_concurrency of Rescale's client is below 1.", "Set it to 1 or more.")


def without_cookies(client: ClientT) -> ClientT:
    """Have a client keep no cookies: a session beside the key would be another way to be somebody."""
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


@lru_cache(maxsize=8)
def certificates(verify: bool | str) -> ssl.SSLContext:
    """Return what decides whom to trust, read once: in a trigger that holds up everybody's event loop.

    :raises InstallationError: if the certificates can't be read.
    """
    if isinstance(verify, bool):
        return httpx.create_ssl_context(verify=verify)
    path = Path(verify).expanduser()
    problem = ""
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=str(path))
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        problem = type(error).__name__
    raise InstallationError(
        f"The certificates at {verify!r} can't be read ({problem}).",
        "Set verify to a file or directory of PEM certificates, or to true.",
    )
