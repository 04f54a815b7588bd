# SPDX-License-Identifier: Apache-2.0
"""What can be asked of Rescale, as values: a call knows its request and how to read the answer.

Nothing here talks to a network. :class:`~scale_airflow.rescale.client.RescaleClient` and
:class:`~scale_airflow.rescale.async_client.AsyncRescaleClient` send calls; the functions of
:mod:`scale_airflow.rescale.endpoints` make them.

A :data:`Flow` is a conversation of several calls, written once for both clients: a generator that yields
calls (and pauses), is given their results, and returns its own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from scale_airflow.errors import InvalidRequest

T = TypeVar("T")
Reads = Literal["json", "bytes", "nothing"]


class Scope(enum.Enum):
    """The rate limit under which Rescale counts a request (its documentation: Rate limits)."""

    USER = "user"
    JOB_SUBMISSION = "job-submission"
    JOBS_USAGE = "jobs-usage"
    FILE_ACCESS = "file-access"
    CLUSTERS_USAGE = "clusters-usage"
    BILLING = "billing-endpoint"


class Repeat(enum.Enum):
    """Whether a request may be sent again when it is not known what became of it."""

    SAFE = "safe"
    NEVER = "never"


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request to Rescale and the way to read its answer.

    :param path: below ``/api/v2/``, percent-encoded, with the trailing slash where there is one.
    :param parse: makes the result of the answer's JSON (or bytes, or None).
    :param query: parameters of the URL; those that are None are left out.
    :param body: sent as JSON unless None.
    :param job_id: the job this is about, for errors.
    :param tolerate: statuses that mean "nothing there yet": the result is ``parse(None)``.
    :param flaky: statuses that this endpoint is known to answer now and then, for no reason of ours: they are
        tried again more patiently than others.
    :param advice: a sentence for whoever is refused.
    :param headers: further headers of the request (``Range``).
    :param leaves_origin: the answer may lie on another server: a redirect there is followed, without the key.
    """

    method: str
    path: str
    parse: Callable[[Any], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)
    scope: Scope = Scope.USER
    repeat: Repeat = Repeat.SAFE
    job_id: str | None = None
    reads: Reads = "json"
    tolerate: frozenset[int] = frozenset()
    flaky: frozenset[int] = frozenset()
    advice: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    leaves_origin: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Pause:
    """A step of a conversation that only lets time pass."""

    seconds: float


def path_of(*parts: object) -> str:
    """Return the path of parts, each percent-encoded, with the slash at its end that Rescale wants.

    :raises InvalidRequest: if a part is empty or would lead elsewhere.
    """
    return "".join(f"{quote_part(part)}/" for part in parts)


def quote_part(part: object, what: str = "id") -> str:
    """Return one percent-encoded part of a path.

    :raises InvalidRequest: if it is no text, empty, ``.`` or ``..``.
    """
    text = str(part) if isinstance(part, (str, int)) and not isinstance(part, bool) else ""
    if text.strip() in ("", ".", "..") or not text.isprintable():
        raise InvalidRequest(f"{part!r} is no {what} of anything at Rescale.")
    return quote(text, safe="")


# Yields calls (given back: their results) or pauses; errors of a call are raised where it was yielded.
Flow = Generator[Any, Any, T]
