# SPDX-License-Identifier: Apache-2.0
"""Both clients behind one face, so that a test can ask the same of each."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from scale_airflow.rescale import (
    AsyncRescaleClient,
    Call,
    Credentials,
    Flow,
    PagedCall,
    RateBuckets,
    RequestPolicy,
    RescaleClient,
)

T = TypeVar("T")
# Pauses are drawn from nothing; what is not answered is given up soon.
QUICK = replace(RequestPolicy(), first_pause=0.01, read_timeout=5.0, connect_timeout=5.0, draw=lambda: 0.0)


class Face(Protocol):
    """What both clients can do."""

    def send(self, call: Call[T]) -> T: ...
    def all(self, call: PagedCall[T]) -> list[T]: ...
    def run(self, flow: Flow[T]) -> T: ...
    def close(self) -> None: ...


class Blocking:
    """The asynchronous client, waited for."""

    def __init__(self, *arguments: Any, **named: Any):
        self._loop = asyncio.new_event_loop()
        self.client = AsyncRescaleClient(*arguments, **named)

    def send(self, call: Call[T]) -> T:
        return self._loop.run_until_complete(self.client.send(call))

    def all(self, call: PagedCall[T]) -> list[T]:
        return self._loop.run_until_complete(self.client.all(call))

    def run(self, flow: Flow[T]) -> T:
        return self._loop.run_until_complete(self.client.run(flow))

    def close(self) -> None:
        self._loop.run_until_complete(self.client.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def __repr__(self) -> str:
        return repr(self.client)


def face(kind: str, url: str, key: str, **named: Any) -> Face:
    """Make a client: ``"sync"`` or ``"async"``; without rate limits unless they are given."""
    named.setdefault("policy", QUICK)
    named.setdefault("rates", RateBuckets({}))
    # The servers of the tests speak no TLS; reading the system's certificates takes time.
    named.setdefault("verify", False)
    credentials = Credentials.of(url, key)
    return RescaleClient(credentials, **named) if kind == "sync" else Blocking(credentials, **named)
