# SPDX-License-Identifier: Apache-2.0
"""The heart beats, hurries, says once that the execution must stop, and outlives an API server."""

from __future__ import annotations

import threading

import pytest

from scale_airflow.errors import ScaleApiError
from scale_airflow.execution import heart as heart_module
from scale_airflow.execution.heart import Heart
from scale_airflow.execution.order import BeatAnswer, BeatReport, PhaseTimes

REPORT = BeatReport(PhaseTimes())


class Server:
    def __init__(self, *answers: BeatAnswer | ScaleApiError):
        self.answers = list(answers)
        self.calls = 0
        self.changed = threading.Condition()

    def beat(self, report: BeatReport) -> BeatAnswer:
        with self.changed:
            self.calls += 1
            self.changed.notify_all()
            answer = self.answers.pop(0) if self.answers else BeatAnswer(True)
        if isinstance(answer, ScaleApiError):
            raise answer
        return answer

    def wait_for(self, calls: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.calls >= calls, 10)


def test_beats_on_while_the_server_is_away() -> None:
    server = Server(ScaleApiError("away"), ScaleApiError("broken", status=500))
    reasons: list[str] = []
    heart = Heart(server.beat, lambda: REPORT, reasons.append, reasons.append, interval=0.01)
    heart.start()
    server.wait_for(5)
    heart.stop()
    assert reasons == []


def test_a_job_that_is_over_before_its_news_are_gathered_costs_no_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heart_module, "GATHER", 60.0)
    server = Server()
    heart = Heart(server.beat, lambda: REPORT, print, print, interval=60)
    heart.start()
    heart.hurry()
    heart.stop()
    heart._thread.join(10)
    assert not heart._thread.is_alive()
    assert server.calls == 0


def test_hurries_when_there_is_news() -> None:
    server = Server()
    heart = Heart(server.beat, lambda: REPORT, print, print, interval=60)
    heart.start()
    server.wait_for(1)
    heart.hurry()
    server.wait_for(2)
    heart.stop()


@pytest.mark.parametrize(
    ("answer", "how", "words"),
    [
        (BeatAnswer(False, "canceled"), "stop", "canceled"),
        (BeatAnswer(False), "stop", "wants this execution to stop"),
        (ScaleApiError("unknown token", status=401), "fenced", "unknown token"),
        (ScaleApiError("gone", status=404), "fenced", "gone"),
    ],
)
def test_says_once_that_it_must_stop(answer: BeatAnswer | ScaleApiError, how: str, words: str) -> None:
    server = Server(BeatAnswer(True), answer)
    said: list[tuple[str, str]] = []
    heart = Heart(
        server.beat,
        lambda: REPORT,
        lambda reason: said.append(("stop", reason)),
        lambda reason: said.append(("fenced", reason)),
        interval=0.01,
    )
    heart.start()
    heart._thread.join(60)
    assert len(said) == 1
    assert said[0][0] == how
    assert words in said[0][1]
    assert server.calls == 2


def test_an_answer_that_comes_after_the_end_is_nothing() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def beat(report: BeatReport) -> BeatAnswer:
        begun.set()
        go_on.wait(10)
        return BeatAnswer(False, "over")

    reasons: list[str] = []
    heart = Heart(beat, lambda: REPORT, reasons.append, reasons.append, interval=0.01)
    heart.start()
    assert begun.wait(10)
    heart.stop()
    go_on.set()
    heart._thread.join(10)
    assert reasons == []
