# SPDX-License-Identifier: Apache-2.0
"""Each line of a growing log is shown once, in order, from looks at its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.rescale.following import FIRST_WINDOW, GAP, WIDEST_WINDOW, LineFollower, last_lines


def test_the_last_line_is_shown_when_it_is_whole():
    follower = LineFollower()
    assert follower.look(["one", "tw"]) == ["one"]
    assert follower.look(["one", "two"]) == []
    assert follower.look(["one", "two", "three"]) == ["two"]
    assert follower.look(["one", "two", "three"]) == ["three"]
    assert follower.look(["one", "two", "three"]) == []
    assert follower.look(["one", "two", "three", "four"]) == []
    assert follower.end() == ["four"]
    assert follower.end() == []


def test_a_line_that_grows_after_it_was_shown_is_shown_again():
    follower = LineFollower()
    follower.look(["12 %"])
    assert follower.look(["12 %"]) == ["12 %"]
    assert follower.look(["12 % .. 13 %", "done"]) == ["12 % .. 13 %"]


def test_nothing_yet_is_nothing():
    follower = LineFollower()
    assert follower.look([]) == []
    assert follower.end(["a\n", "b\r\n"]) == ["a", "b"]


def test_a_gap_is_told_and_the_next_look_is_wider():
    follower = LineFollower()
    follower.look(["1", "2"])
    assert follower.window == FIRST_WINDOW
    assert follower.look(["8", "9"]) == ["2", GAP, "8"]
    assert follower.window == 2 * FIRST_WINDOW
    for number in range(10):
        follower.look([f"x{number}", f"y{number}"])
    assert follower.window == WIDEST_WINDOW


def test_a_window_that_moves_on_shows_only_what_is_new():
    follower = LineFollower()
    assert follower.look(["1", "2", "3"]) == ["1", "2"]
    assert follower.look(["2", "3", "4"]) == ["3"]
    assert follower.look(["3", "4", "5"]) == ["4"]


@given(st.data())
def test_every_line_is_shown_once_when_the_looks_overlap(data):
    lines = [f"line {number}" for number in range(data.draw(st.integers(1, 40)))]
    text = "\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    follower = LineFollower()
    shown: list[str] = []
    for cut in cuts:
        # A line whose first half has been shown (unchanged for two looks) is shown again whole: that is told
        # apart here by what it begins with.
        shown += follower.look(text[:cut].split("\n") if cut else [])
    shown += follower.end(lines)
    whole = [line for line in shown if line in lines]
    parts = [line for line in shown if line not in lines]
    assert list(dict.fromkeys(whole)) == lines
    assert all(any(line.startswith(part) for line in lines) for part in parts)


def test_last_lines_leave_empty_ones_at_the_end_away():
    assert last_lines(["a\n", "", "b\n", "\n", "  "], 2) == ("", "b")
    assert last_lines(["a"], 0) == ()
    assert last_lines([], 5) == ()
