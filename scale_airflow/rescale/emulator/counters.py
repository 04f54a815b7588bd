# SPDX-License-Identifier: Apache-2.0
"""What was asked of the emulator, counted: the proof of what a client did."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

REMEMBERED_REQUESTS = 20_000


@dataclass
class Counters:
    """Counts since the start, or since :meth:`reset`.

    :param by_scope: requests of each rate-limit scope; :param by_endpoint: ``"GET /jobs/{job}/"`` → requests.
    :param by_status: answers of each HTTP status (``"cut"``: the connection was cut instead).
    :param live_connections: open now; :param peak_connections: most at one time.
    :param live_requests: in work now; :param peak_requests: most at one time.
    :param bytes_sent: file id → bytes of its contents that were sent; :param bytes_received: of uploads.
    :param submits: job id → requests to submit it that were let in, whatever their answer.
    """

    by_scope: Counter[str] = field(default_factory=Counter)
    by_endpoint: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    live_connections: int = 0
    peak_connections: int = 0
    opened_connections: int = 0
    live_requests: int = 0
    peak_requests: int = 0
    bytes_sent: Counter[str] = field(default_factory=Counter)
    bytes_received: int = 0
    submits: Counter[str] = field(default_factory=Counter)
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=REMEMBERED_REQUESTS))

    def connection_opened(self) -> None:
        """Count a new connection."""
        self.opened_connections += 1
        self.live_connections += 1
        self.peak_connections = max(self.peak_connections, self.live_connections)

    def connection_closed(self) -> None:
        """Count the end of a connection."""
        self.live_connections -= 1

    def request_begins(self) -> None:
        """Count a request in work."""
        self.live_requests += 1
        self.peak_requests = max(self.peak_requests, self.live_requests)

    def request_ends(self) -> None:
        """Count the end of a request."""
        self.live_requests -= 1

    def reset(self) -> None:
        """Begin at nothing again; what is open now stays counted as open."""
        for counter in (self.by_scope, self.by_endpoint, self.by_status, self.bytes_sent, self.submits):
            counter.clear()
        self.requests.clear()
        self.peak_connections, self.peak_requests = self.live_connections, self.live_requests
        self.opened_connections = self.bytes_received = 0

    def to_document(self) -> dict[str, Any]:
        """Return all counts but the single requests."""
        counted = {name: value for name, value in vars(self).items() if name != "requests"}
        return {**counted, "requests": sum(self.by_endpoint.values())}
