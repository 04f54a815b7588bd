# SPDX-License-Identifier: Apache-2.0
"""When clock rules fire (specification: Clock Triggers).

A schedule is a period that is counted from each midnight UTC: ``PT1H`` fires at every full hour, ``PT7H`` at
00:00, 07:00, 14:00, 21:00 and again at midnight, whatever the time of the last event was.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from scale_airflow.definitions.faults import Faults, quote

KIND = "schedule"
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

_PERIOD = re.compile(
    r"P(?=.)(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?=.)(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,6})M)?(?:(?P<seconds>\d{1,6})S)?)?",
    re.ASCII,
)


def parse_schedule(text: str) -> timedelta:
    """Return the period of a schedule such as ``PT1H0M0S``, ``PT15M`` or ``P1D``.

    :raises InvalidDocument: it is no ISO 8601 period of whole minutes from one minute to 24 hours.
    """
    faults = Faults()
    period = read_schedule(text, faults, "")
    faults.refuse(KIND, text)
    assert period is not None
    return period


def read_schedule(text: str, faults: Faults, place: str) -> timedelta | None:
    """Return the period of a schedule, or None after adding what is wrong with it at ``place``."""
    match = _PERIOD.fullmatch(text)
    period = (
        timedelta(**{unit: int(count) for unit, count in match.groupdict("0").items()}) if match else None
    )
    if period is None:
        message = (
            f"{quote(text)} is not a schedule. It must be an ISO 8601 period of whole days, hours, minutes "
            "and seconds, such as PT1H0M0S, PT15M or P1D."
        )
        faults.add(place, "clock.schedule", message)
    elif period % MINUTE or not MINUTE <= period <= DAY:
        message = f"The schedule {quote(text)} must be whole minutes, from PT1M to PT24H."
        faults.add(place, "clock.schedule-range", message)
        return None
    return period


def next_fire(period: timedelta, after: datetime) -> datetime:
    """Return the first time to fire after a moment, in UTC.

    :param period: the period of the schedule, as :func:`parse_schedule` returns it.
    :param after: a moment with a zone; a time to fire itself is not after itself.
    """
    midnight = _midnight(after)
    passed = (after - midnight) // period
    return min(midnight + (passed + 1) * period, midnight + DAY)


def latest_fire(period: timedelta, now: datetime) -> datetime:
    """Return the last time to fire up to and including ``now``, in UTC."""
    midnight = _midnight(now)
    return midnight + (now - midnight) // period * period


def due(period: timedelta, last: datetime | None, now: datetime) -> bool:
    """Say whether a rule has to fire at ``now``.

    It has when a time to fire lies behind the last event, up to and including now; times that passed
    unnoticed count as one. A rule without an event fires at once if its period is a day, else as soon as one
    period of the current day is over.

    :param last: when the rule's last event occurred, None if it never did.
    """
    if last is not None:
        return next_fire(period, last) <= now
    return period >= DAY or _midnight(now) + period <= now


def _midnight(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("A moment needs a time zone")
    utc = moment.astimezone(timezone.utc)
    return datetime(utc.year, utc.month, utc.day, tzinfo=timezone.utc)
