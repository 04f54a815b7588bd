# SPDX-License-Identifier: Apache-2.0
"""Progress: what is told adds up, whatever comes twice."""

from __future__ import annotations

import pytest

from scale_airflow.rescale.transfers import progress as module
from scale_airflow.rescale.transfers.progress import Meter, Progress, Share


@pytest.fixture(autouse=True)
def _each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.0)


def test_bytes_and_files_add_up() -> None:
    told: list[Progress] = []
    meter = Meter(told.append, 2, 30)
    one, two = meter.file("one", 10), meter.file("two", 20)
    one.add(4)
    two.add(20)
    one.restart()
    one.add(10)
    one.whole()
    two.whole()
    last = told[-1]
    assert (last.total_done, last.total, last.files_done, last.files) == (30, 30, 2, 2)
    assert [(each.file, each.done) for each in told[:4]] == [("one", 4), ("two", 20), ("one", 0), ("one", 10)]
    assert last.seconds >= 0


def test_a_part_counts_for_what_it_stands_for() -> None:
    meter = Meter(None, 1, 100)
    file = meter.file("big", 100)
    share = Share(file, 100, 30)
    share.add(10)
    assert file.done == 33
    share.restart()
    assert file.done == 0
    share.add(30)
    assert file.done == 100


def test_what_does_not_move_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    meter = Meter(told.append, 1, 10)
    meter.tick()
    assert told == []
    file = meter.file("slow", 10)
    meter.tick()
    file.add(3)
    meter.tick()
    assert [each.done for each in told] == [0, 3]
    monkeypatch.setattr(module, "IDLE", 0.0)
    meter.tick()
    assert [each.done for each in told] == [0, 3, 3]


def test_two_files_of_one_name_are_two() -> None:
    told: list[Progress] = []
    meter = Meter(told.append, 2, 2)
    meter.file("same", 1).whole()
    meter.file("same", 1).whole()
    assert (told[-1].total_done, told[-1].done) == (2, 1)
