# SPDX-License-Identifier: Apache-2.0
"""The points in time of Rescale's answers, which come in three forms."""

from __future__ import annotations

from datetime import datetime, timezone

from dateutil.parser import isoparse

from scale_airflow.errors import RescaleBadAnswer


def parse_moment(text: str) -> datetime:
    """Return a date of Rescale's as an aware UTC time.

    Its dates end in ``Z`` (clusters, files), in an offset (``-07:00`` on old files) or in nothing (statuses
    of some jobs); the last are UTC as well. Rescale API: list job status history.

    :raises RescaleBadAnswer: if the text is no ISO 8601 date.
    """
    try:
        moment = isoparse(text)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError, TypeError):
        pass
    raise RescaleBadAnswer(f"Rescale's answer has {str(text)[:60]!r} where a date should be.")
