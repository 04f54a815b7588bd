# SPDX-License-Identifier: Apache-2.0
"""The pause between a task's deferral and its trigger's event that keeps Airflow from taking it for lost."""

from __future__ import annotations

import asyncio
import time

# A task that goes on is the same try as before. If Airflow's scheduler learns in one loop that its first
# worker has ended and that it is queued again, it takes the second for lost and tries the task once more.
SETTLING_PAUSE = 2.0
# Where seconds don't matter, long enough also for a scheduler that is slow.
LONG_SETTLING_PAUSE = 5.0


async def settled(begun: float) -> None:
    """Return when a trigger that began to run at ``begun`` (``time.monotonic``) may fire."""
    await asyncio.sleep(max(0.0, begun + LONG_SETTLING_PAUSE - time.monotonic()))
