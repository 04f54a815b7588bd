# SPDX-License-Identifier: Apache-2.0
"""How many connections help: more as long as more bytes come with them, fewer when the server complains."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

START = 10
WINDOW = 0.3
"""Seconds over which a rate is measured, before anything is changed."""
SETTLE = 0.15
"""Seconds after a change that are not measured: new connections start slowly."""
HOLD = 4.0
"""Seconds before more are tried again after more did not help."""
CALM = 5.0
"""Seconds without growth after the server has refused a request because of too many."""
GAIN = 0.3
"""The part of the best possible gain that more connections have to bring at least."""
NOISE = 0.1
"""The part of a rate that may be chance."""
REQUEST_WORTH = 64 * 1024
"""A finished request counts like so many bytes: with small files it is requests that take time."""


class Adaptation:
    """Says how many connections may work at present; every method may be called from any thread.

    :param ceiling: how many at most.
    :param start: how many at first. What is sent vanishes into buffers at once, so that nothing is known of
        its rate at first: uploads start with all, and only refusals make them fewer.
    :param clock: seconds that never go back.
    """

    def __init__(
        self, ceiling: int, *, start: int = START, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ceiling = ceiling
        self._clock = clock
        self._lock = threading.Lock()
        self._allowed = min(start, ceiling)
        self._before: tuple[int, float] | None = None  # connections and rate before the last growth
        self._worth = 0
        self._since: float | None = None
        self._settled = float("-inf")
        self._hold_until = float("-inf")
        self._best_each = 0.0

    @property
    def best_each(self) -> float:
        """The best rate a connection that was measured yet, in bytes a second."""
        return self._best_each

    @property
    def allowed(self) -> int:
        """How many may work now."""
        return self._allowed

    def arrived(self, count: int, *, requests: int = 0) -> bool:
        """Note bytes and finished requests; return whether the number of connections has changed."""
        with self._lock:
            now = self._clock()
            if now < self._settled:
                return False
            if self._since is None:
                self._since = now  # what comes with this call came before
                return False
            self._worth += count + requests * REQUEST_WORTH
            if now - self._since < WINDOW:
                return False
            rate = self._worth / (now - self._since)
            self._since, self._worth = now, 0
            self._best_each = max(self._best_each, rate / self._allowed)
            return self._decide(rate, now)

    def throttled(self) -> bool:
        """Note that the server has refused a request because of too many; return whether fewer may work."""
        with self._lock:
            now = self._clock()
            if now < self._hold_until and self._before is None:
                return False  # one wave of refusals halves the number once
            self._before = None
            self._hold_until = now + CALM
            self._since, self._worth = None, 0
            fewer = max(1, self._allowed // 2)
            changed = fewer != self._allowed
            self._allowed = fewer
            return changed

    def _decide(self, rate: float, now: float) -> bool:
        if self._before is not None:
            count, rate_before = self._before
            growth = self._allowed / count - 1
            self._before = None
            if rate < rate_before * (1 + GAIN * growth - NOISE):
                self._hold_until = now + HOLD
                self._allowed = count
                self._settle(now)
                return True
        if self._allowed < self._ceiling and now >= self._hold_until:
            self._before = (self._allowed, rate)
            self._allowed = min(2 * self._allowed, self._ceiling)
            self._settle(now)
            return True
        return False

    def _settle(self, now: float) -> None:
        self._settled = now + SETTLE
        self._since, self._worth = None, 0
