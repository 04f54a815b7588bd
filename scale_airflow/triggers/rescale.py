# SPDX-License-Identifier: Apache-2.0
"""Waits, without a worker slot, until a Rescale job is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from airflow.triggers.base import BaseTrigger, TriggerEvent

from scale_airflow.errors import RescaleNotFound, ScaleError
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.hooks.rescale_connection import read_settings
from scale_airflow.rescale.async_client import AsyncRescaleClient
from scale_airflow.rescale.following import WIDEST_WINDOW, LineFollower
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.stopping import StopMode, stop
from scale_airflow.rescale.verdict import Draft, Failed, FailureDetection, Succeeded, Waiting, Watch
from scale_airflow.rescale.waiting import log_end
from scale_airflow.triggers.rescale_poller import Lines, Look, Subscription, Trouble, poller_of
from scale_airflow.triggers.settling import settled

DEFAULT_CONNECTION = "rescale_default"
POLLING_INTERVAL = 15.0
OUTAGE_BUDGET = 3600.0
# So long a job may look as if it had never been submitted, or did not exist, just after its submit.
_LATE = 60.0
# A triggerer waits half a minute for all that a killed trigger does.
_HASTE = RequestPolicy(
    connect_timeout=3.0,
    read_timeout=7.0,
    answer_timeout=7.0,
    tries=4,
    first_pause=0.5,
    pause_cap=1.0,
    longest_pause=5.0,
)
_OUTCOMES = ("succeeded", "failed", "timeout", "execution_timeout", "lost")

EventOutcome = Literal["succeeded", "failed", "timeout", "execution_timeout", "lost"]


@dataclass(frozen=True)
class RescaleJobEvent:
    """What the trigger fires.

    :param outcome: ``succeeded``, ``failed`` (``reason`` says why), ``timeout`` and ``execution_timeout``
        (the job goes on: whoever resumes decides), ``lost`` (Rescale has not answered for too long).
    """

    job_id: str
    outcome: EventOutcome
    reason: str = ""

    def to_payload(self) -> dict[str, Any]:
        """Return the event's payload."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: object) -> RescaleJobEvent:
        """Read a payload.

        :raises ValueError: if it is none of this trigger's.
        """
        if not isinstance(payload, dict):
            raise ValueError("The event of RescaleJobTrigger must be an object.")
        job_id, outcome = payload.get("job_id"), payload.get("outcome")
        if not isinstance(job_id, str) or outcome not in _OUTCOMES:
            raise ValueError(
                f"The event of RescaleJobTrigger must have a job_id and an outcome of {', '.join(_OUTCOMES)}."
            )
        return cls(job_id, outcome, str(payload.get("reason") or ""))


