# SPDX-License-Identifier: Apache-2.0
"""Schedules: periods counted from midnight UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.definitions.clock import due, latest_fire, next_fire, parse_schedule
from scale_airflow.errors import InvalidDocument

HOUR = timedelta(hours=1)
periods = st.integers(1, 1440).map(lambda minutes: timedelta(minutes=minutes))
zones = st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2000, 1, 2), datetime(2100, 1, 1), timezones=zones)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("PT1H0M0S", 60),
        ("PT1H", 60),
        ("PT24H0M0S", 1440),
        ("PT24H", 1440),
        ("P1D", 1440),
        ("P0DT5M", 5),
        ("PT1M", 1),
        ("PT60S", 1),
        ("PT90M", 90),
        ("PT23H59M60S", 1440),
        ("PT007H", 420),
    ],
)
def test_schedules(text: str, minutes: int) -> None:
    assert parse_schedule(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "1H",
        "PT1.5H",
        "PT0.5M",
        "P1W",
        "P1M",
        "P1Y",
        "pt1h",
        "PT1H ",
        "PT-1H",
        "-PT1H",
        "PT1M1H",
        "PT٣H",
        "hourly",
        "PT1H\n",
    ],
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(InvalidDocument, match="is not a schedule"):
        parse_schedule(text)


@pytest.mark.parametrize(
    "text",
    [
        "PT0S",
        "PT30S",
        "PT90S",
        "PT25H",
        "P1DT1M",
        "P2D",
        "PT1441M",
        "PT1H1S",
        "P999999D",
        "P999999DT999999H999999M999999S",
    ],
)
def test_schedules_out_of_range(text: str) -> None:
    with pytest.raises(InvalidDocument, match="must be whole minutes, from PT1M to PT24H"):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("period", "after", "expected"),
    [
        ("PT1H", "2016-01-01T11:07:00", "2016-01-01T12:00:00"),
        ("PT1H", "2016-01-01T12:00:00", "2016-01-01T13:00:00"),
        ("PT1H", "2016-01-01T11:59:59.999999", "2016-01-01T12:00:00"),
        ("PT1H", "2016-01-01T23:30:00", "2016-01-02T00:00:00"),
        ("PT7H", "2016-01-01T20:59:00", "2016-01-01T21:00:00"),
        ("PT7H", "2016-01-01T21:00:00", "2016-01-02T00:00:00"),
        ("PT24H", "2016-02-28T00:00:00", "2016-02-29T00:00:00"),
        ("PT13H", "2016-01-01T13:00:00", "2016-01-02T00:00:00"),
        ("PT1M", "2016-01-01T00:00:30", "2016-01-01T00:01:00"),
    ],
)
def test_the_next_time(period: str, after: str, expected: str) -> None:
    assert next_fire(parse_schedule(period), at(after)) == at(expected)


@given(periods, moments)
def test_the_next_time_is_aligned_and_the_first_one_after(period: timedelta, after: datetime) -> None:
    found = next_fire(period, after)
    assert found > after
    assert found - after <= period
    assert found.utcoffset() == timedelta()
    midnight = found.replace(hour=0, minute=0, second=0, microsecond=0)
    assert (found - midnight) % period == timedelta()
    assert latest_fire(period, found) == found
    # Nothing fires in between.
    assert latest_fire(period, found - timedelta(microseconds=1)) <= after


@given(periods, moments)
def test_the_latest_time_is_the_one_before_the_next(period: timedelta, now: datetime) -> None:
    found = latest_fire(period, now)
    assert found <= now < next_fire(period, found)
    assert next_fire(period, now) == next_fire(period, found)


@given(periods, moments, moments)
def test_a_rule_is_due_once_for_all_times_that_passed(
    period: timedelta, last: datetime, now: datetime
) -> None:
    assert due(period, last, now) == (latest_fire(period, now) > last)
    assert not due(period, now, now)


def test_a_late_event_does_not_shift_the_next_one() -> None:
    last = at("2016-01-01T11:07:00")
    assert not due(HOUR, last, at("2016-01-01T11:59:00"))
    assert due(HOUR, last, at("2016-01-01T12:00:00"))


def test_a_rule_without_an_event() -> None:
    assert not due(HOUR, None, at("2016-01-01T00:59:00"))
    assert due(HOUR, None, at("2016-01-01T01:00:00"))
    assert due(HOUR, None, at("2016-01-01T11:07:00"))
    assert due(timedelta(days=1), None, at("2016-01-01T00:00:00"))


def test_moments_need_a_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        next_fire(HOUR, datetime(2016, 1, 1))
