# SPDX-License-Identifier: Apache-2.0
"""What ``airflow rescale`` shows, for people and for programs."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from scale_airflow.cli.rescale_output import clean, moment, present, progress_bar, size, waiting
from scale_airflow.rescale.transfers.progress import Progress

WHEN = datetime(2026, 1, 31, 8, 0, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (999_600, "1 MB")],
)
def test_sizes_are_as_people_read_them(count: int | None, shown: str) -> None:
    assert size(count) == shown


def test_a_text_can_not_command_the_terminal() -> None:
    assert clean("a\x1b[2Jb\x9bc\td\r\n") == "a[2Jbc\td\n"


def test_programs_get_numbers_and_times(capsys: pytest.CaptureFixture[str]) -> None:
    row: dict[str, Any] = {"price": Decimal("0.5"), "since": WHEN, "size": 1000}
    present([row], "json", shown={"size": size})
    assert json.loads(capsys.readouterr().out) == [
        {"price": 0.5, "since": "2026-01-31T08:00:01Z", "size": 1000}
    ]
    present([row], "table", shown={"size": size, "since": moment})
    shown = capsys.readouterr().out
    assert "2026-01-31 08:00:01Z" in shown
    assert "1 kB" in shown


def test_nothing_is_said_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    present([], "table", nothing="None there.")
    written = capsys.readouterr()
    assert (written.out, written.err) == ("", "None there.\n")
    present([], "json")
    assert json.loads(capsys.readouterr().out) == []


def test_where_nobody_looks_only_the_end_of_a_transfer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Fetched") as tell:
        tell(Progress("a", 5, 10, 5, 10, 0, 1, 1.0))
        tell(Progress("a", 10, 10, 10_000_000, 10_000_000, 1, 1, 2.0))
    assert capsys.readouterr().err == "Fetched: 1 file, 10 MB in 2.0 s, 5 MB/s\n"


def test_news_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("Job X") as tell:
        for news in ("Queued", "Queued", "Executing"):
            tell(news)
    assert capsys.readouterr().err == "Job X: Queued\nJob X: Executing\n"
