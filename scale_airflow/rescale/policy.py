# SPDX-License-Identifier: Apache-2.0
"""The one request policy: what is tried again, when, and what an error says. It talks to no network."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from scale_airflow.errors import (
    RescaleBadAnswer,
    RescaleError,
    RescaleServerError,
    RescaleThrottled,
    RescaleUncertain,
    RescaleUnreachable,
)
from scale_airflow.rescale.calls import Call, Pause, Repeat
from scale_airflow.rescale.refusals import Explanation, refusal


class Failure(enum.Enum):
    """What kept a request from being answered."""

    NOT_CONNECTED = "no connection could be made"
    UNTRUSTED = "its certificate is not trusted"
    TIMED_OUT = "it did not answer in time"
    BROKEN = "the connection broke before the answer was whole"
    ENDLESS = "its answer is too long"


@dataclass(frozen=True)
class Failed:
    """What came back in place of an answer.

    :param why: in the words of the network, as far as they say more.
    """

    failure: Failure
    why: str = ""

    def __str__(self) -> str:
        return f"{self.failure.value}{f' ({self.why})' if self.why else ''}"


@dataclass(frozen=True)
class Answer:
    """What came back: a status, headers (names in lower case), and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class RequestPolicy:
    """How long to wait and how often to try.

    :param connect_timeout: seconds for a connection.
    :param read_timeout: seconds without a byte of the answer.
    :param answer_timeout: seconds for the whole of an answer (not of a file's contents).
    :param tries: how often a request is sent at most, if it may be repeated.
    :param throttled_tries: how often a request is sent at most that Rescale refuses for being one too many.
    :param first_pause: the longest first pause, in seconds; each further one may be twice as long.
    :param pause_cap: the longest of these pauses.
    :param longest_pause: the longest pause that ``Retry-After`` or our own rate bucket may impose; what takes
        longer raises :class:`RescaleThrottled`.
    :param max_answer: bytes of an answer at most (not of a file's contents).
    """

    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    answer_timeout: float = 300.0
    tries: int = 6
    throttled_tries: int = 12
    first_pause: float = 1.0
    pause_cap: float = 30.0
    longest_pause: float = 600.0
    max_answer: int = 64 * 1024 * 1024
    draw: Callable[[], float] = field(default=random.random, repr=False, compare=False)

    def attempts(self, call: Call[Any]) -> Attempts:
        """Return the account of a call's attempts."""
        return Attempts(self, call)

    def backoff(self, attempt: int) -> float:
        """Return a pause after the n-th attempt (from 1): full jitter, lest clients march in step."""
        return self.draw() * min(self.pause_cap, self.first_pause * 2.0 ** min(attempt - 1, 30))


