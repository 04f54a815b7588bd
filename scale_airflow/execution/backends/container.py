# SPDX-License-Identifier: Apache-2.0
"""One container of a job: its output as it comes, its end, and its removal."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from dateutil.parser import isoparse
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound

from scale_airflow import crash_points
from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.backends.base import Ending, Output
from scale_airflow.execution.log_sender import STREAMS
from scale_airflow.execution.order import Stream

_READ = 64 << 10
_LOOK = 10.0
_LOST_AFTER = 120.0
_SETTLE = 3.0
_QUIET = 10.0
_SIGNALED = (137, 143)
_AFTERMATH = 0.3
_NOT_STARTED = (126, 127)

log = logging.getLogger(__name__)


class ContainerJob:
    """A container that was created; see :class:`RunningJob`.

    Its output comes over an attached connection, from before the start, which slows the container down where
    we are slow. Where that connection breaks, or another worker made it, the engine's log is followed from
    the beginning, without what was seen before.

    :param connect: returns a new client of the engine.
    :param killed_note: a file to make before the container is killed.
    """

    def __init__(
        self, connect: Callable[[], APIClient], container_id: str, output: Output, *, killed_note: Path
    ):
        self.started_at = time.time()
        self.ended_at: float | None = None
        self.is_waiting = False
        self.facts: Mapping[str, Any] = {}
        self._connect = connect
        self._client = connect()
        self._id = container_id
        self._output = output
        self._killed_note = killed_note
        self._readers: list[threading.Thread] = []
        self._attached: Any = None
        self._seen = dict.fromkeys(STREAMS, 0)
        self._moved = time.monotonic()
        self._writing = 0
        self._next_look = time.monotonic() + _LOOK
        self._away_since: float | None = None
        self._was_away = False
        self._gap = False
        self._start_error: str | None = None

    def start(self) -> None:
        """Attach to the container, then start it.

        :raises ExecutionFailure: if the engine can't start it for another reason than its command.
        """
        try:
            self._attached = self._client.attach_socket(
                self._id, params={"stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
            )
            self._follow(self._read_attached)
            self._client.start(self._id)
        except APIError as error:
            self._detach()
            state = self._state()
            if state["ExitCode"] not in _NOT_STARTED:
                raise ExecutionFailure(f"The container can't be started: {explanation(error)}") from error
            self._start_error = explanation(error)
        except (DockerException, requests.RequestException) as error:
            raise ExecutionFailure(f"The container can't be started: {explanation(error)}") from error

    def follow_from_start(self) -> None:
        """Read the output from the engine's log, without what was seen before."""
        for stream in STREAMS:
            self._follow(self._read_log, stream)

    def note_end(self) -> None:
        """Learn when the container that is adopted has ended.

        :raises DockerException: if the engine can't say.
        """
        ended = _time(self._client.inspect_container(self._id)["State"].get("FinishedAt"))
        self.ended_at = None if ended is None else isoparse(ended).timestamp()

    def wait(self, seconds: float) -> Ending | None:
        """Wait for the container's end; see :class:`RunningJob`."""
        deadline = time.monotonic() + seconds
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        reading = any(reader.is_alive() for reader in self._readers)
        if reading and time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + _LOOK
        try:
            state = self._state(settle=not reading)
            if not state["Running"] and state["ExitCode"] in _SIGNALED and not state.get("OOMKilled"):
                # A removal by force kills first, an engine that stops does too: look whether that was it.
                time.sleep(_AFTERMATH)
                state = self._state()
        except NotFound:
            raise ExecutionFailure(
                "The container was removed from outside while the job ran.", error_name="mesos-lost"
            ) from None
        except (DockerException, requests.RequestException) as error:
            self._bear(error, seconds)
            return None
        if self._away_since is not None:
            log.info("The Docker engine is back")
        self._away_since = None
        if state["Running"] or state["Status"] in ("running", "paused", "restarting"):
            self._was_away = False  # it has outlived that, so its end will be its own
            if not reading:
                self._catch_up()
            return None
        if reading and not self._is_stuck():
            return None
        if self._was_away and not state.get("OOMKilled"):
            # An engine that stops tells its containers to, and keeps nothing of what they write meanwhile.
            raise ExecutionFailure(
                f"The container was lost: it ended (code {state['ExitCode']}) while the engine was away.",
                error_name="mesos-lost",
            )
        if self._gap and not reading:
            self._catch_up()
            return None
        return self._ending(state)

    def kill(self) -> None:
        """Kill the container; see :class:`RunningJob`."""
        with contextlib.suppress(OSError):
            self._killed_note.touch()
        crash_points.reach("docker.kill.before")
        self._order("killed", lambda client: client.kill(self._id, "SIGKILL"))
        crash_points.reach("docker.kill.after")

    def written_mib(self) -> float:
        """Return what the container has written to its own layer; see :class:`RunningJob`."""
        try:
            client = self._connect()
            try:
                found = client.containers(all=True, size=True, filters={"id": self._id})
            finally:
                client.close()
        except (DockerException, requests.RequestException) as error:
            log.debug("The container's size can't be had: %s", explanation(error))
            return 0.0
        return sum(int(each.get("SizeRw") or 0) for each in found) / (1 << 20)

    def close(self) -> None:
        """Remove the container; see :class:`RunningJob`."""
        crash_points.reach("docker.remove.before")
        self._order("removed", lambda client: client.remove_container(self._id, force=True, v=True))
        crash_points.reach("docker.remove.after")
        self.leave()

    def leave(self) -> None:
        """Let the container run, or lie, for whom it belongs to now; see :class:`RunningJob`."""
        self._detach()
        for reader in self._readers:
            reader.join(1.0)
        self._client.close()

    def _order(self, what: str, action: Callable[[APIClient], object]) -> None:
        """Do something to the container; that it is gone or no longer runs is what was wanted."""
        try:
            # A client of its own: this may run in a signal's handler, in the middle of the other's request.
            client = self._connect()
            try:
                action(client)
            finally:
                client.close()
        except (DockerException, requests.RequestException) as error:
            if not isinstance(error, APIError) or error.status_code not in (404, 409):
                log.warning("Container %s could not be %s: %s", self._id[:12], what, explanation(error))

    def _state(self, *, settle: bool = False) -> dict[str, Any]:
        """Return the container's state; the engine notes an end a little after the streams have ended."""
        give_up = time.monotonic() + (_SETTLE if settle else 0.0)
        while True:
            state: dict[str, Any] = self._client.inspect_container(self._id)["State"]
            if not state["Running"] or time.monotonic() >= give_up:
                return state
            time.sleep(0.005)

    def _ending(self, state: dict[str, Any]) -> Ending:
        return Ending(
            exit_code=int(state["ExitCode"]),
            out_of_memory=bool(state.get("OOMKilled")),
            started=_time(state.get("StartedAt")),
            finished=_time(state.get("FinishedAt")),
            message=self._start_error or state.get("Error") or None,
        )

    def _bear(self, error: Exception, seconds: float) -> None:
        """Wait on while the engine is away, but not for ever."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            self._gap = True
            log.warning("The Docker engine can't be reached, waiting for it: %s", explanation(error))
        self._was_away |= not isinstance(error, requests.ReadTimeout)  # else it is there, but slow
        if now - self._away_since > _LOST_AFTER:
            raise ExecutionFailure(
                f"The container was lost: the Docker engine is away: {explanation(error)}",
                error_name="mesos-lost",
            ) from error
        time.sleep(min(seconds, 0.5))
        with contextlib.suppress(DockerException, requests.RequestException):
            self._client = self._connect()

    def _catch_up(self) -> None:
        """Read what was written while nobody listened."""
        log.info("The connection to the container's output broke; following the engine's log")
        self._gap = False
        self._readers.clear()
        self.follow_from_start()

    def _is_stuck(self) -> bool:
        """Tell whether a connection that should have ended with the container brings nothing any more."""
        return not self._writing and time.monotonic() - self._moved > _QUIET

    def _follow(self, read: Callable[..., None], *arguments: object) -> None:
        reader = threading.Thread(target=read, args=arguments, name="scale-container-output", daemon=True)
        self._readers.append(reader)
        reader.start()

    def _read_attached(self) -> None:
        connection = self._attached
        connection = connection if hasattr(connection, "recv") else connection._sock
        try:
            connection.settimeout(None)
            for stream, data in _frames(connection):
                self._take(stream, data)
        except OSError as error:
            log.debug("The attached connection ended: %s", error)

    def _read_log(self, stream: Stream) -> None:
        skip = self._seen[stream]
        try:
            client = self._connect()
            try:
                follow = client.logs(
                    self._id, stdout=stream == "stdout", stderr=stream == "stderr", stream=True, follow=True
                )
                for data in follow:
                    if skip >= len(data):
                        skip -= len(data)
                        continue
                    self._take(stream, data[skip:])
                    skip = 0
            finally:
                client.close()
        except (DockerException, requests.RequestException, OSError) as error:
            log.warning("The container's %s can't be read: %s", stream, explanation(error))

    def _take(self, stream: Stream, data: bytes) -> None:
        self._writing += 1
        try:
            self._output.write(stream, data)
        finally:
            self._writing -= 1
            self._seen[stream] += len(data)
            self._moved = time.monotonic()

    def _detach(self) -> None:
        connection, self._attached = self._attached, None
        if connection is not None:
            plain = connection if hasattr(connection, "recv") else connection._sock
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)
            for each in (getattr(connection, "_response", plain), connection, plain):
                with contextlib.suppress(OSError, ValueError):  # one may have closed the other
                    each.close()


def _frames(connection: Any) -> Iterator[tuple[Stream, bytes]]:
    """Give the pieces of both streams: each has a header of 8 bytes with the stream and the length."""
    buffer = bytearray()
    stream: Stream = "stdout"
    left = 0
    while block := connection.recv(_READ):
        buffer += block
        runs: list[tuple[Stream, bytearray]] = []
        at = 0
        while at < len(buffer):
            if not left:
                if len(buffer) - at < 8:
                    break
                kind, left = struct.unpack_from(">BxxxL", buffer, at)
                stream = "stderr" if kind == 2 else "stdout"
                at += 8
                continue
            piece = buffer[at : at + left]
            at += len(piece)
            left -= len(piece)
            if runs and runs[-1][0] == stream:
                runs[-1][1].extend(piece)
            else:
                runs.append((stream, piece))
        del buffer[:at]
        for name, data in runs:
            yield name, bytes(data)


def explanation(error: Exception) -> str:
    """Return what the engine says about an error, in one line."""
    if isinstance(error, APIError) and error.explanation:
        return str(error.explanation)
    return f"{type(error).__name__}: {error}" if not isinstance(error, DockerException) else str(error)


def _time(text: str | None) -> str | None:
    """Return the engine's time as we write times (it counts nanoseconds), None for "never"."""
    if not text or text.startswith("0001-"):
        return None
    return isoparse(re.sub(r"(\.\d{6})\d+", r"\1", text)).isoformat(timespec="microseconds")
