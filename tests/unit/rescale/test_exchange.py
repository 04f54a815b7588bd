# SPDX-License-Identifier: Apache-2.0
"""A call against a model of a server that does anything: what had an effect, and what we say of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_airflow.errors import (
    RescaleBadAnswer,
    RescaleError,
    RescaleNotFound,
    RescaleRefused,
    RescaleServerError,
    RescaleThrottled,
    RescaleUnauthorized,
    RescaleUncertain,
    RescaleUnreachable,
)
from scale_airflow.rescale import Call, Credentials, Pause, RateBuckets, RequestPolicy, endpoints
from scale_airflow.rescale.exchange import Request, exchange
from scale_airflow.rescale.policy import Answer, Failed, Failure

CREDENTIALS = Credentials.of("https://eu.rescale.com", "key")
POLICY = replace(RequestPolicy(), tries=3, throttled_tries=4, draw=lambda: 0.5)
OK = Answer(200, {}, b'{"id": "J"}')
# What comes back, and whether the request has had its effect by then.
EVENTS: list[tuple[Answer | Failed, bool]] = [
    (OK, True),
    (Answer(201, {}, b'{"id": '), True),
    (Answer(200, {}, b""), True),
    (Answer(200, {}, b"[]"), True),
    (Failed(Failure.NOT_CONNECTED), False),
    (Failed(Failure.UNTRUSTED), False),
    *((Failed(failure), acted) for failure in (Failure.TIMED_OUT, Failure.BROKEN) for acted in (True, False)),
    (Failed(Failure.ENDLESS), True),
    *((Answer(status, {}), acted) for status in (408, 500, 502, 503, 504) for acted in (True, False)),
    (Answer(503, {"retry-after": "3"}), False),
    (Answer(429, {"retry-after": "2"}), False),
    (Answer(429, {}), False),
    (Answer(302, {"location": "https://elsewhere.example.org/"}), False),
    *((Answer(status, {}, b'{"detail": "No."}'), False) for status in (400, 401, 403, 404, 409)),
]
CERTAIN = (RescaleUnauthorized, RescaleRefused, RescaleNotFound, RescaleThrottled, RescaleUnreachable)


def carry_out(call: Call[Any], events: list[tuple[Answer | Failed, bool]]) -> tuple[Any, int, int, float]:
    """Return the result or error, how many requests were sent and had an effect, and the pauses' sum."""
    steps = exchange(call, CREDENTIALS, POLICY, RateBuckets({}))
    sent = effects = 0
    waited = 0.0
    given: Any = None
    coming = iter([*events, *([(OK, True)] * 100)])
    while True:
        try:
            step = steps.send(given)
        except StopIteration as end:
            return end.value, sent, effects, waited
        except RescaleError as error:
            return error, sent, effects, waited
        if isinstance(step, Pause):
            assert 0 <= step.seconds < 10_000
            waited += step.seconds
            given = None
            continue
        assert isinstance(step, Request)
        assert step.url.startswith("https://eu.rescale.com/api/v2/")
        given, acted = next(coming)
        sent += 1
        effects += acted


@settings(max_examples=300)
@given(st.lists(st.sampled_from(EVENTS), max_size=12))
def test_what_must_not_be_repeated_acts_once_at_most_and_we_know_when_it_did(
    events: list[tuple[Answer | Failed, bool]],
) -> None:
    outcome, _, effects, _ = carry_out(endpoints.create_job({"name": "x"}), events)
    assert effects <= 1
    if not isinstance(outcome, RescaleError):
        assert effects == 1
        assert outcome.id == "J"
    elif not isinstance(outcome, RescaleUncertain):
        # Every other error means that nothing has happened.
        assert effects == 0
        assert isinstance(outcome, (*CERTAIN, RescaleBadAnswer))


@settings(max_examples=300)
@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_what_may_be_repeated_ends_and_is_never_uncertain(
    events: list[tuple[Answer | Failed, bool]],
) -> None:
    for call in (endpoints.get_job("J"), endpoints.list_statuses("J").first(), endpoints.delete_job("J")):
        outcome, sent, _, waited = carry_out(call, events)
        assert not isinstance(outcome, RescaleUncertain)
        if isinstance(outcome, RescaleError):
            assert isinstance(outcome, (*CERTAIN, RescaleBadAnswer, RescaleServerError))
        assert 1 <= sent <= 3 * POLICY.tries + POLICY.throttled_tries
        assert waited < 1000


@pytest.mark.parametrize("status", [500, 504])
def test_patience_with_statuses(status: int) -> None:
    failing: list[tuple[Answer | Failed, bool]] = [(Answer(status, {}), False)] * 50
    _, sent, _, _ = carry_out(endpoints.list_statuses("J").first(), failing)
    assert sent == (POLICY.tries if status == 500 else 3 * POLICY.tries)
