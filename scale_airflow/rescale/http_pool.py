# SPDX-License-Identifier: Apache-2.0
"""Connections for threads: each is used by one of them at a time.

An ``httpx.Client`` that threads share closes now and then a connection that one of them is reading from:
while it looks whether an idle connection is still good, another thread takes that one. For a request
that must not be repeated this would mean not to know what became of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx


class HttpPool:
    """Lends HTTP clients.

    :param make: makes a client that has one connection.
    :param size: how many are lent at the same time; who comes then waits.
    """

    def __init__(self, make: Callable[[], httpx.Client], size: int):
        self._make = make
        self._free = threading.BoundedSemaphore(size)
        # A signal's handler (a task that is killed stops its job) may ask in the midst of its own thread's.
        self._lock = threading.RLock()
        self._mine = threading.local()
        # The first one is made here, so that wrong settings are found at once.
        self._idle: list[httpx.Client] = [make()]
        self._closed = False

    @contextmanager
    def client(self, *, fresh: bool = False) -> Iterator[httpx.Client]:
        """Lend a client, preferably the one that was used last: its connection is still open.

        :param fresh: one without a connection yet, which is closed afterwards.
        :raises RuntimeError: if the pool is closed.
        """
        with self._turn():
            with self._lock:
                if self._closed:
                    raise RuntimeError("The client of Rescale is closed.")
                lent = self._idle.pop() if self._idle and not fresh else self._make()
            try:
                yield lent
            finally:
                self._take_back(lent, keep=not fresh)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for a free place; a thread that has one, or waits for one, gets another at once."""
        depth: int = getattr(self._mine, "depth", 0)
        self._mine.depth = depth + 1
        try:
            if depth:
                yield
                return
            with self._free:
                yield
        finally:
            self._mine.depth = depth

    def _take_back(self, client: httpx.Client, *, keep: bool) -> None:
        with self._lock:
            if keep and not self._closed:
                self._idle.append(client)
                return
        client.close()

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()
