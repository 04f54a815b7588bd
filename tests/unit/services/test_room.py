# SPDX-License-Identifier: Apache-2.0
"""Who is served first where room is scarce: the urgent, then the old; nobody waits for ever."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.services.room import Amounts, Claimant, first_served

NODE: Amounts = (8.0, 8000.0, 8000.0, 0.0)
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def one(number: int, cpus: float, priority: int = 100) -> Claimant:
    """An execution; those with higher numbers were queued later."""
    return Claimant(number, number, priority, START + timedelta(seconds=number), (cpus, 1.0, 0.0, 0.0))


def test_nobody_waits_where_there_is_room_for_all() -> None:
    assert first_served(one(2, 1.0), [one(1, 4.0)], [], NODE) is None
    assert first_served(one(3, 1.0), [one(1, 4.0)], [one(2, 3.0, priority=1)], NODE) is None


def test_what_is_free_is_kept_for_the_more_urgent_that_fits() -> None:
    urgent = one(9, 2.0, priority=1)
    assert first_served(one(2, 2.0), [one(1, 6.0)], [urgent], NODE) == urgent
    assert first_served(urgent, [one(1, 6.0)], [one(2, 2.0)], NODE) is None


def test_equals_are_served_as_they_ask() -> None:
    assert first_served(one(3, 2.0), [one(1, 6.0)], [one(2, 2.0)], NODE) is None


def test_small_ones_do_not_pass_a_big_one_for_ever() -> None:
    big, small = one(2, 8.0), one(3, 1.0)
    assert first_served(small, [one(1, 4.0)], [big], NODE) == big
    assert first_served(one(1, 1.0), [one(0, 4.0)], [big], NODE) is None, "it was there before"


def test_a_big_one_gets_what_it_waited_for_though_a_small_one_asks_first() -> None:
    big, small = one(1, 7.0), one(3, 2.0)
    assert first_served(small, [one(0, 1.0)], [big], NODE) == big, "it fits now, and asks again soon"
    assert first_served(one(3, 1.0), [], [big], NODE) is None, "there is room beside it"
    assert first_served(one(0, 2.0), [one(2, 1.0)], [big], NODE) is None, "it was there before"


def test_what_the_big_one_will_not_miss_is_given_away() -> None:
    big = one(2, 6.0)
    assert first_served(one(3, 2.0), [one(1, 4.0)], [big], NODE) is None
    held = [one(1, 4.0), one(3, 2.0)]
    assert first_served(one(4, 2.0), held, [big], NODE) == big, "but only once"


def test_one_that_the_node_can_never_take_keeps_nothing() -> None:
    assert first_served(one(3, 1.0), [], [one(2, 9.0, priority=1)], NODE) is None


def test_what_is_kept_for_two_urgent_ones_adds_up() -> None:
    waiters = [one(2, 2.0, priority=1), one(3, 2.0, priority=2)]
    assert first_served(one(4, 1.0), [one(1, 4.0)], waiters, NODE) == waiters[1]
    assert first_served(one(4, 1.0), [one(1, 3.0)], waiters, NODE) is None


AMOUNTS = st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0])


@given(st.lists(st.tuples(AMOUNTS, st.integers(1, 3)), min_size=1, max_size=8))
def test_the_first_in_line_is_always_served_in_the_end(wishes: list[tuple[float, int]]) -> None:
    """However they ask, all of them run once those that run end one after the other."""
    waiting = [one(number, cpus, priority) for number, (cpus, priority) in enumerate(wishes)]
    running: list[Claimant] = []
    served = 0
    while waiting:
        free = 8.0 - sum(holder.needs[0] for holder in running)
        for asking in list(waiting):
            others = [other for other in waiting if other is not asking]
            if asking.needs[0] <= free and first_served(asking, running, others, NODE) is None:
                waiting.remove(asking)
                running.append(asking)
                free -= asking.needs[0]
                served += 1
        assert running, "the node lies idle though jobs wait"
        running.pop(0)
    assert served == len(wishes)
