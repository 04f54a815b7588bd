# SPDX-License-Identifier: Apache-2.0
"""The time ranges of statistics: what is meant by default, and how long they may be."""

from __future__ import annotations

from datetime import datetime, timedelta

from scale_airflow.errors import Fault
from scale_airflow.services.listing import Window, refuse
from scale_airflow.store.base import utcnow

DEFAULT_DAYS = 7
LONGEST = timedelta(days=31)
LATELY = timedelta(hours=3)


def lately(window: Window) -> datetime:
    """Return the start of a window's range; by default three hours ago.

    :raises InvalidRequest: if it ends before it starts.
    """
    refuse(lately_faults(window))
    return window.started or utcnow() - LATELY


def lately_faults(window: Window) -> list[Fault]:
    """Return what is wrong with a range that starts three hours ago by default, if anything is."""
    started = window.started or utcnow() - LATELY
    if window.ended is None or window.ended > started:
        return []
    return [Fault("ended", "The time range must start before it ends; by default it starts three hours ago.")]


def month_at_most(window: Window) -> tuple[datetime, datetime]:
    """Return the start and end of a window's range; by default from midnight seven days ago until now.

    :raises InvalidRequest: if it ends before it starts, or is longer than 31 days.
    """
    refuse(month_faults(window))
    return _month(window)


def month_faults(window: Window) -> list[Fault]:
    """Return what is wrong with a range of 31 days at most, if anything is."""
    started, ended = _month(window)
    if started >= ended:
        given = "started" if window.started is not None else "ended"
        message = (
            "The time range must start before it ends; by default it starts at midnight seven days ago and "
            "ends now."
        )
        return [Fault(given, message)]
    if ended - started > LONGEST:
        return [Fault("started", "The time range must be 31 days at most.")]
    return []


def _month(window: Window) -> tuple[datetime, datetime]:
    now = utcnow()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return window.started or midnight - timedelta(days=DEFAULT_DAYS), window.ended or now
