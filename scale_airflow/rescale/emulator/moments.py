# SPDX-License-Identifier: Apache-2.0
"""The three ways in which the service writes dates."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

OLD_OFFSET = timezone(timedelta(hours=-7))


def with_z(moment: datetime | None) -> str | None:
    """Write ``2026-01-02T03:04:05.000006Z``: clusters, files, insertions."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def with_offset(moment: datetime | None) -> str | None:
    """Write ``2026-01-02T03:04:05.000006+00:00``: statuses of jobs."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")


def with_old_offset(moment: datetime) -> str:
    """Write ``2026-01-01T20:04:05.000006-07:00``: files from before there were checksums."""
    return moment.astimezone(OLD_OFFSET).strftime("%Y-%m-%dT%H:%M:%S.%f-07:00")
