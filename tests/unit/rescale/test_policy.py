# SPDX-License-Identifier: Apache-2.0
"""The request policy by itself, without a network and without waiting."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.errors import (
    RescaleError,
    RescaleServerError,
    RescaleThrottled,
    RescaleUncertain,
    RescaleUnreachable,
)
from scale_airflow.rescale import Call, Pause, Repeat, RequestPolicy
from scale_airflow.rescale.policy import Answer, Failure, retry_after
from scale_airflow.rescale.refusals import Explanation

POLICY = replace(RequestPolicy(), draw=lambda: 1.0)
NOTHING = Explanation("")
GET = Call("GET", "x/", lambda value: value)
POST = replace(GET, method="POST", repeat=Repeat.NEVER)


def test_pauses_grow_and_are_capped() -> None:
    assert [POLICY.backoff(attempt) for attempt in (1, 2, 3, 4, 5, 6, 7, 10_000)] == [
        1, 2, 4, 8, 16, 30, 30, 30,
    ]  # fmt: skip


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 100))
def test_jitter_is_full(drawn: float, attempt: int) -> None:
    pause = replace(POLICY, draw=lambda: drawn).backoff(attempt)
    assert 0 <= pause <= min(30.0, 2.0 ** (attempt - 1))


def test_attempts_end() -> None:
    attempts = POLICY.attempts(GET)
    for _ in range(POLICY.tries - 1):
        assert isinstance(attempts.failed(Failure.TIMED_OUT, "s"), Pause)
    with pytest.raises(RescaleUnreachable, match="6 attempts"):
        attempts.failed(Failure.TIMED_OUT, "s")


@pytest.mark.parametrize("failure", [Failure.TIMED_OUT, Failure.BROKEN, Failure.ENDLESS])
def test_a_post_that_may_have_arrived_is_uncertain(failure: Failure) -> None:
    attempts = POLICY.attempts(POST)
    assert attempts.failed(Failure.NOT_CONNECTED, "s").seconds == 1
    with pytest.raises(RescaleUncertain):
        attempts.failed(failure, "s")


def test_an_answer_without_end_is_not_asked_for_again() -> None:
    with pytest.raises(RescaleUnreachable, match="too long"):
        POLICY.attempts(GET).failed(Failure.ENDLESS, "s")


def test_throttling_has_its_own_patience() -> None:
    attempts = POLICY.attempts(GET)
    for _ in range(POLICY.throttled_tries - 1):
        assert attempts.answered(Answer(429, {"retry-after": "2"}), NOTHING) == Pause(3.0)
    with pytest.raises(RescaleThrottled, match="rates") as caught:
        attempts.answered(Answer(429, {"retry-after": "2"}), NOTHING)
    assert caught.value.retry_after == 2


def test_certificates_that_are_not_trusted_are_not_asked_again() -> None:
    with pytest.raises(RescaleUnreachable, match="verify"):
        POLICY.attempts(GET).failed(Failure.UNTRUSTED, "s")


@given(
    st.lists(st.sampled_from([*Failure, 200, 400, 429, 500, 502, 503, 504]), max_size=40),
    st.booleans(),
    st.sampled_from(["GET", "DELETE", "POST"]),
)
def test_no_course_of_events_repeats_a_post_that_may_have_had_its_effect(
    events: list[Failure | int], never: bool, method: str
) -> None:
    """Whatever happens: attempts end, and what must not be repeated is not."""
    call = replace(GET, method=method, repeat=Repeat.NEVER if never else Repeat.SAFE, flaky=frozenset({504}))
    attempts = POLICY.attempts(call)
    made = 0
    for event in events:
        made += 1
        try:
            if isinstance(event, Failure):
                attempts.failed(event, "s")
            elif event == 200:
                attempts.misunderstood("the answer is not JSON", 200)
            else:
                assert attempts.answered(Answer(event, {}), NOTHING) is not None
        except RescaleError:
            break
        if never:
            assert event in (Failure.NOT_CONNECTED, 429)
    assert made <= 3 * POLICY.tries + POLICY.throttled_tries


def test_a_server_that_names_no_time_is_given_some() -> None:
    pause = POLICY.attempts(GET).answered(Answer(429, {}), NOTHING)
    assert pause is not None
    assert pause.seconds >= 1


@pytest.mark.parametrize(
    ("told", "seconds"), [("0", 0), ("120", 120), ("1.5", 1.5), ("", None), ("soon", None)]
)
def test_seconds_to_retry_after(told: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": told}) == seconds


@pytest.mark.parametrize("told", ["-5", "1e9", "NaN", "Infinity", "1.2.3", "٣", "0x10", "Sun, 99 Nov 2026"])
def test_nonsense_to_retry_after_is_none_or_no_wait(told: str) -> None:
    assert not retry_after({"retry-after": told})


def test_a_date_to_retry_after_by_our_own_clock() -> None:
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90))
    found = retry_after({"retry-after": date})
    assert found is not None
    assert 85 <= found <= 90
    assert retry_after({"retry-after": "Sun, 22 Nov 2020 10:00:00 GMT"}) == 0


def test_an_honest_503_waits_as_told() -> None:
    attempts = POLICY.attempts(GET)
    assert attempts.answered(Answer(503, {"retry-after": "77"}), NOTHING) == Pause(78.0)
    with pytest.raises(RescaleServerError):
        attempts.answered(Answer(503, {"retry-after": "7777"}), NOTHING)
