# SPDX-License-Identifier: Apache-2.0
"""Waits, without a worker slot, until the API server has reserved room for a job."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from scale_airflow import crash_points
from scale_airflow.config import CONNECTION_ID
from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.order import ClaimRequest
from scale_airflow.hooks.async_client import AsyncScaleClient
from scale_airflow.hooks.scale import ScaleHook
from scale_airflow.triggers.settling import SETTLING_PAUSE

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 5.0
_AWAY_PAUSE = 15.0
# The request itself was refused: asking again can't help.
_FINAL = (400, 404, 409, 410, 422)


class CapacityTrigger(BaseTrigger):
    """Asks ``/runtime/reserve/`` until there is room, then fires ``{"ready": True}``.

    It fires also when the server says that the claim makes no sense any more (the job was canceled, the try
    is over): the resumed task claims again and is told what became of it. A server that is away is asked
    again and again.

    :param request: the claim (:class:`ClaimRequest` as a dictionary).
    :param connection_id: the connection to the API server.
    """

    def __init__(self, request: dict[str, Any], connection_id: str = CONNECTION_ID):
        super().__init__()  # type: ignore[no-untyped-call]
        self.request = request
        self.connection_id = connection_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on."""
        return (
            "scale_airflow.triggers.capacity.CapacityTrigger",
            {"request": self.request, "connection_id": self.connection_id},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire once."""
        request = ClaimRequest.from_dict(self.request)
        hook = ScaleHook(self.connection_id)
        outcome: dict[str, Any] | None = None
        await asyncio.sleep(SETTLING_PAUSE)
        while outcome is None:
            # Anew each time: the secret may have been rotated meanwhile.
            async with await hook.async_client() as client:
                outcome = await self._wait(client, request)
        crash_points.reach("trigger.capacity.fire.before")
        yield TriggerEvent(outcome)

    async def _wait(self, client: AsyncScaleClient, request: ClaimRequest) -> dict[str, Any] | None:
        """Ask until there is something to fire; None where the server no longer accepts the secret."""
        pause = FIRST_PAUSE
        reason: str | None = None
        while True:
            try:
                answer = await client.reserve(request)
            except ScaleApiError as error:
                if error.status in _FINAL:
                    return {"ready": False, "reason": str(error)}
                self.log.warning("Waiting for the API server: %s", error)
                pause = min(pause * 2, _AWAY_PAUSE)
                if error.status in (401, 403):
                    await asyncio.sleep(pause)
                    return None
            else:
                if answer.ready:
                    return {"ready": True, "reason": None}
                if answer.reason != reason:
                    reason = answer.reason
                    self.log.info("The job waits: %s", reason)
                pause = min(pause * 1.5, LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.6, 1.0))  # noqa: S311 - jitter, no secret
