# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction
from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.errors import InvalidDocument
from scale_airflow.timetables import clock
from scale_airflow.timetables.clock import ScaleClockTimetable


def at(text: str) -> pendulum.DateTime:
    moment = pendulum.parse(f"2026-03-01T{text}")
    assert isinstance(moment, pendulum.DateTime)
    return moment


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 12:34 on 1 March 2026."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2026, 3, 1, 12, 34, tzinfo=timezone.utc)

    monkeypatch.setattr(clock, "datetime", Frozen)


def next_run(
    schedule: str,
    last: str | None,
    *,
    start: str = "00:00:01",
    end: pendulum.DateTime | None = None,
    catchup: bool = False,
) -> str | None:
    info = ScaleClockTimetable(schedule).next_dagrun_info(
        last_automated_data_interval=None if last is None else DataInterval.exact(at(last)),
        restriction=TimeRestriction(at(start), end, catchup),
    )
    if info is None:
        return None
    assert info.data_interval is not None
    assert info.run_after == info.data_interval.start == info.data_interval.end
    return info.run_after.isoformat()


@pytest.mark.parametrize(
    ("schedule", "last", "fires"),
    [
        ("PT1H", "12:00", "2026-03-01T13:00:00+00:00"),
        # A run that came late is followed by one at the full hour, not an hour later.
        ("PT1H0M0S", "12:07", "2026-03-01T13:00:00+00:00"),
        # What passed unnoticed is one run, for the latest time.
        ("PT1H", "09:00", "2026-03-01T12:00:00+00:00"),
        ("PT7H", "07:00", "2026-03-01T14:00:00+00:00"),
        ("PT7H", "21:00", "2026-03-02T00:00:00+00:00"),
        ("PT24H", "00:00", "2026-03-02T00:00:00+00:00"),
        ("P1D", "00:00", "2026-03-02T00:00:00+00:00"),
        ("PT1M", "12:34", "2026-03-01T12:35:00+00:00"),
    ],
)
@pytest.mark.usefixtures("now")
def test_a_clock_fires_at_whole_periods_since_midnight(schedule: str, last: str, fires: str) -> None:
    assert next_run(schedule, last) == fires


@pytest.mark.usefixtures("now")
def test_a_rule_never_fires_for_a_time_before_it_existed() -> None:
    assert next_run("PT1H", None, start="12:33") == "2026-03-01T13:00:00+00:00"
    assert next_run("PT1H", None, start="12:00") == "2026-03-01T12:00:00+00:00"
    assert next_run("PT1H", None, start="03:10") == "2026-03-01T12:00:00+00:00"


@pytest.mark.usefixtures("now")
def test_catching_up_runs_every_time_that_passed() -> None:
    assert next_run("PT1H", "09:00", catchup=True) == "2026-03-01T10:00:00+00:00"
    assert next_run("PT1H", None, start="09:30", catchup=True) == "2026-03-01T10:00:00+00:00"


@pytest.mark.usefixtures("now")
def test_nothing_fires_after_the_end_date() -> None:
    assert next_run("PT1H", "12:00", end=at("12:59")) is None
    assert next_run("PT1H", "12:00", end=at("13:00")) == "2026-03-01T13:00:00+00:00"


@given(
    minutes=st.integers(min_value=1, max_value=24 * 60),
    last=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(timezone.utc)),
)
def test_times_to_fire_are_aligned_to_midnight_utc(minutes: int, last: datetime) -> None:
    info = ScaleClockTimetable(f"PT{minutes}M").next_dagrun_info(
        last_automated_data_interval=DataInterval.exact(pendulum.instance(last)),
        restriction=TimeRestriction(None, None, True),
    )
    assert info is not None
    fires = info.run_after
    assert last < fires <= last + timedelta(minutes=minutes)
    assert (fires - fires.start_of("day")).total_seconds() % (minutes * 60) == 0


def test_a_timetable_survives_serialization() -> None:
    timetable = ScaleClockTimetable("PT15M")
    again = ScaleClockTimetable.deserialize(timetable.serialize())
    assert again.summary == "PT15M"
    assert again.serialize() == timetable.serialize()
    again.validate()


def test_a_run_started_by_hand_stands_for_its_moment() -> None:
    interval = ScaleClockTimetable("PT15M").infer_manual_data_interval(run_after=at("12:01"))
    assert interval.start == interval.end == at("12:01")


@pytest.mark.parametrize("schedule", ["", "hourly", "PT30S", "PT25H", "P1W"])
def test_schedules_that_scale_does_not_know_are_refused(schedule: str) -> None:
    with pytest.raises(InvalidDocument):
        ScaleClockTimetable(schedule)