class Attempts:
    """The attempts at one call: told what became of each, it says how to go on.

    A call that must not be repeated is sent again only where it is certain that it had no effect: no
    connection was made, or Rescale has refused it unread (429).
    """

    def __init__(self, policy: RequestPolicy, call: Call[Any]):
        self._policy = policy
        self._call = call
        self._made = 0
        self._spared = 0
        self._throttled = 0
        # An attempt may have had its effect although its answer is not known.
        self.may_have_acted = False

    def failed(self, failure: Failure, server: str, why: str = "") -> Pause:
        """Return how long to wait after an attempt without an answer.

        :param server: its address, for the text.
        :param why: the same for what the network said.
        :raises RescaleUncertain: if the request may have had an effect and must not be repeated.
        :raises RescaleUnreachable: if there were enough attempts.
        """
        said = str(Failed(failure, why))
        text = f"{self._call}: Rescale at {server} can't be reached: {said}"
        if failure is Failure.UNTRUSTED:
            raise RescaleUnreachable(
                f"{text}. If it stands behind a proxy of your own, name the proxy's certificates (verify).",
                job_id=self._call.job_id,
            )
        if failure is not Failure.NOT_CONNECTED:
            self.may_have_acted = True
            self._refuse_repeat(said, None, "")
        if failure is Failure.ENDLESS:
            raise RescaleUnreachable(f"{text}.", job_id=self._call.job_id)
        return self._again(RescaleUnreachable(f"{text}{self._tries()}.", job_id=self._call.job_id))

    def answered(self, answer: Answer, explanation: Explanation) -> Pause | None:
        """Return how long to wait after an answer that is no success, None if it counts as one all the same.

        :param explanation: what the answer's body says, fit for users.
        :raises RescaleError: the kind that fits, where there is nothing to try again.
        """
        status, job_id = answer.status, self._call.job_id
        if status in self._call.tolerate or (
            # What an earlier attempt has deleted is not there any more.
            status == 404 and self._call.method == "DELETE" and self.may_have_acted
        ):
            return None
        told = retry_after(answer.headers)
        if status == 429:
            return self._one_too_many(told, explanation)
        # 408: the server did not wait for the whole request, or says so.
        if status >= 500 or status == 408:
            self.may_have_acted = True
            self._refuse_repeat(f"it answered {status}", status, explanation.text)
            error: RescaleError = RescaleServerError(
                f"{self._call}: Rescale failed with status {status}{explanation.after_colon}{self._tries()}.",
                status=status,
                job_id=job_id,
                detail=explanation.text,
            )
            if status in self._call.flaky and self._spared < 2 * self._policy.tries:
                self._spared += 1
                return Pause(self._policy.backoff(self._spared))
            return self._again(error, told if status == 503 else None)
        raise refusal(self._call, status, explanation)

    def _one_too_many(self, told: float | None, explanation: Explanation) -> Pause:
        self._throttled += 1
        wait = self._policy.backoff(self._throttled) if told is None else told
        if wait > self._policy.longest_pause or self._throttled >= self._policy.throttled_tries:
            raise RescaleThrottled(
                f"{self._call}: too many requests for Rescale{explanation.after_colon}. Try in {wait:.0f} s. "
                "If several processes share the key, give each of them a part (rates).",
                status=429,
                job_id=self._call.job_id,
                detail=explanation.text,
                retry_after=wait,
            )
        return self._later(wait)

    def misunderstood(self, problem: str, status: int) -> Pause:
        """Return how long to wait after a success whose body is garbage.

        :raises RescaleUncertain: if the request must not be repeated: it had its effect, but which?
        :raises RescaleBadAnswer: if it was garbage again.
        """
        self.may_have_acted = True
        self._refuse_repeat(problem, status, "")
        # Garbage out of a broken server passes; the login page of some other server doesn't.
        self._made = max(self._made, self._policy.tries - 2)
        return self._again(
            RescaleBadAnswer(
                f"{self._call}: {problem}. Is this the address of Rescale?",
                status=status,
                job_id=self._call.job_id,
            )
        )

    def _again(self, error: RescaleError, wait: float | None = None) -> Pause:
        self._made += 1
        if self._made >= self._policy.tries:
            raise error
        if wait is None:
            return Pause(self._policy.backoff(self._made))
        if wait > self._policy.longest_pause:
            raise error
        return self._later(wait)

    def _later(self, wait: float) -> Pause:
        # A little later than told, and not all at the same moment.
        return Pause(wait + self._policy.draw() * min(1.0, self._policy.first_pause))

    def _tries(self) -> str:
        return f" ({self._made + 1} attempts)" if self._made else ""

    def _refuse_repeat(self, problem: str, status: int | None, detail: str) -> None:
        if self._call.repeat is not Repeat.NEVER:
            return
        job_id = self._call.job_id
        look = f"the statuses of job {job_id}" if job_id else "what is there"
        raise RescaleUncertain(
            f"{self._call}: it is not known whether Rescale has carried this out: {problem}"
            f"{f' ({detail})' if detail else ''}. It was not repeated, since it could take effect twice; "
            f"look at {look} before another try.",
            status=status,
            job_id=job_id,
            detail=detail,
        )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``, which is a number or a date; None if there is none.

    A date counts from the answer's own ``Date``, so that a wrong clock of ours does no harm.
    """
    told = headers.get("retry-after", "").strip()
    if not told:
        return None
    if told.isascii() and told.replace(".", "", 1).isdigit():
        return float(told)
    until, now = _moment(told), _moment(headers.get("date", ""))
    if until is None:
        return None
    return max(0.0, (until - (now or datetime.now(timezone.utc))).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
