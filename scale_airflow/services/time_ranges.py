# SPDX-License-Identifier: Apache-2.0
"""The time ranges of statistics: what is meant by default, and how long they may be."""

from __future__ import annotations

from datetime import datetime, timedelta

from scale_airflow.errors import Fault, InvalidRequest
from scale_airflow.services.listing import Window
from scale_airflow.store.base import utcnow

DEFAULT_DAYS = 7
LONGEST = timedelta(days=31)
LATELY = timedelta(hours=3)


def lately(window: Window) -> datetime:
    """Return the start of a window's range; by default three hours ago.

    :raises InvalidRequest: if it ends before it starts.
    """
    started = window.started or utcnow() - LATELY
    if window.ended is not None and window.ended <= started:
        message = "The time range must start before it ends; by default it starts three hours ago."
        raise InvalidRequest(message, [Fault("ended", message)])
    return started


def month_at_most(window: Window) -> tuple[datetime, datetime]:
    """Return the start and end of a window's range; by default from midnight seven days ago until now.

    :raises InvalidRequest: if it ends before it starts, or is longer than 31 days.
    """
    now = utcnow()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    ended = window.ended or now
    started = window.started or midnight - timedelta(days=DEFAULT_DAYS)
    if started >= ended:
        given = "started" if window.started is not None else "ended"
        message = (
            "The time range must start before it ends; by default it starts at midnight seven days ago and "
            "ends now."
        )
        raise InvalidRequest(message, [Fault(given, message)])
    if ended - started > LONGEST:
        message = "The time range must be 31 days at most."
        raise InvalidRequest(message, [Fault("started", message)])
    return started, ended
