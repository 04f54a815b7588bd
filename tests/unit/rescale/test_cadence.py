# SPDX-License-Identifier: Apache-2.0
"""A thousand watched jobs stay far below 25 requests a second, and none is forgotten."""

from __future__ import annotations

import itertools
import random

import pytest

from scale_airflow.rescale.cadence import FULL_LOOK_EVERY, LIST_FROM, Pace, Schedule, pause_after


def middle() -> float:
    return 0.5


def test_a_pause_grows_with_the_quiet_and_never_below_what_was_asked_for():
    assert pause_after(10, 0, middle) == 10
    assert pause_after(10, 1000, middle) == 20
    assert pause_after(10, 100_000, middle) == 60
    assert pause_after(300, 100_000, middle) == 300
    assert [pause_after(10, 0, lambda drawn=drawn: drawn) for drawn in (0.0, 1.0)] == pytest.approx([9, 11])


def test_few_jobs_are_looked_at_at_once():
    schedule = Schedule(middle)
    schedule.add("a", 10, now=100)
    assert schedule.next_due() == 100
    assert schedule.due(100, 10) == ["a"]
    assert not schedule.wants_list
    schedule.looked("a", "Queued", None, 101)
    assert schedule.due(110, 10) == []
    assert schedule.due(111, 10) == ["a"]
    schedule.remove("a")
    assert schedule.next_due() is None


def test_a_row_that_has_not_changed_saves_the_look():
    schedule = Schedule(middle)
    for number in range(LIST_FROM):
        schedule.add(str(number), 10, now=0)
    assert schedule.wants_list
    row = ("Executing", "Started")
    assert schedule.unchanged(["0"], {"0": row}, 5) == set()  # never looked at
    schedule.looked("0", "Executing", row, 6)
    assert schedule.unchanged(["0"], {"0": row}, 20) == {"0"}
    assert "0" not in schedule.due(25, 10)
    assert schedule.unchanged(["0"], {"0": ("Completed", "Stopping")}, 40) == set()
    assert schedule.unchanged(["0"], {}, 40) == set()
    assert schedule.unchanged(["0"], {"0": row}, 6 + FULL_LOOK_EVERY) == set()


def test_a_change_brings_the_looks_closer_again():
    schedule = Schedule(middle)
    schedule.add("a", 10, now=0)
    schedule.looked("a", "Queued", None, 0)
    schedule.looked("a", "Queued", None, 2000)
    assert schedule.next_due() == 2040
    schedule.looked("a", "Executing", None, 2050)
    assert schedule.next_due() == 2060
    schedule.failed("a", 2060)
    assert schedule.next_due() == 2070


def test_what_is_not_watched_any_more_is_no_trouble():
    schedule = Schedule(middle)
    schedule.looked("gone", "x", None, 1)
    schedule.failed("gone", 1)
    assert len(schedule) == 0
    assert schedule.shortest_polling == 0


def test_a_pace_has_no_burst():
    pace = Pace(10)
    assert [pace.reserve(0.0) for _ in range(4)] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert pace.reserve(100) == 0


def test_a_thousand_jobs_for_half_an_hour():
    """The poller's round, on a simulated clock: the requests of each second are counted."""
    drawn = random.Random(4)
    schedule, pace = Schedule(drawn.random), Pace(12)
    requests: dict[int, int] = {}
    looks: dict[str, list[float]] = {}
    now = 0.0
    for number in range(1000):
        schedule.add(f"job {number}", 15, now)
    listed = float("-inf")
    rows = {f"job {number}": ("Executing", "Started") for number in range(1000)}

    def ask() -> None:
        nonlocal now
        now += pace.reserve(now)
        requests[int(now)] = requests.get(int(now), 0) + 1

    while now < 1800:
        due = schedule.due(now, 64)
        if not due:
            next_due = schedule.next_due()
            assert next_due is not None
            now = max(next_due, now + 0.5)
            continue
        if now - listed >= schedule.shortest_polling / 2:
            ask()
            listed = now
        quiet = schedule.unchanged(due, rows, now)
        for job_id in due:
            if job_id not in quiet:
                ask()
                ask()
                looks.setdefault(job_id, []).append(now)
                schedule.looked(job_id, "Executing", rows[job_id], now)
    assert max(requests.values()) <= 13
    # After the first look at each the list does nearly all the work.
    later = [requests.get(second, 0) for second in range(300, 1800)]
    assert sum(later) / len(later) < 5
    assert len(looks) == 1000
    assert all(
        later - earlier <= FULL_LOOK_EVERY * 1.1 + 200
        for times in looks.values()
        for earlier, later in itertools.pairwise(times)
    )
