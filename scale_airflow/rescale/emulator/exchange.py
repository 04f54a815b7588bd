# SPDX-License-Identifier: Apache-2.0
"""One request on its way through the emulator, and the emulator that answers it."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiMapping
from yarl import URL

from scale_airflow.rescale.emulator.auth import Caller, Keys
from scale_airflow.rescale.emulator.blobs import Blobs
from scale_airflow.rescale.emulator.clock import Clock
from scale_airflow.rescale.emulator.counters import Counters
from scale_airflow.rescale.emulator.faults import Fault, Faults
from scale_airflow.rescale.emulator.refusals import RefusedError, refused
from scale_airflow.rescale.emulator.settings import Settings
from scale_airflow.rescale.emulator.shaping import Shaping
from scale_airflow.rescale.emulator.state import State
from scale_airflow.rescale.emulator.throttle import Throttle
from scale_airflow.rescale.emulator.work import Work

LARGEST_DOCUMENT = 64 * 2**20


@dataclass
class Emulator:
    """All parts of one running emulator.

    :param scenarios: the courses of the next jobs that are created.
    """

    settings: Settings
    state: State
    blobs: Blobs
    clock: Clock
    keys: Keys
    work: Work
    counters: Counters = field(default_factory=Counters)
    faults: Faults = field(default_factory=Faults)
    shaping: Shaping = field(init=False)
    throttle: Throttle = field(init=False)
    scenarios: deque[str] = field(default_factory=deque)
    status_requests: int = 0

    def __post_init__(self) -> None:
        self.shaping = Shaping(self.settings)
        self.throttle = Throttle(self.settings)


@dataclass
class Exchange:
    """A request whose sender is known, with what its path holds.

    :param url: the address as the client wrote it: links in answers begin like it.
    :param values: the named parts of the path; :param fault: what is to go wrong with it.
    """

    emulator: Emulator
    request: web.BaseRequest
    url: URL
    caller: Caller
    values: dict[str, str]
    fault: Fault | None = None

    @property
    def state(self) -> State:
        """Return the emulator's state."""
        return self.emulator.state

    @property
    def query(self) -> MultiMapping[str]:
        """Return the parameters of the address."""
        return self.url.query

    @property
    def origin(self) -> str:
        """Return scheme, host and port as the client knows them."""
        return str(self.url.origin())

    async def document(self) -> Any:
        """Read the request's JSON document (or form); ``{}`` when there is no body.

        :raises RefusedError: 400 for what is no JSON, 415 for another content type, 413 for too much.
        """
        body = await self._body()
        if not body:
            return {}
        kind = self.request.content_type
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if kind != "application/json":
            raise refused(f'Unsupported media type "{kind}" in request.', 415)
        try:
            return json.loads(body.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise refused(f"JSON parse error - {error}") from None

    async def _body(self) -> bytes:
        pieces: list[bytes] = []
        count = 0
        async for piece in self.request.content.iter_any():
            count += len(piece)
            if count > LARGEST_DOCUMENT:
                raise refused("Request body is too large.", 413)
            pieces.append(piece)
        return b"".join(pieces)

    async def fields(self) -> dict[str, Any]:
        """Read the request's JSON object.

        :raises RefusedError: as :meth:`document`, and for what is no object.
        """
        document = await self.document()
        if isinstance(document, dict):
            return document
        name = {list: "list", str: "str", int: "int", float: "float", bool: "bool"}.get(
            type(document), "null"
        )
        message = f"Invalid data. Expected a dictionary, but got {name}."
        raise RefusedError(400, {"non_field_errors": [message]})


def _no_constant(text: str) -> None:
    raise ValueError(f"Out of range float values are not JSON compliant: {text}")
