# SPDX-License-Identifier: Apache-2.0
"""Fetches a range of a remote file: goes on where it breaks, and believes no answer blindly."""

from __future__ import annotations

import re
import time
from typing import Protocol

from scale_airflow.errors import RescaleError, RescaleThrottled
from scale_airflow.rescale.calls import Call, Pause
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.endpoints_files import get_file_contents
from scale_airflow.rescale.exchange import API
from scale_airflow.rescale.policy import Attempts, Failure, RequestPolicy
from scale_airflow.rescale.rates import RateBuckets
from scale_airflow.rescale.refusals import explain
from scale_airflow.rescale.transfers.connections import Broken, ByteAnswer, ByteConnection, Network
from scale_airflow.rescale.transfers.pieces import BLOCK
from scale_airflow.rescale.transfers.schedule import Schedule, Stopped

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_BUSY = (429, 503)
_SLOW = 1.0
"""Seconds after which a connection's speed is judged, the first time; then twice as many each time."""


class _Slow(Exception):  # noqa: N818
    """The connection is far slower than others."""


class Changed(Exception):  # noqa: N818 - an event for the file's job, never seen by users
    """The file on the server is not the one that the first answers were about."""


class Target(Protocol):
    """Where the bytes of a range go."""

    file_id: str
    shown: str
    size: int

    @property
    def position(self) -> int:
        """The next byte."""

    @property
    def end(self) -> int:
        """May get lower while the range is fetched."""

    @property
    def whole(self) -> bool:
        """Whether it is the whole file, which is asked for without a range."""

    def met(self, etag: str | None) -> None:
        """Take note of a strong ETag; raises :class:`Changed` if it is another than before."""

    def alone(self) -> bool:
        """Ask to be the only one who fetches, since the server gives no ranges; False: another one is."""

    def view(self, count: int) -> memoryview:
        """Return memory for the next bytes, at most ``count``."""

    def stored(self, count: int) -> None:
        """Take the bytes that are in the memory now."""


