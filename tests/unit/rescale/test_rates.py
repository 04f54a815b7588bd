# SPDX-License-Identifier: Apache-2.0
"""Rate buckets: never more than the limit in any hour, whoever asks in whatever rhythm."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_airflow.rescale import Credentials, RateBuckets, Scope
from scale_airflow.rescale.rates import DOCUMENTED_LIMITS, limits_of, shared_buckets


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=60)
@given(st.integers(2, 60), st.lists(st.floats(0, 2000), min_size=1, max_size=300))
def test_no_hour_has_more_than_the_limit(limit: int, pauses: list[float]) -> None:
    clock = Clock()
    buckets = RateBuckets({Scope.USER: limit}, clock=clock)
    sent: list[float] = []
    for pause in pauses:
        clock.now += pause
        sent.append(clock.now + buckets.reserve(Scope.USER))
    sent.sort()
    for first in sent:
        # One more than the limit where a limit is too small to be shared out.
        within = [moment for moment in sent if first <= moment < first + 3600 - 1e-6]
        assert len(within) <= max(limit, limit * 0.85 + 2)


def test_a_burst_passes_and_then_requests_are_spaced() -> None:
    buckets = RateBuckets({Scope.JOBS_USAGE: 90000}, clock=Clock())
    waits = [buckets.reserve(Scope.JOBS_USAGE) for _ in range(13_502)]
    assert waits[13_499] == 0
    assert waits[13_501] == pytest.approx(2 * 3600 / 90000 / 0.85)


def test_what_was_not_sent_is_given_back() -> None:
    buckets = RateBuckets({Scope.USER: 10}, clock=Clock())
    assert buckets.reserve(Scope.USER) == 0
    assert buckets.reserve(Scope.USER) > 0
    buckets.give_back(Scope.USER)
    buckets.give_back(Scope.USER)
    buckets.give_back(Scope.USER)
    assert buckets.reserve(Scope.USER) == 0


def test_a_throttled_scope_is_closed_and_others_are_not() -> None:
    clock = Clock()
    buckets = RateBuckets(clock=clock)
    buckets.throttled(Scope.FILE_ACCESS, 30)
    buckets.throttled(Scope.FILE_ACCESS, 10)
    assert buckets.reserve(Scope.FILE_ACCESS) == 30
    assert buckets.reserve(Scope.USER) == 0
    buckets.throttled(Scope.BILLING, float("inf"))
    assert buckets.reserve(Scope.BILLING) == 3600
    clock.now = 31
    assert buckets.reserve(Scope.FILE_ACCESS) == 0


def test_the_limits_that_rescale_documents() -> None:
    assert {scope.value: limit for scope, limit in DOCUMENTED_LIMITS.items()} == {
        "user": 7200,
        "job-submission": 1000,
        "jobs-usage": 90000,
    }


def test_a_process_shares_the_buckets_of_a_key() -> None:
    one, other = (Credentials.of("eu", key) for key in ("a", "b"))
    assert shared_buckets(one) is shared_buckets(Credentials.of("https://eu.rescale.com", "a"))
    assert shared_buckets(one) is not shared_buckets(other)
    assert shared_buckets(one) is not shared_buckets(Credentials.of("us", "a"))


def test_threads_take_turns() -> None:
    buckets = RateBuckets({Scope.USER: 1000}, clock=Clock())
    waits: list[float] = []

    def take() -> None:
        waits.extend(buckets.reserve(Scope.USER) for _ in range(100))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wait == 0 for wait in waits) == 150
    assert len({wait for wait in waits if wait}) == 650


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "must be an object"),
        ({"jobs": 1}, "'jobs', but the scopes are user, job-submission"),
        ({"user": 0}, "above 0"),
        ({"user": "7"}, "above 0"),
        ({"user": True}, "above 0"),
    ],
)
def test_limits_of_users_are_checked(document: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        limits_of(document)
    assert limits_of({"user": 5, "file-access": None}) == {Scope.USER: 5, Scope.FILE_ACCESS: None}


def test_a_limit_of_nothing_is_no_limit() -> None:
    with pytest.raises(ValueError, match="above 0"):
        RateBuckets({Scope.USER: 0})
