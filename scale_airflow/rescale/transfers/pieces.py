# SPDX-License-Identifier: Apache-2.0
"""Which bytes of a file are there, on their way, or still to be asked for.

Pieces get smaller towards the end of a file, and who has nothing left to ask for takes over the second half
of the piece that has most ahead of it. So a slow connection keeps nobody waiting, and a fast one asks seldom.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

MIB = 1 << 20
BLOCK = 256 * 1024
"""Bytes that are read from a connection at a time: nobody takes over what may be in such a block."""

Range = tuple[int, int]
"""Offsets in a file: from the first, up to and without the second."""


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges in order, those that touch or overlap as one; empty ones left out."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def gaps(size: int, ranges: Iterable[Range]) -> list[Range]:
    """Return what the ranges leave open of a file of ``size`` bytes, in order."""
    found, position = [], 0
    for start, end in merged(ranges):
        if start > position:
            found.append((position, min(start, size)))
        position = max(position, end)
    if position < size:
        found.append((position, size))
    return [gap for gap in found if gap[0] < gap[1]]


@dataclass(eq=False)
class Piece:
    """A range that one connection fetches: ``position`` is its next byte; others may lower ``end``."""

    start: int
    position: int
    end: int

    @property
    def ahead(self) -> int:
        """Bytes that have not come yet."""
        return self.end - self.position


class Pieces:
    """The pieces of one file; every method may be called from any thread.

    :param size: bytes of the file.
    :param done: what an earlier attempt has left.
    :param smallest: bytes below which no piece is cut.
    :param largest: bytes above which no piece is asked for at once.
    """

    def __init__(
        self, size: int, done: Iterable[Range] = (), *, smallest: int = MIB // 2, largest: int = 64 * MIB
    ) -> None:
        self.size = size
        self._smallest, self._largest = smallest, largest
        self._open = gaps(size, done)
        self._active: list[Piece] = []
        self._alone = False
        self._moved = threading.Condition()
        self._given_up = False

    def take(self, connections: int) -> Piece | None:
        """Return the next piece that nobody fetches yet, None if there is none at the moment.

        :param connections: how many fetch at the same time: each gets half of its fair part of the rest.
        """
        with self._moved:
            if not self._open or self._given_up or (self._alone and self._active):
                return None
            start, end = self._open.pop(0)
            if not self._alone:
                rest = end - start + sum(last - first for first, last in self._open)
                share = max(connections, 1)
                # No more than a quarter of all at a time: bytes are hashed in order, while they arrive.
                wanted = min(rest // (2 * share), self.size // (4 * share), self._largest)
                wanted = max(wanted, self._smallest)
                if end - start - wanted >= self._smallest:
                    self._open.insert(0, (start + wanted, end))
                    end = start + wanted
            piece = Piece(start, start, end)
            self._active.append(piece)
            return piece

    def take_over(self) -> Piece | None:
        """Return the second half of the piece with most ahead of it, None if that is not worth a request."""
        with self._moved:
            if self._alone or self._given_up or not self._active:
                return None
            slow = max(self._active, key=lambda piece: piece.ahead)
            if slow.ahead < 2 * BLOCK:
                return None
            middle = slow.position + max(slow.ahead // 2, BLOCK)
            piece = Piece(middle, middle, slow.end)
            slow.end = middle
            self._active.append(piece)
            return piece

    def arrived(self, piece: Piece, count: int) -> None:
        """Note that the next ``count`` bytes of a piece are in the file."""
        with self._moved:
            piece.position = min(piece.position + count, piece.end)
            self._moved.notify_all()

    def leave(self, piece: Piece) -> None:
        """Give a piece back: whole, or with a rest that somebody else will fetch."""
        with self._moved:
            self._active.remove(piece)
            if piece.ahead:
                self._open = merged([(piece.position, piece.end), *self._open])
            self._moved.notify_all()

    def only_one(self, piece: Piece) -> bool:
        """Let one connection fetch all that is missing, since the server answers no ranges.

        :returns: whether ``piece`` is now that connection's; all others have to leave theirs.
        """
        with self._moved:
            if self._alone:
                return self._active[:1] == [piece]
            self._alone = True
            for other in self._active:
                if other is not piece:
                    self._open.append((other.position, other.end))
                    other.end = other.position
            self._open = merged([(piece.position, piece.end), *self._open])
            piece.start = piece.position = self._open[0][0]
            piece.end = self._open[-1][1]
            self._open = []
            self._active.remove(piece)
            self._active.insert(0, piece)
            self._moved.notify_all()
            return True

    def give_up(self) -> None:
        """Wake whoever waits for bytes: no more will come."""
        with self._moved:
            self._given_up = True
            self._moved.notify_all()

    @property
    def has_open(self) -> bool:
        """Whether there are bytes that nobody fetches yet."""
        with self._moved:
            return bool(self._open) and not (self._alone and self._active)

    @property
    def is_given_up(self) -> bool:
        """Whether no more bytes are wanted."""
        return self._given_up

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there."""
        with self._moved:
            return not self._open and not any(piece.ahead for piece in self._active)

    @property
    def prefix(self) -> int:
        """How many bytes from the first on are there without a gap."""
        with self._moved:
            return self._prefix()

    def wait_for_prefix(self, beyond: int) -> int | None:
        """Wait until more bytes than ``beyond`` are there from the first on; return how many.

        :returns: None if all was given up.
        """
        with self._moved:
            self._moved.wait_for(lambda: self._given_up or self._prefix() > beyond or beyond >= self.size)
            return None if self._given_up else self._prefix()

    def _prefix(self) -> int:
        missing = [piece.position for piece in self._active if piece.ahead]
        missing += [start for start, _ in self._open[:1]]
        return min(missing, default=self.size)