class Fetcher:
    """One worker's way to the contents of files.

    :param schedule: is told of bytes and refusals, and says when to stop.
    """

    def __init__(
        self,
        credentials: Credentials,
        policy: RequestPolicy,
        rates: RateBuckets,
        network: Network,
        schedule: Schedule,
    ) -> None:
        self._credentials, self._policy, self._rates = credentials, policy, rates
        self._schedule = schedule
        self._patience = _SLOW
        self.connection = ByteConnection(network)

    def fetch(self, target: Target) -> None:
        """Fetch a range to its end.

        :raises Changed: if the file is not what it was.
        :raises RescaleError: if Rescale refuses, or fails for longer than the policy is patient.
        :raises Stopped: if everything ends.
        """
        call = get_file_contents(target.file_id)
        attempts = self._policy.attempts(call)
        self._patience = _SLOW
        while target.position < target.end:
            before = target.position
            try:
                pause = self._attempt(call, attempts, target)
            except RescaleError as error:
                error.args = (f"{target.shown}: {error}",)
                raise
            if pause is not None:
                self._schedule.pause(pause.seconds)
            if target.position - before >= BLOCK:
                # It got on: no reason to be less patient next time.
                attempts = self._policy.attempts(call)
        self._schedule.arrived(0, requests=1)

    def _attempt(self, call: Call[bytes], attempts: Attempts, target: Target) -> Pause | None:
        before = target.position
        try:
            self._take_turn(call)
            return self._once(call, attempts, target)
        except _Slow:
            return None
        except Broken as broken:
            if self._schedule.is_stopped:
                raise Stopped from None
            if target.position - before >= BLOCK:
                return None
            return attempts.failed(broken.failure, self._credentials.shown)

    def _take_turn(self, call: Call[bytes]) -> None:
        wait = self._rates.reserve(call.scope)
        if wait > self._policy.longest_pause:
            self._rates.give_back(call.scope)
            raise RescaleThrottled(
                f"{call}: the limit of requests ({call.scope.value}) is used up for another {wait:.0f} s.",
                retry_after=wait,
            )
        if wait > 0:
            self._schedule.pause(wait)

    def _once(self, call: Call[bytes], attempts: Attempts, target: Target) -> Pause | None:
        """Send one request and read its answer as far as it goes; return how long to wait before another."""
        start, end = target.position, target.end
        headers = {} if target.whole and not start else {"Range": f"bytes={start}-{end - 1}"}
        url = f"{self._credentials.base_url}{API}{call.path}"
        answer = self.connection.get(url, {"Accept": "*/*", **headers}, self._credentials.authorization)
        try:
            if answer.status == 206 and headers:
                return self._read_part(attempts, answer, target, start, end)
            if answer.status == 200:
                return self._read_whole(attempts, answer, target, start)
            if answer.status == 416:
                raise Changed
            if 200 <= answer.status < 300:
                return attempts.misunderstood(f"status {answer.status} instead of bytes", answer.status)
            return self._refused(call, attempts, answer)
        finally:
            answer.leave()

    def _refused(self, call: Call[bytes], attempts: Attempts, answer: ByteAnswer) -> Pause | None:
        if answer.status in _BUSY:
            self._schedule.throttled()
        plain = answer.as_answer()
        secret = self._credentials.api_key.reveal()
        pause = attempts.answered(plain, explain(plain.body, server=self._credentials.shown, secret=secret))
        if pause is not None and answer.status == 429:
            self._rates.throttled(call.scope, pause.seconds)
        return pause

    def _read_part(
        self, attempts: Attempts, answer: ByteAnswer, target: Target, start: int, end: int
    ) -> Pause | None:
        told = answer.headers.get("content-range", "")
        found = _CONTENT_RANGE.fullmatch(told)
        if found is None or int(found[1]) != start or not start <= int(found[2]) < end:
            return attempts.misunderstood(
                f"asked for bytes {start}-{end - 1}, it answered Content-Range {told[:100]!r}", 206
            )
        if found[3] != "*" and int(found[3]) != target.size:
            raise Changed
        count = int(found[2]) + 1 - start
        if answer.length is not None and answer.length != count:
            return attempts.misunderstood(
                f"it announced {count} bytes by Content-Range but {answer.length} by Content-Length", 206
            )
        target.met(_strong(answer))
        self._read(answer, target, count)
        return None

    def _read_whole(self, attempts: Attempts, answer: ByteAnswer, target: Target, start: int) -> Pause | None:
        """Read an answer without ranges, skipping what is there already."""
        if answer.length is not None and answer.length != target.size:
            # Rather some proxy's page than another file.
            return attempts.misunderstood(
                f"it answered with {answer.length} bytes, but the file's metadata tell {target.size}", 200
            )
        target.met(_strong(answer))
        if not target.whole:
            if not target.alone():
                return None
            start = target.position
        self._skip(answer, start)
        self._read(answer, target, target.size - start)
        return None

    def _skip(self, answer: ByteAnswer, count: int) -> None:
        scratch = memoryview(bytearray(min(count, BLOCK)))
        while count:
            got = answer.fill(scratch[: min(count, BLOCK)])
            if not got:
                raise _cut()
            count -= got
            self._schedule.arrived(0)

    def _read(self, answer: ByteAnswer, target: Target, count: int) -> None:
        """Read ``count`` bytes, or as many as the target still wants.

        A connection that is far slower than others are is left for a new one, but not again and again.
        """
        since, read = time.monotonic(), 0
        while count and (wanted := min(count, target.end - target.position)) > 0:
            got = answer.fill(target.view(wanted))
            if not got:
                raise _cut()
            target.stored(got)
            count -= got
            self._schedule.arrived(got)
            read += got
            taken = time.monotonic() - since
            if taken >= self._patience and count:
                if self._schedule.is_slow(read / taken):
                    self._patience *= 2
                    raise _Slow
                since, read = time.monotonic(), 0


def _strong(answer: ByteAnswer) -> str | None:
    """Return the answer's ETag, None for a weak one, which says nothing about bytes."""
    etag = answer.headers.get("etag")
    return etag if etag and etag.startswith('"') else None


def _cut() -> Broken:
    return Broken(Failure.BROKEN)
