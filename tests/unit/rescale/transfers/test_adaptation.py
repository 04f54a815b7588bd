# SPDX-License-Identifier: Apache-2.0
"""How many connections work: told by what they bring."""

from __future__ import annotations

from scale_airflow.rescale.transfers.adaptation import Adaptation


class Line:
    """A line on which each connection brings so much a second, and all together no more than so much."""

    def __init__(self, ceiling: int, each: float, together: float = float("inf")) -> None:
        self.now = 0.0
        self.adaptation = Adaptation(ceiling, clock=lambda: self.now)
        self.each = each
        self._together = together

    def run(self, seconds: float) -> list[int]:
        """Let time pass; return each number of connections that there was."""
        seen = [self.adaptation.allowed]
        for _ in range(int(seconds / 0.05)):
            self.now += 0.05
            if self.adaptation.arrived(int(min(self.each * self.adaptation.allowed, self._together) * 0.05)):
                seen.append(self.adaptation.allowed)
        return seen


def test_more_are_used_as_long_as_they_help() -> None:
    assert Line(32, 8e6).run(3) == [10, 20, 32]


def test_the_ceiling_is_kept() -> None:
    assert Line(12, 8e6).run(3) == [10, 12]
    assert Line(3, 8e6).run(3) == [3]


def test_what_does_not_help_is_given_up_and_tried_again_later() -> None:
    line = Line(64, 8e6, together=64e6)
    assert line.run(2) == [10, 20, 10]
    assert line.run(5) == [10, 20, 10]


def test_chance_is_no_reason_to_give_up() -> None:
    line = Line(12, 8e6)
    line.run(0.45)
    assert line.adaptation.allowed == 12
    line.each *= 0.82  # by chance, at the very moment when more began to work
    assert line.run(2) == [12]


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
