# SPDX-License-Identifier: Apache-2.0
"""Query parameters: what is understood, what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from scale_airflow.api_plugin.parameters import (
    MAX_ID,
    Moment,
    OneOf,
    Page,
    PageSize,
    flag,
    identifier,
    moment,
)

UTC = timezone.utc


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("7", 7), (" 7 ", 7), ("-7", -7), ("007", 7), (str(MAX_ID), MAX_ID), (f"-{MAX_ID}", -MAX_ID)],
)
def test_identifiers(text: str, number: int) -> None:
    assert identifier(text) == number


@pytest.mark.parametrize(
    "text", ["", "x", "1.0", "+1", "1_0", "٣", "1e3", "0x1", str(MAX_ID + 1), "9" * 5000]
)
def test_no_identifiers(text: str) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        identifier(text)


@pytest.mark.parametrize("text", ["true", "T", "1", "TRUE", "tRuE"])
def test_true(text: str) -> None:
    assert flag(text) is True


@pytest.mark.parametrize("text", ["false", "F", "0"])
def test_false(text: str) -> None:
    assert flag(text) is False


@pytest.mark.parametrize("text", ["yes", "no", "on", "2", "-1", "truee", "null"])
def test_neither(text: str) -> None:
    with pytest.raises(ValueError, match="true or false"):
        flag(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2015-01-01T00:00:00Z", datetime(2015, 1, 1, tzinfo=UTC)),
        ("2015-01-01T00:00:00.120Z", datetime(2015, 1, 1, 0, 0, 0, 120000, tzinfo=UTC)),
        ("2015-01-01T02:00:00+02:00", datetime(2015, 1, 1, tzinfo=UTC)),
        ("2015-01-01T02:00:00 02:00", datetime(2015, 1, 1, tzinfo=UTC)),
        ("2014-12-31T19:00-0500", datetime(2015, 1, 1, tzinfo=UTC)),
        ("20150101T000000Z", datetime(2015, 1, 1, tzinfo=UTC)),
    ],
)
def test_moments(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("PT3H0M0S", timedelta(hours=3)),
        ("P1D", timedelta(days=1)),
        ("p1w", timedelta(weeks=1)),
        ("PT0.5S", timedelta(seconds=0.5)),
        ("P1DT1H", timedelta(days=1, hours=1)),
        ("PT0S", timedelta(0)),
    ],
)
def test_durations_mean_before_now(text: str, ago: timedelta) -> None:
    before = datetime.now(UTC)
    found = moment(text)
    assert before - ago <= found <= datetime.now(UTC) - ago


def test_months_and_years_follow_the_calendar() -> None:
    found, now = moment("P1Y1M"), datetime.now(UTC)
    assert (now.year * 12 + now.month) - (found.year * 12 + found.month) == 13


@pytest.mark.parametrize(
    "text",
    [
        "2015-01-01T00:00:00",
        "2015-01-01",
        "P",
        "PT",
        "P1S",
        "P-1D",
        "PT1.5H",
        "P1Y2Y",
        "now",
        "9999999",
        "P9999Y",
    ],
)
def test_no_moments(text: str) -> None:
    with pytest.raises(ValueError, match="This"):
        moment(text)


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        found = moment(text)
    except ValueError:
        return
    assert found is None or found.tzinfo is not None


@given(st.text(alphabet="P0123456789YMWDTHS.", max_size=30))
def test_any_duration_is_read_or_refused(text: str) -> None:
    try:
        found = moment(f"P{text}")
    except ValueError:
        return
    assert found <= datetime.now(UTC)


def test_empty_counts_as_not_given() -> None:
    assert TypeAdapter(Page).validate_python("") == 1
    assert TypeAdapter(PageSize).validate_python("") == 100
    assert TypeAdapter(Moment).validate_python("") is None
    assert flag("") is None


def test_one_of() -> None:
    adapter = TypeAdapter(Annotated[str | None, OneOf("A", "B")])
    assert adapter.validate_python("A") == "A"
    assert adapter.validate_python("") is None
    assert adapter.json_schema()["enum"] == ["A", "B"]
    with pytest.raises(ValidationError, match="one of A, B"):
        adapter.validate_python("a")


@pytest.mark.parametrize("text", ["0", "-1", "x", "1001", str(2**70)])
def test_page_sizes_are_bounded(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PageSize).validate_python(text)
