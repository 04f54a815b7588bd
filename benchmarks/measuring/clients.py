# SPDX-License-Identifier: Apache-2.0
"""Clients that keep their connection, one or several at once, and how long each answer took."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 300.0
"""Seconds after which an answer counts as lost."""

IDLE = 2.0
"""Seconds after which a connection is opened anew: servers close those that nobody uses."""

OK = (200, 201)


@dataclass(frozen=True)
class Request:
    """What is sent: ``body`` is a document, None for none."""

    path: str
    method: str = "GET"
    body: object = None


class KeepAlive:
    """One client: a connection that stays open, and a bearer token."""

    def __init__(self, url: str, authorization: str):
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT)
        self._headers = {"Authorization": authorization, "Accept": "application/json"}
        self._used = float("-inf")

    def ready(self) -> None:
        """Open the connection, if it is not open or may have been closed by the server."""
        if time.monotonic() - self._used > IDLE:
            self._connection.close()
            self._connection.connect()

    def send(self, request: Request) -> tuple[int, bytes]:
        """Return the status and the whole body of the answer."""
        self.ready()
        headers, body = self._headers, None
        if request.body is not None:
            headers = {**headers, "Content-Type": "application/json"}
            body = json.dumps(request.body).encode()
        self._connection.request(request.method, request.path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self._used = time.monotonic()
        return answer.status, content

    def timed(self, request: Request) -> float:
        """Return the milliseconds from the request to the end of the answer.

        :raises RuntimeError: if the answer is an error.
        """
        self.ready()
        began = time.perf_counter()
        status, body = self.send(request)
        seconds = time.perf_counter() - began
        if status not in OK:
            raise RuntimeError(f"{request.method} {request.path}: {status} {body[:2000]!r}")
        return seconds * 1000

    def read(self, request: Request) -> Any:
        """Return the JSON of the answer, None if there is no such address."""
        status, body = self.send(request)
        if status in (404, 405):
            return None
        if status not in OK:
            raise RuntimeError(f"{request.method} {request.path}: {status} {body[:2000]!r}")
        return json.loads(body)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass
class Crowd:
    """What several clients at once saw: milliseconds of each answer, seconds of all, what went wrong."""

    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.milliseconds) / self.seconds


def crowd(clients: Sequence[KeepAlive], requests: Callable[[int, int], Request], each: int) -> Crowd:
    """Let all clients send so many requests each, one after the other, all clients at once.

    :param requests: returns what a client, by its number, sends as its so manieth request.
    """
    found = Crowd()
    start = threading.Barrier(len(clients) + 1)
    lock = threading.Lock()

    def work(number: int) -> None:
        times, errors = [], []
        start.wait()
        for turn in range(each):
            try:
                times.append(clients[number].timed(requests(number, turn)))
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                errors.append(str(error))
        with lock:
            found.milliseconds += times
            found.errors += errors

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    found.seconds = time.perf_counter() - began
    return found
