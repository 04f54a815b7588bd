# SPDX-License-Identifier: Apache-2.0
"""Moments as the API shows them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from scale_airflow.api_plugin.views.moments import moment

PARIS = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2015, 3, 11, tzinfo=timezone.utc), "2015-03-11T00:00:00Z"),
        (datetime(2015, 9, 10, 14, 48, 8, 920_000, tzinfo=timezone.utc), "2015-09-10T14:48:08.920Z"),
        (datetime(2015, 9, 10, 14, 48, 8, 920_999, tzinfo=timezone.utc), "2015-09-10T14:48:08.920Z"),
        (datetime(2015, 9, 10, 14, 48, 8, 999, tzinfo=timezone.utc), "2015-09-10T14:48:08Z"),
        (datetime(2015, 1, 1, 0, 30, tzinfo=PARIS), "2014-12-31T23:30:00Z"),
        (None, None),
    ],
)
def test_moments(value: datetime | None, shown: str | None) -> None:
    assert moment(value) == shown
