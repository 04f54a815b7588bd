# SPDX-License-Identifier: Apache-2.0
"""Moments as the API shows them: UTC with ``Z``, milliseconds only when they are not zero."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import overload


@overload
def moment(value: datetime) -> str: ...
@overload
def moment(value: None) -> None: ...
@overload
def moment(value: datetime | None) -> str | None: ...


def moment(value: datetime | None) -> str | None:
    """Return a moment in the API's form; None stays None.

    >>> moment(datetime(2015, 9, 10, 14, 48, 8, 920000, tzinfo=timezone.utc))
    '2015-09-10T14:48:08.920Z'
    """
    if value is None:
        return None
    precision = "milliseconds" if value.microsecond >= 1000 else "seconds"
    return value.astimezone(timezone.utc).isoformat(timespec=precision).removesuffix("+00:00") + "Z"
