# SPDX-License-Identifier: Apache-2.0
"""How far transfers are, told to whoever asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

INTERVAL = 0.1
"""Seconds between two reports, except for the first and that of each file's end."""


@dataclass(frozen=True)
class Progress:
    """How far a transfer is.

    :param file: the name of the file of which bytes have just come or gone.
    :param done: bytes of it, of ``size``; what an earlier attempt has left counts.
    :param total_done: bytes of all files, of ``total``.
    :param files_done: files that are whole, of ``files``.
    :param seconds: since the transfer began.
    """

    file: str
    done: int
    size: int
    total_done: int
    total: int
    files_done: int
    files: int
    seconds: float


Listener = Callable[[Progress], None]
"""Called from threads of the transfer, never by two at once; what it raises ends the transfer."""


class Meter:
    """Adds up what all threads of a transfer have done.

    :param sizes: bytes of all files together.
    """

    def __init__(self, listener: Listener | None, files: int, total: int) -> None:
        self._listener = listener
        self._files, self._total = files, total
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}
        self._total_done = 0
        self._files_done = 0
        self._began = time.monotonic()
        self._told = float("-inf")

    def add(self, file: str, size: int, count: int) -> None:
        """Count bytes of a file; fewer than none when they have to come again."""
        with self._lock:
            self._done[file] = self._done.get(file, 0) + count
            self._total_done += count
            if self._listener is not None and time.monotonic() - self._told >= INTERVAL:
                self._tell(file, size)

    def restart(self, file: str, size: int) -> None:
        """Take back all bytes of a file."""
        with self._lock:
            self._total_done -= self._done.pop(file, 0)
            self._tell(file, size)

    def whole(self, file: str, size: int) -> None:
        """Count a file that is whole."""
        with self._lock:
            self._total_done += size - self._done.pop(file, 0)
            self._files_done += 1
            self._tell(file, size, done=size)

    def _tell(self, file: str, size: int, done: int | None = None) -> None:
        if self._listener is None:
            return
        self._told = time.monotonic()
        self._listener(
            Progress(
                file,
                self._done.get(file, 0) if done is None else done,
                size,
                self._total_done,
                self._total,
                self._files_done,
                self._files,
                self._told - self._began,
            )
        )
