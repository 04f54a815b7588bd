# SPDX-License-Identifier: Apache-2.0
"""The course of one job from its submission to its stopped cluster: a machine of phases in the journal.

A phase is left by one event that holds everything the step changed, so that an emulator which was killed goes
on with the phase in which it was. Waits begin anew then.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from scale_airflow.rescale.emulator.clock import Clock
from scale_airflow.rescale.emulator.delays import Delays
from scale_airflow.rescale.emulator.records import (
    CLUSTER,
    JOB,
    JobRecord,
    KeyRecord,
    LifeRecord,
    Record,
    StatusRecord,
)
from scale_airflow.rescale.emulator.runs import JobRuns
from scale_airflow.rescale.emulator.state import State
from scale_airflow.rescale.emulator.work import Scenario

SUCCESS = "Completed successfully"
RUN_FAILED = "A run failed"
RESTARTS = "Exceeded max number of restarts"
NO_CLUSTER = "Could not allocate compute resources from the compute provider"
CLUSTER_ERROR = "The cluster stopped working"
STOPPED = "Stopped by user"
BROKEN = "The emulator failed; its log says why"
WALLTIME = "Walltime limit reached"
MOST_RESTARTS = 3
OVER = "over"

# In these a stop leaves no trace in the job's statuses: the service's gap, which clients must know.
_UNVALIDATED = ("pending", "waiting-for-queue", "queued", "started", "stuck")
_STOPPABLE = (
    *_UNVALIDATED,
    "validated",
    "waiting-for-cluster",
    "requested",
    "starting",
    "executing",
    "restarting",
)


@dataclass(frozen=True)
class Surroundings:
    """What all courses share.

    :param disconnect: ends the SSH sessions of a job whose cluster goes.
    """

    state: State
    clock: Clock
    delays: Delays
    runs: JobRuns
    disconnect: Callable[[str], None]


class Course:
    """One job's course. :meth:`follow` takes it to its end; :meth:`stop` may be called meanwhile."""

    def __init__(self, job_id: str, around: Surroundings) -> None:
        self.job_id = job_id
        self._state = around.state
        self._clock = around.clock
        self._delays = around.delays
        self._runs = around.runs
        self._disconnect = around.disconnect
        self._stopped = asyncio.Event()
        if self.data.get("stop"):
            self._stopped.set()

    @property
    def data(self) -> dict[str, Any]:
        """Return what the journal knows of this course: ``phase``, ``attempt``, ``stop``."""
        life = self._state.lives.get(self.job_id)
        return dict(life.data) if life else {}

    @property
    def phase(self) -> str:
        """Return the name of the phase; ``"over"`` also when the job is gone."""
        return str(self.data.get("phase", OVER))

    @property
    def job(self) -> JobRecord:
        """Return the job's record as it is now."""
        return self._state.jobs[self.job_id]

    def begin(self) -> None:
        """Record the submission: Pending."""
        job = replace(self.job, submitted=self._clock.now(), cluster_up=True)
        self._write("pending", job_statuses=[("Pending", None)], records=[job], attempt=1)

    def stop(self, *, force: bool) -> bool:
        """Record that the job is to end, and tell its runs; False when there is nothing to stop."""
        phase, data = self.phase, self.data
        if phase not in _STOPPABLE or data.get("stop") == "force":
            return phase in _STOPPABLE
        first = not data.get("stop")
        statuses: list[tuple[str, str | None]] = []
        if phase not in _UNVALIDATED and (first or force):
            statuses = [("Force Stop" if force else "Stopping", STOPPED)]
        self._write(phase, job_statuses=statuses, stop="force" if force else "stop")
        if phase == "executing":
            self._runs.stop(self.job_id, data["attempt"], force=force)
        self._stopped.set()
        return True

    def give_up(self) -> None:
        """End the job after an error of the emulator's own, which its log tells."""
        if self.phase in _STOPPABLE:
            self._complete(BROKEN, terminated=True)

    async def follow(self) -> None:
        """Take the job through its phases to the end."""
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "pending": self._pending,
            "waiting-for-queue": self._waiting_for_queue,
            "queued": self._queued,
            "started": self._started,
            "stuck": self._stuck,
            "validated": self._validated,
            "waiting-for-cluster": self._waiting_for_cluster,
            "requested": self._requested,
            "starting": self._starting,
            "executing": self._executing,
            "restarting": self._restarting,
            "completed": self._completed,
            "stop-requested": self._stop_requested,
            "stopping": self._stopping,
        }
        if self._stopped.is_set() and self.phase == "executing":
            self._runs.stop(self.job_id, self.data["attempt"], force=self.data["stop"] == "force")
        while (phase := self.phase) != OVER:
            if self._stopped.is_set() and phase in _STOPPABLE and phase != "executing":
                self._stop_here(phase)
            else:
                await steps[phase]()

    # ---- the phases ----

    async def _pending(self) -> None:
        if await self._wait(self._delays.pending):
            return
        if self._scenario.name == "waiting-for-queue":
            self._write("waiting-for-queue", job_statuses=[("Waiting for Queue", None)])
        else:
            self._write("queued", job_statuses=[("Queued", None)])

    async def _waiting_for_queue(self) -> None:
        if not await self._wait(self._scenario_seconds):
            self._write("queued", job_statuses=[("Queued", None)])

    async def _queued(self) -> None:
        if not await self._wait(self._delays.queued):
            stuck = self._scenario.name == "stuck"
            self._write("stuck" if stuck else "started", job_statuses=[("Started", None)])

    async def _started(self) -> None:
        if not await self._wait(self._delays.started):
            self._write("validated", job_statuses=[("Validated", None)])

    async def _stuck(self) -> None:
        if not await self._wait(self._delays.starting):
            self._write("stopping", cluster=["Not Started", "Error"])

    async def _validated(self) -> None:
        if await self._wait(self._delays.cluster):
            return
        job = replace(self.job, cluster_id=self._state.new_id())
        if self._scenario.name == "waiting-for-cluster":
            waiting: list[tuple[str, str | None]] = [("Waiting for Cluster", None)]
            self._write("waiting-for-cluster", job_statuses=waiting, cluster=["Not Started"], records=[job])
        else:
            self._write("requested", cluster=["Not Started"], records=[job])

    async def _waiting_for_cluster(self) -> None:
        if not await self._wait(self._scenario_seconds):
            self._write("requested")

    async def _requested(self) -> None:
        if not await self._wait(self._delays.requested):
            self._write("starting", cluster=["Starting"])

    async def _starting(self) -> None:
        if await self._wait(self._delays.starting):
            return
        if self._scenario.name == "allocation-failure":
            statuses: list[tuple[str, str | None]] = [("Stopping", NO_CLUSTER), ("Completed", NO_CLUSTER)]
            self._write("stopping", job_statuses=statuses, cluster=["Error"])
            return
        job = replace(self.job, paid_runs=self.job.paid_runs + 1)
        records: list[Record] = [job]
        if self.data["attempt"] == 1:
            records += await self._runs.planned(job)
            records.append(KeyRecord(secrets.token_hex(20), job.owner, job.id))
        if not self._stopped.is_set():
            self._write("executing", job_statuses=[("Executing", None)], cluster=["Started"], records=records)

    async def _executing(self) -> None:
        attempt, scenario = self.data["attempt"], self._scenario
        lost = scenario.name == "cluster-error" or (
            scenario.name == "preempted" and attempt <= (scenario.number or 1)
        )
        if lost and not await self._execute_for_a_while(attempt):
            if scenario.name == "cluster-error":
                self._complete(CLUSTER_ERROR, cluster=["Error"], terminated=True)
            elif attempt > MOST_RESTARTS:
                self._complete(RESTARTS, terminated=True)
            else:
                waiting: list[tuple[str, str | None]] = [("Waiting for Cluster", None)]
                self._write("restarting", job_statuses=waiting, cluster=["Stopped"], attempt=attempt + 1)
            return
        ends = await self._runs.execute(self.job_id, attempt, self._is_stopped)
        if self._stopped.is_set():
            self._complete(STOPPED)
        elif "walltime" in {end.ended_by for end in ends}:
            self._complete(WALLTIME, terminated=True)
        else:
            self._complete(RUN_FAILED if any(end.exit_code for end in ends) else SUCCESS)

    async def _restarting(self) -> None:
        if not await self._wait(self._delays.requested):
            self._write("starting", cluster=["Starting"])

    async def _completed(self) -> None:
        await self._clock.sleep(self._delays.idle)
        self._write("stop-requested", cluster=["Stop Requested"])

    async def _stop_requested(self) -> None:
        await self._clock.sleep(self._delays.stop_requested)
        self._write("stopping", cluster=["Stopping"])

    async def _stopping(self) -> None:
        await self._clock.sleep(self._delays.stopping)
        await self._runs.clear(self.job_id)
        self._write(OVER, cluster=["Stopped"], records=[replace(self.job, cluster_up=False)])

    # ---- ends ----

    def _stop_here(self, phase: str) -> None:
        """End a job that was stopped before its commands ran."""
        if phase in _UNVALIDATED:
            self._write("stopping", cluster=["Not Started", "Stop Requested"])
        else:
            self._complete(STOPPED)

    def _complete(self, reason: str, *, cluster: Iterable[str] = (), terminated: bool = False) -> None:
        """End the job: Completed, after Stopping when the service ended it; its key is worth nothing now."""
        self._disconnect(self.job_id)
        statuses: list[tuple[str, str | None]] = [("Stopping", reason)] if terminated else []
        keys = [replace(key, active=False) for key in self._state.keys.values() if key.job_id == self.job_id]
        self._write(
            "completed",
            job_statuses=[*statuses, ("Completed", reason)],
            cluster=cluster,
            records=[*keys, *self._runs.left(self.job_id)],
        )

    async def _execute_for_a_while(self, attempt: int) -> bool:
        """Run the commands on a cluster that is taken away; True when the job was stopped before."""
        runs = asyncio.ensure_future(self._runs.execute(self.job_id, attempt, self._is_stopped, keep=False))
        stopped = await self._wait(self._delays.preempted)
        if not stopped:
            self._disconnect(self.job_id)
            await self._runs.kill(self.job_id, attempt)
        await runs
        return stopped

    # ---- small things ----

    @property
    def _scenario(self) -> Scenario:
        return Scenario.parse(self.job.scenario)

    @property
    def _scenario_seconds(self) -> float:
        number = self._scenario.number
        return self._delays.waiting if number is None else number

    def _is_stopped(self) -> bool:
        return self._stopped.is_set()

    async def _wait(self, seconds: float) -> bool:
        """Wait in the service's time; True when the job was stopped meanwhile."""
        if self._stopped.is_set():
            return True
        waits = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._stopped.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await one
        return self._stopped.is_set()

    def _write(
        self,
        phase: str,
        *,
        job_statuses: Iterable[tuple[str, str | None]] = (),
        cluster: Iterable[str] = (),
        records: Iterable[Record] = (),
        **data: Any,
    ) -> None:
        """Enter a phase, with all that changes by it, in one event."""
        statuses = [(JOB, status, reason) for status, reason in job_statuses]
        statuses += [(CLUSTER, status, None) for status in cluster]
        now = self._clock.now()
        self._state.put(
            *records,
            LifeRecord(self.job_id, {**self.data, **data, "phase": phase}),
            *(
                StatusRecord(
                    self._state.new_id(), of, self.job_id, status, now, self._state.next_number(), reason
                )
                for of, status, reason in statuses
            ),
        )
