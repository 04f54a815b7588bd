# SPDX-License-Identifier: Apache-2.0
"""When clock trigger rules fire (specification: Clock Triggers): a period counted from each midnight UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

from scale_airflow.definitions.clock import latest_fire, next_fire, parse_schedule

_INSTANT = timedelta(microseconds=1)


class ScaleClockTimetable(Timetable):
    """Fires at every whole multiple of a period since midnight UTC, and at midnight.

    ``PT1H`` fires at each full hour, ``PT7H`` at 00:00, 07:00, 14:00 and 21:00. Times that passed while
    nothing was scheduled collapse into one run, for the latest of them, unless the DAG catches up.

    :param schedule: an ISO 8601 period of whole minutes, one minute to 24 hours.
    :raises InvalidDocument: if ``schedule`` is not such a period.
    """

    def __init__(self, schedule: str):
        self._schedule = schedule
        self._period = parse_schedule(schedule)
        self.description = f"Every {schedule}, counted from midnight UTC"

    @property
    def summary(self) -> str:
        """The period as it stands in the rule."""
        return self._schedule

    def serialize(self) -> dict[str, Any]:
        """Return what makes this timetable again."""
        return {"schedule": self._schedule}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ScaleClockTimetable:
        """Make the timetable again."""
        return cls(data["schedule"])

    def validate(self) -> None:
        """Do nothing: the constructor accepts no invalid schedule."""

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """Return the moment itself: a run stands for a point in time, not for a stretch of data."""
        return DataInterval.exact(run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next time to fire, or None when the DAG's end date comes first."""
        fire = pendulum.instance(self._earliest_after(last_automated_data_interval, restriction))
        if restriction.latest is not None and fire > restriction.latest:
            return None
        return DagRunInfo.exact(fire)

    def _earliest_after(self, last: DataInterval | None, restriction: TimeRestriction) -> datetime:
        candidates = [] if last is None else [next_fire(self._period, _plain(last.end))]
        if restriction.earliest is not None:
            # The start date itself counts if it is a time to fire.
            candidates.append(next_fire(self._period, _plain(restriction.earliest) - _INSTANT))
        if not restriction.catchup or not candidates:
            candidates.append(latest_fire(self._period, datetime.now(timezone.utc)))
        return max(candidates)


def _plain(moment: pendulum.DateTime) -> datetime:
    """Return a moment as the standard library's type: pendulum's differences can't be divided by it."""
    utc = moment.in_timezone("UTC")
    return datetime(
        utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, timezone.utc
    )
