# SPDX-License-Identifier: Apache-2.0
"""How a call is carried out, step by step, without doing any of the steps: both clients drive this."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin

from scale_airflow.errors import (
    InvalidRequest,
    RescaleBadAnswer,
    RescaleError,
    RescaleThrottled,
    RescaleUncertain,
)
from scale_airflow.rescale.calls import Call, Pause, Repeat
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.documents import parse_json
from scale_airflow.rescale.origins import Address, address_of
from scale_airflow.rescale.policy import Answer, Attempts, Failed, RequestPolicy, retry_after
from scale_airflow.rescale.rates import RateBuckets
from scale_airflow.rescale.refusals import explain

T = TypeVar("T")

API = "/api/v2/"
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_WORTH_A_LINE = 5.0

log = logging.getLogger("scale_airflow.rescale")


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    :param authorized: send the key with it.
    :param fresh: over a connection of its own. A server may be closing an idle one at this moment, and what
        must not be repeated would be lost in it, or not: nobody could tell.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = field(default=None, repr=False)
    authorized: bool = True
    fresh: bool = False


# Yields what is to be done; is sent an Answer or a Failed for a Request, anything for a Pause.
Steps = Generator[Request | Pause, Any, T]


def exchange(
    call: Call[T], credentials: Credentials, policy: RequestPolicy, buckets: RateBuckets
) -> Steps[T]:
    """Carry out a call: yields requests and pauses, and returns the result.

    :raises RescaleError: as the policy decides.
    """
    attempts = policy.attempts(call)
    first = request_of(call, credentials.base_url)
    while True:
        yield from _take_turn(call, policy, buckets)
        answer = yield from _follow(call, first, credentials)
        if isinstance(answer, Failed):
            pause = attempts.failed(answer.failure, credentials.shown, answer.why)
            yield _noted(call, str(answer), pause)
            continue
        if 200 <= answer.status < 300:
            read = _read(call, answer)
            if not isinstance(read, _Garbage):
                return _parsed(call, read, answer)
            yield _noted(call, read.problem, attempts.misunderstood(read.problem, answer.status))
            continue
        if answer.status == 429:
            # Everybody of this scope waits, not only this call; also if this call does not.
            buckets.throttled(call.scope, retry_after(answer.headers) or 0.0)
        refused = _refused(attempts, answer, credentials)
        if refused is None:
            return call.parse(None)
        yield _noted(call, f"Rescale answered {answer.status}", refused)


def _noted(call: Call[Any], problem: str, pause: Pause) -> Pause:
    level = logging.INFO if pause.seconds >= _WORTH_A_LINE else logging.DEBUG
    log.log(level, "%s: %s; again in %.1f s", call, problem, pause.seconds)
    return pause


def request_of(call: Call[Any], base_url: str) -> Request:
    """Return the first request of a call.

    :raises InvalidRequest: if its body is not JSON.
    """
    query = urlencode([(name, value) for name, value in call.query.items() if value is not None], doseq=True)
    headers = {"Accept": "*/*" if call.reads == "bytes" else "application/json", **call.headers}
    if call.reads == "bytes":
        headers["Accept-Encoding"] = "identity"
    body = None
    if call.body is not None:
        headers["Content-Type"] = "application/json"
        body = _json(call)
    url = f"{base_url}{API}{call.path}{'?' if query else ''}{query}"
    return Request(call.method, url, headers, body, fresh=call.repeat is Repeat.NEVER)


def _json(call: Call[Any]) -> bytes:
    try:
        return json.dumps(call.body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise InvalidRequest(f"{call}: the body can't be written as JSON: {problem}.")


def _take_turn(call: Call[Any], policy: RequestPolicy, buckets: RateBuckets) -> Generator[Pause, Any, None]:
    wait = buckets.reserve(call.scope)
    if wait > policy.longest_pause:
        buckets.give_back(call.scope)
        raise RescaleThrottled(
            f"{call}: Rescale's limit of requests ({call.scope.value}) is used up for another {wait:.0f} s.",
            job_id=call.job_id,
            retry_after=wait,
        )
    if wait > 0:
        # Those who wait for the same moment don't all begin at it.
        yield _noted(call, f"limit of requests ({call.scope.value})", Pause(wait * (1 + 0.1 * policy.draw())))


def _follow(
    call: Call[Any], request: Request, credentials: Credentials
) -> Generator[Request, Any, Answer | Failed]:
    """Send a request, and follow redirects of GET: on the same server, or without the key."""
    own = address_of(credentials.base_url)

    def ours(address: Address) -> bool:
        return own is not None and address.origin == own.origin

    for _ in range(_MAX_REDIRECTS):
        answer: Answer | Failed = yield request
        if isinstance(answer, Failed) or answer.status not in _REDIRECTS or call.method != "GET":
            return answer
        location = answer.headers.get("location", "")
        target = address_of(location, request.url) if location else None
        if target is None or not (ours(target) or (call.leaves_origin and target.scheme == "https")):
            return answer
        request = Request("GET", urljoin(request.url, location), request.headers, authorized=ours(target))
    raise RescaleBadAnswer(f"{call}: redirects without end.", job_id=call.job_id)


@dataclass(frozen=True)
class _Garbage:
    problem: str


def _read(call: Call[Any], answer: Answer) -> Any:
    if call.reads == "nothing":
        return None
    if call.reads == "bytes":
        return answer.body
    if not answer.body.strip():
        # 204, or the empty answer of an endpoint that has nothing to say.
        return None if call.method != "GET" else _Garbage("the answer is empty")
    try:
        return parse_json(answer.body)
    except ValueError:
        return _Garbage("the answer is not JSON")


def _parsed(call: Call[T], value: Any, answer: Answer) -> T:
    try:
        return call.parse(value)
    except RescaleBadAnswer as error:
        problem = str(error)
    raise _uncertain_or_bad(call, problem, answer.status)


def _uncertain_or_bad(call: Call[Any], problem: str, status: int) -> RescaleError:
    # What must not be repeated has had its effect, but which (the id of a new job) is lost.
    kind = RescaleUncertain if call.repeat is Repeat.NEVER else RescaleBadAnswer
    return kind(f"{call}: {problem}", status=status, job_id=call.job_id)


def _refused(attempts: Attempts, answer: Answer, credentials: Credentials) -> Pause | None:
    explanation = explain(answer.body, server=credentials.shown, secret=credentials.api_key.reveal())
    return attempts.answered(answer, explanation)
