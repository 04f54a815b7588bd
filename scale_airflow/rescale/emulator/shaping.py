# SPDX-License-Identifier: Apache-2.0
"""A network that is slower than this machine: so many bytes a second for each connection and in all."""

from __future__ import annotations

import asyncio
import random
import time
from weakref import WeakKeyDictionary

from scale_airflow.rescale.emulator.settings import Settings

# A connection that was idle may send so many seconds' worth at once; also how late a timer may fire without
# the speed suffering.
BURST = 0.1
LARGEST_PIECE = 2**20
SMALLEST_PIECE = 2**14


class Bucket:
    """Bytes a second, told by the moment at which the last reserved byte is through."""

    def __init__(self) -> None:
        self._through = time.monotonic()

    def reserve(self, count: int, speed: float, now: float) -> float:
        """Take room for so many bytes and return the seconds until they may go (0: at once)."""
        if speed <= 0:
            return 0.0
        self._through = max(self._through, now - BURST) + count / speed
        return max(0.0, self._through - now)


class Shaping:
    """Makes whoever moves bytes wait, by the settings of the moment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._total = (Bucket(), Bucket())
        self._connections: WeakKeyDictionary[object, tuple[Bucket, Bucket]] = WeakKeyDictionary()
        self._random = random.Random(7)  # noqa: S311 - jitter, no secret

    @property
    def on(self) -> bool:
        """Tell whether any speed is limited."""
        return self._settings.speed_per_connection > 0 or self._settings.speed_total > 0

    def piece(self) -> int:
        """Return how many bytes to move at once so that the speed is even and the work small."""
        speeds = (self._settings.speed_per_connection, self._settings.speed_total)
        slowest = min((one for one in speeds if one > 0), default=0.0)
        return LARGEST_PIECE if not slowest else min(LARGEST_PIECE, max(SMALLEST_PIECE, int(slowest / 20)))

    async def sent(self, connection: object, count: int) -> None:
        """Wait as long as it takes to send so many bytes to this client."""
        await self._wait(connection, count, 0)

    async def received(self, connection: object, count: int) -> None:
        """Wait as long as it takes to receive so many bytes from this client."""
        await self._wait(connection, count, 1)

    async def _wait(self, connection: object, count: int, direction: int) -> None:
        if not self.on:
            return
        now = time.monotonic()
        own = self._connections.setdefault(connection, (Bucket(), Bucket()))[direction]
        wait = max(
            own.reserve(count, self._settings.speed_per_connection, now),
            self._total[direction].reserve(count, self._settings.speed_total, now),
        )
        if wait > 0:
            await asyncio.sleep(wait)

    async def latency(self) -> None:
        """Wait as long as a request is on its way."""
        wait = self._settings.latency + self._settings.jitter * self._random.random()
        if wait > 0:
            await asyncio.sleep(wait)
