# SPDX-License-Identifier: Apache-2.0
"""The emulator's clock: real time, whose waits can be shortened, and which can be put forward."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta, timezone


class Clock:
    """Tells the time, and waits.

    :param pace: what every wait is multiplied by: 1 waits ten seconds a job, 0.01 a hundredth of that.
    """

    def __init__(self, pace: float = 1.0) -> None:
        self.pace = pace
        self._ahead = 0.0
        self._advanced = asyncio.Event()

    def now(self) -> datetime:
        """Return the time in UTC, moved by what :meth:`advance` added."""
        return datetime.now(timezone.utc) + timedelta(seconds=self._ahead)

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds of the service's time; :meth:`advance` shortens the wait.

        :param seconds: of the real service; multiplied by the pace of the moment.
        """
        left = seconds * self.pace
        loop = asyncio.get_running_loop()
        while left > 0:
            started, ahead, advanced = loop.time(), self._ahead, self._advanced
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(advanced.wait(), left)
            left -= loop.time() - started + self._ahead - ahead

    def advance(self, seconds: float) -> None:
        """Put the clock forward: all waits end that much sooner (waits count in paced seconds)."""
        self._ahead += seconds
        self._advanced.set()
        self._advanced = asyncio.Event()
