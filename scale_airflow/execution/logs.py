# SPDX-License-Identifier: Apache-2.0
"""Where a job's stdout and stderr go as they come: task log, API server, and the search for artifacts."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import Protocol

from scale_airflow.execution.log_sender import STREAMS, ChunkSender
from scale_airflow.execution.order import Stream

_LINE = 64 << 10
_ARTIFACT = b"ARTIFACT:"
_ARTIFACT_LINE = 8 << 10
_ARTIFACT_BYTES = 16 << 20


class TaskLog(Protocol):
    """What is needed of a logger."""

    def info(self, message: str, /, *arguments: object) -> None:
        """Log one line."""


@dataclass
class _Lines:
    """Splits one stream into lines of bounded length."""

    rest: bytearray = field(default_factory=bytearray)
    continued: bool = False
    """Whether the line in ``rest`` is the rest of one that was too long."""

    def split(self, data: bytes) -> list[tuple[bytes, bool]]:
        """Return the lines that are complete, each with whether it is a whole line."""
        self.rest += data
        *complete, rest = self.rest.split(b"\n")
        self.rest = bytearray(rest)
        lines: list[tuple[bytes, bool]] = []
        for line in complete:
            lines.extend(self._pieces(line))
            self.continued = False
        while len(self.rest) > _LINE:
            lines.append((bytes(self.rest[:_LINE]), False))
            del self.rest[:_LINE]
            self.continued = True
        return lines

    def last(self) -> list[tuple[bytes, bool]]:
        """Return what is left when the stream has ended."""
        lines = self._pieces(self.rest) if self.rest else []
        self.rest = bytearray()
        return lines

    def _pieces(self, line: bytearray) -> list[tuple[bytes, bool]]:
        pieces = [bytes(line[at : at + _LINE]) for at in range(0, max(1, len(line)), _LINE)]
        whole = len(pieces) == 1 and not self.continued
        return [(piece, whole) for piece in pieces]


class OutputSink:
    """Takes the two streams of a job as they come; safe for one writer a stream.

    :param sender: sends the bytes to the API server; None sends nothing.
    :param limit: bytes of each stream that go to the task log.
    """

    def __init__(
        self, sender: ChunkSender | None, *, limit: int, loggers: dict[Stream, TaskLog] | None = None
    ):
        self._sender = sender
        self._limit = limit
        self._loggers = loggers or {stream: logging.getLogger(f"scale.job.{stream}") for stream in STREAMS}
        self._lines = {stream: _Lines() for stream in STREAMS}
        self._logged = dict.fromkeys(STREAMS, 0)
        self._artifacts: dict[Stream, list[bytes]] = {stream: [] for stream in STREAMS}
        self._artifact_bytes = 0
        self._too_many = False
        self._lock = threading.Lock()

    def write(self, stream: Stream, data: bytes) -> None:
        """Take bytes of a stream; blocks while the API server is too far behind."""
        for line, whole in self._lines[stream].split(data):
            self._take(stream, line, whole)
        if self._sender is not None:
            self._sender.write(stream, data)

    def close(self, timeout: float) -> bool:
        """Take the last lines and send what is left; tell whether everything was sent."""
        for stream in STREAMS:
            for line, whole in self._lines[stream].last():
                self._take(stream, line, whole)
        return self._sender is None or self._sender.close(timeout)

    @property
    def artifact_text(self) -> str:
        """The ``ARTIFACT:`` lines that passed, those of stdout first; bytes that are no UTF-8 are escaped."""
        lines = [line for stream in STREAMS for line in self._artifacts[stream]]
        return "\n".join(line.decode("utf-8", errors="surrogateescape") for line in lines)

    @property
    def too_many_artifacts(self) -> bool:
        """Whether there were more of them than are kept."""
        return self._too_many

    def _take(self, stream: Stream, line: bytes, whole: bool) -> None:
        if line.startswith(_ARTIFACT) and whole:
            self._keep_artifact(stream, line)
        logged = self._logged[stream]
        if logged > self._limit:
            return
        self._logged[stream] = logged + len(line) + 1
        if self._logged[stream] > self._limit:
            text = f"[scale] Output above {self._limit} bytes is not logged."
        else:
            text = line.decode("utf-8", errors="backslashreplace").rstrip("\r")
        self._loggers[stream].info("[%s] %s", stream, text)

    def _keep_artifact(self, stream: Stream, line: bytes) -> None:
        with self._lock:
            if len(line) > _ARTIFACT_LINE or self._artifact_bytes + len(line) > _ARTIFACT_BYTES:
                self._too_many = True
                return
            self._artifact_bytes += len(line)
            self._artifacts[stream].append(line)
