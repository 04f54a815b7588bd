# SPDX-License-Identifier: Apache-2.0
"""Waits, without a worker slot, for a Rescale cluster or storage device to come up or be gone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from scale_airflow.errors import ScaleError
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.rescale.endpoints import stop_job
from scale_airflow.rescale.waits import Goal, Rhythm, wait_for
from scale_airflow.triggers.settling import settled

DEFAULT_CONNECTION = "rescale_default"
_OUTCOMES = ("reached", "failed", "timeout")


@dataclass(frozen=True)
class RescaleWaitEvent:
    """What the trigger fires.

    :param outcome: ``reached`` (``reason`` is the status), ``failed`` (``reason`` says why) or ``timeout``.
    """

    subject_id: str
    outcome: str
    reason: str = ""

    @classmethod
    def from_payload(cls, payload: object) -> RescaleWaitEvent:
        """Read a payload.

        :raises ValueError: if it is none of this trigger's.
        """
        if not isinstance(payload, dict):
            raise ValueError("The event of RescaleWaitTrigger must be an object.")
        subject_id, outcome = payload.get("subject_id"), payload.get("outcome")
        if not isinstance(subject_id, str) or outcome not in _OUTCOMES:
            raise ValueError(
                "The event of RescaleWaitTrigger must have a subject_id and an outcome of "
                f"{', '.join(_OUTCOMES)}."
            )
        return cls(subject_id, str(outcome), str(payload.get("reason") or ""))


class RescaleWaitTrigger(BaseTrigger):
    """Fires one :class:`RescaleWaitEvent` when what is waited for is there, can't come, or is late.

    :param goal: a value of :class:`~scale_airflow.rescale.waits.Goal`.
    :param subject_id: the job's or storage device's id.
    :param deadline: seconds since 1970; None to wait for ever.
    :param stop_job_on_kill: stop the job when a user clears or marks the task (never when the triggerer
        restarts).
    """

    def __init__(
        self,
        goal: str,
        subject_id: str,
        connection_id: str = DEFAULT_CONNECTION,
        *,
        interval: float = 20.0,
        deadline: float | None = None,
        stop_job_on_kill: bool = False,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self.goal = goal
        self.subject_id = subject_id
        self.connection_id = connection_id
        self.interval = interval
        self.deadline = deadline
        self.stop_job_on_kill = stop_job_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on."""
        return (
            "scale_airflow.triggers.rescale_waits.RescaleWaitTrigger",
            {
                "goal": self.goal,
                "subject_id": self.subject_id,
                "connection_id": self.connection_id,
                "interval": self.interval,
                "deadline": self.deadline,
                "stop_job_on_kill": self.stop_job_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire once."""
        begun = time.monotonic()
        event = await self._wait()
        await settled(begun)
        yield TriggerEvent(asdict(event))

    async def _wait(self) -> RescaleWaitEvent:
        rhythm = Rhythm(self.interval, self.deadline)
        try:
            async with await RescaleHook(self.connection_id).async_client() as client:
                status = await client.run(wait_for(Goal(self.goal), self.subject_id, rhythm, self._tell))
        except TimeoutError as error:
            return RescaleWaitEvent(self.subject_id, "timeout", str(error))
        except ScaleError as error:
            return RescaleWaitEvent(self.subject_id, "failed", str(error))
        return RescaleWaitEvent(self.subject_id, "reached", status)

    def _tell(self, news: str) -> None:
        self.log.info("%s: %s", self.subject_id, news)

    async def on_kill(self) -> None:
        """Stop the job, if the task has said so: the user has cleared the task, or marked it."""
        if self.stop_job_on_kill:
            async with await RescaleHook(self.connection_id).async_client() as client:
                await client.send(stop_job(self.subject_id))
            self.log.info("Job %s is being stopped", self.subject_id)