class RescaleJobTrigger(BaseTrigger):
    """Fires one :class:`RescaleJobEvent` when a job is over, or has not been over in time.

    All triggers of a connection share one poller. When the task is cleared or marked by a user, the job is
    stopped; when the triggerer restarts, it is not.

    :param job_id: the job, which has been submitted.
    :param polling_interval: seconds between looks; more when nothing changes for long.
    :param timeout_at: when to give up waiting, in seconds since 1970.
    :param execution_timeout_at: when the task's ``execution_timeout`` is over, likewise.
    :param failure_detection: ``strict``, ``known`` or ``exit_code``
        (:class:`~scale_airflow.rescale.verdict.FailureDetection`).
    :param follow_log: write the job's log lines to the trigger's.
    :param cancel_on_kill: stop the job when a user clears the task or marks it.
    :param stop_mode: ``graceful`` or ``force``.
    :param outage_budget: seconds that Rescale may fail to answer before the trigger fires ``lost``.
    """

    def __init__(
        self,
        job_id: str,
        connection_id: str = DEFAULT_CONNECTION,
        *,
        polling_interval: float = POLLING_INTERVAL,
        timeout_at: float | None = None,
        execution_timeout_at: float | None = None,
        failure_detection: str = FailureDetection.STRICT.value,
        follow_log: bool = True,
        cancel_on_kill: bool = True,
        stop_mode: str = StopMode.GRACEFUL.value,
        outage_budget: float = OUTAGE_BUDGET,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_id = job_id
        self.connection_id = connection_id
        self.polling_interval = polling_interval
        self.timeout_at = timeout_at
        self.execution_timeout_at = execution_timeout_at
        self.failure_detection = failure_detection
        self.follow_log = follow_log
        self.cancel_on_kill = cancel_on_kill
        self.stop_mode = stop_mode
        self.outage_budget = outage_budget

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on."""
        return (
            "scale_airflow.triggers.rescale.RescaleJobTrigger",
            {
                "job_id": self.job_id,
                "connection_id": self.connection_id,
                "polling_interval": self.polling_interval,
                "timeout_at": self.timeout_at,
                "execution_timeout_at": self.execution_timeout_at,
                "failure_detection": self.failure_detection,
                "follow_log": self.follow_log,
                "cancel_on_kill": self.cancel_on_kill,
                "stop_mode": self.stop_mode,
                "outage_budget": self.outage_budget,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire once."""
        begun = time.monotonic()
        poller = poller_of(self.connection_id, self._connect)
        async with poller.watch(
            self.job_id, polling=self.polling_interval, follow_log=self.follow_log
        ) as subscription:
            waiter = _Waiter(self, subscription)
            event = await waiter.wait()
        if self.follow_log and event.outcome in ("succeeded", "failed"):
            await self._show_rest(waiter)
        await settled(begun)
        yield TriggerEvent(event.to_payload())

    async def on_kill(self) -> None:
        """Stop the job: the user has cleared the task, or marked it."""
        if not self.cancel_on_kill:
            self.log.info("Job %s goes on (cancel_on_kill is off)", self.job_id)
            return
        settings = read_settings(await RescaleHook.aget_connection(self.connection_id))
        arguments = {**settings.client_arguments("on_kill"), "policy": _HASTE}
        async with AsyncRescaleClient(settings.credentials, **arguments) as client:
            came = await client.run(stop(self.job_id, StopMode(self.stop_mode)))
        self.log.info("Job %s: %s", self.job_id, came)

    async def _show_rest(self, waiter: _Waiter) -> None:
        """Write what the job's log has got since the last look at it."""
        try:
            async with await self._connect() as client:
                lines = await client.run(log_end(self.job_id, WIDEST_WINDOW))
        except ScaleError as error:
            self.log.warning("The end of the log of job %s can't be shown: %s", self.job_id, error)
            lines = ()
        waiter.show_rest(lines)

    async def _connect(self) -> AsyncRescaleClient:
        return await RescaleHook(self.connection_id).async_client()


class _Waiter:
    """Judges what the poller sees of one trigger's job."""

    def __init__(self, trigger: RescaleJobTrigger, subscription: Subscription) -> None:
        self._trigger = trigger
        self._subscription = subscription
        self._watch = Watch(FailureDetection(trigger.failure_detection))
        self._follower = LineFollower()
        self._status = ""
        self._trouble_since: float | None = None
        self._absent_since: float | None = None

    async def wait(self) -> RescaleJobEvent:
        """Return how the waiting ended."""
        while True:
            deadline, outcome = self._deadline()
            try:
                sight = await asyncio.wait_for(
                    self._subscription.sights.get(),
                    None if deadline is None else max(0.0, deadline - time.time()),
                )
            except asyncio.TimeoutError:
                return self._event(outcome, "The job was not over in time")
            event = self._take(sight)
            if event is not None:
                return event

    def show_rest(self, lines: Sequence[str]) -> None:
        """Show what has not been shown of the log's end."""
        self._show(self._follower.end(lines))

    def _deadline(self) -> tuple[float | None, EventOutcome]:
        times: list[tuple[float, EventOutcome]] = []
        if self._trigger.execution_timeout_at is not None:
            times.append((self._trigger.execution_timeout_at, "execution_timeout"))
        if self._trigger.timeout_at is not None:
            times.append((self._trigger.timeout_at, "timeout"))
        return min(times) if times else (None, "timeout")

    def _take(self, sight: Look | Trouble | Lines) -> RescaleJobEvent | None:
        if isinstance(sight, Lines):
            self._show(self._follower.look(sight.lines))
            self._subscription.window = self._follower.window
            return None
        if isinstance(sight, Trouble):
            return self._troubled(sight.error, sight.at)
        self._trouble_since = None
        verdict = self._watch.look(sight.statuses, sight.clusters, sight.at)
        if isinstance(verdict, Draft):
            return self._absent("It was never submitted", sight.at)
        self._absent_since = None
        if isinstance(verdict, Succeeded):
            return self._event("succeeded")
        if isinstance(verdict, Failed):
            return self._event("failed", verdict.reason)
        self._tell(verdict)
        return None

    def _troubled(self, error: ScaleError, at: float) -> RescaleJobEvent | None:
        if isinstance(error, RescaleNotFound):
            return self._absent("There is no such job any more", at)
        self._trigger.log.warning("Job %s can't be looked at: %s", self._trigger.job_id, error)
        if self._trouble_since is None:
            self._trouble_since = at
        if at - self._trouble_since < self._trigger.outage_budget:
            return None
        return self._event(
            "lost", f"Rescale could not be asked about it for {self._trigger.outage_budget:.0f} s: {error}"
        )

    def _absent(self, reason: str, at: float) -> RescaleJobEvent | None:
        """A job that is not there, or not submitted: so for a while, or for good."""
        if self._absent_since is None:
            self._absent_since = at
        return self._event("failed", reason) if at - self._absent_since >= _LATE else None

    def _tell(self, verdict: Waiting) -> None:
        if verdict.status != self._status:
            self._status = verdict.status
            self._trigger.log.info("Job %s: %s", self._trigger.job_id, verdict.status)

    def _show(self, lines: list[str]) -> None:
        for line in lines:
            self._trigger.log.info("%s", line)

    def _event(self, outcome: EventOutcome, reason: str = "") -> RescaleJobEvent:
        return RescaleJobEvent(self._trigger.job_id, outcome, reason)
