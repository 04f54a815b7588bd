# SPDX-License-Identifier: Apache-2.0
"""How far transfers are, told to whoever asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

INTERVAL = 0.1
"""Seconds between two reports, except for the first and those of files that are whole."""
IDLE = 1.0
"""Seconds after which the last report comes again when nothing moves: a listener may want to end it all."""


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
"""Called from threads of the transfer, never by two at once; what it raises ends the transfer.

It is called now and then also while nothing moves.
"""


class Meter:
    """Adds up what all threads of a transfer have done.

    :param files: how many there are.
    :param total: bytes of all of them together.
    """

    def __init__(self, listener: Listener | None, files: int, total: int) -> None:
        self._listener = listener
        self._files, self._total = files, total
        self._lock = threading.Lock()
        self._total_done = 0
        self._files_done = 0
        self._began = time.monotonic()
        self._told = float("-inf")
        self._latest: FileMeter | None = None

    def file(self, name: str, size: int) -> FileMeter:
        """Return the meter of one of the files."""
        made = FileMeter(self, name, size)
        self._latest = self._latest or made
        return made

    def count(self, file: FileMeter, count: int, *, whole: bool = False) -> None:
        """Count bytes of a file, and whether it is whole with them."""
        with self._lock:
            file.done += count
            self._total_done += count
            self._files_done += whole
            now = time.monotonic()
            if self._listener is None or (now - self._told < INTERVAL and not whole):
                return
            self._tell(file, now)

    def tick(self) -> None:
        """Say again how far it is, if that was long ago."""
        with self._lock:
            now = time.monotonic()
            if self._latest is not None and now - self._told >= IDLE:
                self._tell(self._latest, now)

    def _tell(self, file: FileMeter, now: float) -> None:
        if self._listener is None:
            return
        self._told, self._latest = now, file
        self._listener(
            Progress(
                file.name,
                file.done,
                file.size,
                self._total_done,
                self._total,
                self._files_done,
                self._files,
                now - self._began,
            )
        )


class FileMeter:
    """Counts what is done of one file; every method may be called from any thread."""

    def __init__(self, meter: Meter, name: str, size: int) -> None:
        self._meter = meter
        self.name, self.size = name, size
        self.done = 0

    def add(self, count: int) -> None:
        """Count bytes."""
        self._meter.count(self, count)

    def restart(self) -> None:
        """Take back all bytes."""
        self._meter.count(self, -self.done)

    def whole(self) -> None:
        """Count what is missing, and the file."""
        self._meter.count(self, self.size - self.done, whole=True)


class Share:
    """A part of a file that travels in another size: counts as what it stands for.

    :param stands_for: bytes of the file.
    :param size: bytes that travel.
    """

    def __init__(self, file: FileMeter, stands_for: int, size: int) -> None:
        self._file, self._stands_for, self._size = file, stands_for, max(size, 1)
        self._travelled = self._counted = 0

    def add(self, count: int) -> None:
        """Count bytes that have travelled."""
        self._travelled += count
        worth = self._stands_for * self._travelled // self._size
        self._file.add(worth - self._counted)
        self._counted = worth

    def restart(self) -> None:
        """Take back all."""
        self.add(-self._travelled)
