# SPDX-License-Identifier: Apache-2.0
"""How many connections work: told by what they bring."""

from __future__ import annotations

from collections.abc import Callable

from scale_airflow.rescale.transfers.adaptation import Adaptation


class Line:
    """A line on which each connection brings so much a second, and all together no more than so much."""

    def __init__(self, ceiling: int, each: float, together: float = float("inf")) -> None:
        self.now = 0.0
        self.adaptation = Adaptation(ceiling, clock=lambda: self.now)
        self._rate: Callable[[], float] = lambda: min(each * self.adaptation.allowed, together)

    def run(self, seconds: float) -> list[int]:
        """Let time pass; return each number of connections that there was."""
        seen = [self.adaptation.allowed]
        for _ in range(int(seconds / 0.05)):
            self.now += 0.05
            if self.adaptation.arrived(int(self._rate() * 0.05)):
                seen.append(self.adaptation.allowed)
        return seen


def test_more_are_used_as_long_as_they_help() -> None:
    assert Line(32, 8e6).run(3) == [8, 16, 32]


def test_the_ceiling_is_kept() -> None:
    assert Line(10, 8e6).run(3) == [8, 10]
    assert Line(3, 8e6).run(3) == [3]


def test_what_does_not_help_is_given_up_and_tried_again_later() -> None:
    line = Line(64, 8e6, together=64e6)
    assert line.run(2) == [8, 16, 8]
    assert line.run(10) == [8, 16, 8]


def test_a_refusal_halves_and_a_wave_of_them_counts_once() -> None:
    line = Line(32, 8e6)
    line.run(3)
    assert line.adaptation.throttled()
    assert not any(line.adaptation.throttled() for _ in range(10))
    assert line.adaptation.allowed == 16
    assert line.run(4) == [16]
    assert line.run(4) == [16, 32]


def test_there_is_always_one() -> None:
    line = Line(1, 8e6)
    line.adaptation.throttled()
    assert line.adaptation.allowed == 1


def test_with_small_files_requests_count() -> None:
    now = [0.0]
    adaptation = Adaptation(32, clock=lambda: now[0])
    for _ in range(60):
        now[0] += 0.05
        adaptation.arrived(10 * adaptation.allowed, requests=adaptation.allowed)
    assert adaptation.allowed == 32
