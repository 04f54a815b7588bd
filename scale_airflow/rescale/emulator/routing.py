# SPDX-License-Identifier: Apache-2.0
"""Which function answers which method and path, with the service's manners about the last slash."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scale_airflow.rescale.emulator.answers import Answer
from scale_airflow.rescale.emulator.refusals import RefusedError, not_found

if TYPE_CHECKING:
    from scale_airflow.rescale.emulator.exchange import Exchange

Handler = Callable[["Exchange"], Awaitable[Answer]]

BASE = "/api/v2"
# Paths without a version are those of version 1, which old clients and the links in answers use.
UNVERSIONED = re.compile(r"/api(?!/v\d)(?=/)")
_VALUE = re.compile(r"\{(\w+)(\*?)\}")


@dataclass(frozen=True)
class Endpoint:
    """One path below ``/api/v2`` and what its methods do.

    :param template: ``/jobs/{job}/``; ``{path*}`` takes slashes, too. Without a slash at its end it is
        reached without one only.
    :param scope: the rate limit that counts it.
    """

    template: str
    scope: str
    methods: dict[str, Handler]
    pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = _VALUE.split(self.template)
        text = "".join(
            re.escape(part) if place % 3 == 0 else f"(?P<{part}>{'.+' if parts[place + 1] else '[^/]+'})"
            for place, part in enumerate(parts)
            if place % 3 != 2
        )
        object.__setattr__(self, "pattern", re.compile(text))


@dataclass(frozen=True)
class Match:
    """The function for a request, and what its path holds."""

    endpoint: Endpoint
    handler: Handler
    values: dict[str, str]


class RedirectError(Exception):
    """The path lacks its last slash, and a GET is sent where it is right."""


class Router:
    """All endpoints of the service."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._endpoints = list(endpoints)

    def match(self, method: str, path: str) -> Match:
        """Find the function for a request.

        :raises RedirectError: GET of a path that needs a slash at its end.
        :raises RefusedError: 404 for an unknown path (also without the slash), 405 for another method.
        """
        below = UNVERSIONED.sub(BASE, path, count=1) if UNVERSIONED.match(path) else path
        if not below.startswith(BASE + "/"):
            raise not_found()
        below = below[len(BASE) :]
        found = self._find(below)
        if found is None:
            if method in ("GET", "HEAD") and not below.endswith("/") and self._find(below + "/"):
                raise RedirectError
            raise not_found()
        endpoint, values = found
        handler = endpoint.methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join([*endpoint.methods, *(["HEAD"] if "GET" in endpoint.methods else [])])
            raise RefusedError(405, {"detail": f'Method "{method}" not allowed.'}, {"Allow": allowed})
        return Match(endpoint, handler, values)

    def _find(self, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        for endpoint in self._endpoints:
            match = endpoint.pattern.fullmatch(path)
            if match:
                return endpoint, match.groupdict()
        return None
