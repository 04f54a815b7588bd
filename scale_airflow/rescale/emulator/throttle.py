# SPDX-License-Identifier: Apache-2.0
"""Limits of requests: a sliding window for each API key and scope, as Django REST Framework counts."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate

from scale_airflow.rescale.emulator.refusals import RefusedError
from scale_airflow.rescale.emulator.settings import Settings


class Throttle:
    """Counts requests while throttling is on.

    :param clock: seconds that only grow; for tests.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._seen: dict[tuple[str, str], deque[float]] = {}

    def pass_or_refuse(self, key: str, scope: str) -> dict[str, str]:
        """Count one request and return the headers that tell how many are left.

        :raises RefusedError: 429 with ``Retry-After`` when the scope's limit is reached.
        """
        rate = self._settings.rates.get(scope)
        if not self._settings.throttle or rate is None:
            return {}
        limit, seconds = rate
        now = self._clock()
        seen = self._seen.setdefault((key, scope), deque())
        while seen and seen[0] <= now - seconds:
            seen.popleft()
        if len(seen) >= limit:
            raise self._refusal(limit, seen[0] + seconds - now)
        seen.append(now)
        return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(limit - len(seen))}

    def forget(self) -> None:
        """Begin all windows anew."""
        self._seen.clear()

    def _refusal(self, limit: int, wait: float) -> RefusedError:
        headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": "0"}
        headers.update(retry_after(self._settings.retry_after, wait))
        detail = f"Request was throttled. Expected available in {math.ceil(wait)} seconds."
        return RefusedError(429, {"detail": detail}, headers)


def retry_after(form: str, seconds: float) -> dict[str, str]:
    """Return the header in the wanted form: ``"seconds"``, ``"date"`` or ``"none"``."""
    if form == "none":
        return {}
    if form == "date":
        # A date has whole seconds: rounded up, or the client would come too early.
        return {"Retry-After": formatdate(math.ceil(time.time() + seconds), usegmt=True)}
    return {"Retry-After": str(math.ceil(seconds))}
