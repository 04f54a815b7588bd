# SPDX-License-Identifier: Apache-2.0
"""Sends a job's output to the API server in compressed chunks: live, bounded in memory, never twice."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scale_airflow import crash_points
from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.order import LogChunk, Stream

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
_CHUNK = 256 << 10
_WAITING = 4 << 20
_INTERVAL = 0.5
_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)

log = logging.getLogger(__name__)


@dataclass
class _Pending:
    """One stream: bytes not yet sent, and how far the sending has come."""

    limit: int
    data: bytearray = field(default_factory=bytearray)
    sequence: int = 0
    start: int = 0
    """How many bytes of the stream the chunks before ``sequence`` hold."""
    end: int | None = None
    """Where the chunk ``sequence`` ended when an earlier worker sent it; None where nobody has yet."""
    skip: int = 0
    """How many bytes to come were sent by an earlier worker."""
    seen: int = 0
    cut: bool = False

    def add(self, data: bytes) -> None:
        """Take bytes of the stream, without those sent before and those above the limit."""
        room = max(0, self.limit - self.seen)
        self.seen += len(data)
        kept = data[:room]
        if len(data) > room and not self.cut:
            self.cut = True
            kept += f"\n[scale] Output above {self.limit} bytes is not kept.\n".encode()
        skipped = min(self.skip, len(kept))
        self.skip -= skipped
        self.data += kept[skipped:]

    def take(self, *, closing: bool) -> bytes:
        """Return the bytes of the next chunk; where an earlier worker began it, exactly those of then."""
        if self.end is None:
            return bytes(self.data[:_CHUNK])
        size = self.end - self.start
        return bytes(self.data[:size]) if closing or len(self.data) >= size else b""

    def done(self, size: int) -> None:
        """Go on behind a chunk that the server has."""
        del self.data[:size]
        self.start += size
        self.sequence += 1
        self.end = None


def note_progress(notes: Path, progress: Mapping[Stream, tuple[int, int]]) -> None:
    """Write the notes of a sender of which the server has kept the next sequence numbers and the bytes.

    :raises OSError: if they can't be written.
    """
    document = {
        stream: {"sequence": sequence, "start": size, "end": None}
        for stream, (sequence, size) in progress.items()
    }
    temporary = notes.with_suffix(".new")
    temporary.write_text(json.dumps(document))
    os.replace(temporary, notes)


class ChunkSender:
    """Hands the output of one execution to ``send``, each stream in numbered chunks.

    ``write`` blocks while too much waits, so a server that is away for long slows the job down instead of
    filling the memory. ``notes`` names a file in which the progress is kept: a worker that takes over a
    running container replays its output, and what was sent before is not sent again.

    :param send: delivers one chunk; :class:`ScaleApiError` without a status, or with one of 5xx, means
        "again later", any other that the server wants no more of them.
    :param limit: bytes kept of each stream.
    """

    def __init__(self, send: Callable[[LogChunk], None], *, limit: int, notes: Path | None = None):
        self._send = send
        self._notes = notes
        self._streams = {stream: _Pending(limit) for stream in STREAMS}
        self._changed = threading.Condition()
        self._closing = False
        self._deadline = float("inf")
        self._refused: str | None = None
        self._recall()
        self._thread = threading.Thread(target=self._run, name="scale-log-sender", daemon=True)
        self._thread.start()

    def begin_anew(self) -> None:
        """Say that the job starts now: what was sent before, if anything, belongs to an earlier start."""
        with self._changed:
            for pending in self._streams.values():
                pending.sequence += pending.end is not None
                pending.start = pending.skip = 0
                pending.end = None

    def write(self, stream: Stream, data: bytes) -> None:
        """Take output; returns at once while less than a few MiB wait."""
        with self._changed:
            while self._waiting() > _WAITING and self._refused is None and not self._closing:
                self._changed.wait(1.0)
            if self._refused is None:
                self._streams[stream].add(data)
                if self._waiting() >= _CHUNK:
                    self._changed.notify_all()

    def close(self, timeout: float) -> bool:
        """Send what is left, for at most ``timeout`` seconds; tell whether everything was sent."""
        with self._changed:
            self._closing = True
            self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout + 1.0)
        with self._changed:
            return self._refused is None and self._waiting() == 0

    def _waiting(self) -> int:
        return sum(len(pending.data) for pending in self._streams.values())

    def _run(self) -> None:
        try:
            self._send_all()
        except Exception as error:
            # A writer must never wait for a thread that is gone.
            log.exception("Sending output to the API server broke off")
            self._refuse(f"Output is no longer sent: {error}")

    def _send_all(self) -> None:
        while True:
            with self._changed:
                if not self._closing and self._waiting() < _CHUNK:
                    self._changed.wait(_INTERVAL)
                closing = self._closing
            sent = [self._send_next(stream, closing) for stream in STREAMS]
            if self._refused is not None or (closing and not any(sent)):
                return

    def _send_next(self, stream: Stream, closing: bool) -> bool:
        """Send one chunk of a stream; tell whether there was one and the server has it now."""
        with self._changed:
            pending = self._streams[stream]
            data = pending.take(closing=closing)
            sequence = pending.sequence
        if not data:
            return False
        self._remember(stream, len(data))
        packed = base64.b64encode(zlib.compress(data, 6)).decode("ascii")
        if not self._deliver(LogChunk(stream, sequence, packed)):
            return False
        crash_points.reach("log.send.after")
        with self._changed:
            pending.done(len(data))
            self._changed.notify_all()
        return True

    def _deliver(self, chunk: LogChunk) -> bool:
        for attempt in range(1 << 30):
            try:
                self._send(chunk)
                return True
            except ScaleApiError as error:
                if error.status is not None and error.status < 500 and error.status != 429:
                    self._refuse(f"The API server refuses output of this execution: {error}")
                    return False
                if attempt == 0:
                    log.warning("Output can't be sent to the API server, trying on: %s", error)
            pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
            with self._changed:
                left = self._deadline - time.monotonic()
                if left <= 0:
                    self._refuse("The API server did not take the end of the output in time.")
                    return False
                self._changed.wait(min(pause, left))
        return False

    def _refuse(self, reason: str) -> None:
        log.warning("%s", reason)
        with self._changed:
            self._refused = reason
            for pending in self._streams.values():
                pending.data.clear()
            self._changed.notify_all()

    def _remember(self, stream: Stream, size: int) -> None:
        """Note which bytes the chunk holds before it goes out."""
        if self._notes is None:
            return
        with self._changed:
            pending = self._streams[stream]
            pending.end = pending.start + size
            document = {
                name: {"sequence": each.sequence, "start": each.start, "end": each.end}
                for name, each in self._streams.items()
            }
        temporary = self._notes.with_suffix(".new")
        try:
            crash_points.reach("log.note.before")
            temporary.write_text(json.dumps(document))
            os.replace(temporary, self._notes)
            crash_points.reach("log.note.after")
        except OSError as error:
            log.warning("The progress of the output can't be noted in %s: %s", self._notes, error.strerror)

    def _recall(self) -> None:
        """Go on where an earlier worker of the same execution has stopped."""
        if self._notes is None:
            return
        try:
            document: Any = json.loads(self._notes.read_text())
            for name, pending in self._streams.items():
                noted = document[name]
                pending.sequence, pending.start = int(noted["sequence"]), int(noted["start"])
                pending.end = None if noted["end"] is None else int(noted["end"])
                pending.skip = pending.start
        except (OSError, ValueError, KeyError, TypeError):
            return
