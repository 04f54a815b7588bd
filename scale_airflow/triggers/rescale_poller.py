# SPDX-License-Identifier: Apache-2.0
"""One poller for all jobs of a connection that this triggerer watches.

Each trigger subscribes; the poller looks for all of them (:mod:`scale_airflow.rescale.cadence` decides at
which job) and puts what it saw into their queues. It never judges, logs or stops anything: a trigger does,
under its own name and in its own log. It ends with its last subscriber.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from scale_airflow.errors import RescaleError, RescaleUnauthorized, ScaleError
from scale_airflow.rescale.async_client import AsyncRescaleClient
from scale_airflow.rescale.cadence import Pace, Row, Schedule
from scale_airflow.rescale.endpoints import list_cluster_statuses, list_jobs, list_statuses, tail
from scale_airflow.rescale.following import FIRST_WINDOW, LOG_NAME
from scale_airflow.rescale.models import ClusterStatus, JobStatus
from scale_airflow.rescale.verdict import needs_cluster, newest_first

# Rescale allows 25 requests a second to /jobs/ and a job's own paths; what else this key does needs some too.
LOOKS_PER_SECOND = 12.0
TAILS_PER_SECOND = 3.0
_BATCH = 64
_AT_ONCE = 8
_PAGE = 1000
_LONGEST_NAP = 60.0
_SHORTEST_NAP = 0.5
_TAIL_PAUSE = 1.0
_AFTER_FAILURE = 5.0


@dataclass(frozen=True)
class Look:
    """What a job and its cluster showed; the cluster was read first.

    :param at: when, on the clock of ``time.monotonic``.
    """

    statuses: Sequence[JobStatus]
    clusters: Sequence[ClusterStatus]
    at: float


@dataclass(frozen=True)
class Trouble:
    """A look that got no answer."""

    error: ScaleError
    at: float


@dataclass(frozen=True)
class Lines:
    """The last lines of the job's log."""

    lines: Sequence[str]


Sight = Look | Trouble | Lines


@dataclass
class Subscription:
    """One trigger's view of its job."""

    job_id: str
    polling: float
    follow_log: bool
    sights: asyncio.Queue[Sight] = field(default_factory=asyncio.Queue)
    window: int = FIRST_WINDOW
    executing: bool = False
    tail_due: float = 0.0


Connect = Callable[[], Awaitable[AsyncRescaleClient]]


class JobPoller:
    """Watches the jobs of one connection in one event loop.

    :param connect: makes a client; called again when the key was refused, since it may have been changed.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        looks_per_second: float = LOOKS_PER_SECOND,
        tails_per_second: float = TAILS_PER_SECOND,
    ) -> None:
        self._connect = connect
        self._client: AsyncRescaleClient | None = None
        self._subscriptions: dict[int, Subscription] = {}
        self._schedule = Schedule()
        self._pace = Pace(looks_per_second)
        self._tail_pace = Pace(tails_per_second)
        self._rows: dict[str, Row] = {}
        self._listed = float("-inf")
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def watch(self, job_id: str, *, polling: float, follow_log: bool) -> AsyncIterator[Subscription]:
        """Watch a job for as long as the context lasts; what is seen comes in ``sights``."""
        subscription = Subscription(job_id, polling, follow_log)
        self._subscriptions[id(subscription)] = subscription
        self._schedule.add(job_id, self._polling_of(job_id), time.monotonic())
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._keep_on(self._look_on)),
                asyncio.create_task(self._keep_on(self._tail_on)),
            ]
        self._wake.set()
        try:
            yield subscription
        finally:
            del self._subscriptions[id(subscription)]
            if not self._of(job_id):
                self._schedule.remove(job_id)
            if not self._subscriptions:
                await self._end()

    @property
    def watched(self) -> int:
        """How many triggers watch."""
        return len(self._subscriptions)

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not self._subscriptions:
            await self._disconnect()

    def _of(self, job_id: str) -> list[Subscription]:
        return [one for one in self._subscriptions.values() if one.job_id == job_id]

    def _polling_of(self, job_id: str) -> float:
        return min(one.polling for one in self._of(job_id))

    async def _keep_on(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a loop again after whatever ends it: no trigger may wait for a poller that is no more."""
        while True:
            try:
                await loop()
            except Exception as error:
                watched = [one.job_id for one in self._subscriptions.values()]
                await self._troubled(watched, RescaleError(f"Watching failed: {error!r}"))
                await asyncio.sleep(_AFTER_FAILURE)

    async def _look_on(self) -> None:
        """Look at what is due, for ever."""
        while True:
            self._wake.clear()
            now = time.monotonic()
            due = self._schedule.due(now, _BATCH)
            if due:
                await self._round(due)
            next_due = self._schedule.next_due()
            nap = _LONGEST_NAP if next_due is None else min(_LONGEST_NAP, next_due - time.monotonic())
            # Jobs that are due one after the other are looked at together.
            nap = max(nap, min(_SHORTEST_NAP, self._schedule.shortest_polling))
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), nap)

    async def _round(self, due: Sequence[str]) -> None:
        """Look at some jobs: in the list where it will do, at each itself where it won't."""
        try:
            if self._client is None:
                self._client = await self._connect()
            if self._schedule.wants_list:
                await self._read_list(self._client)
        except ScaleError as error:
            await self._troubled(due, error)
            return
        rows = dict(self._rows) if self._schedule.wants_list else {}
        quiet = self._schedule.unchanged(due, rows, time.monotonic())
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(client: AsyncRescaleClient, job_id: str) -> None:
            async with gate:
                await self._look(client, job_id, rows.get(job_id))

        await asyncio.gather(*(one(self._client, job_id) for job_id in due if job_id not in quiet))

    async def _read_list(self, client: AsyncRescaleClient) -> None:
        """Bring the rows up to date, unless they are young enough."""
        now = time.monotonic()
        if now - self._listed < self._schedule.shortest_polling / 2:
            return
        await self._wait_for(self._pace)
        wanted = len(self._schedule)
        rows: dict[str, Row] = {}
        call = list_jobs(state="not_completed", page_size=_PAGE)
        seen = 0
        async for job in client.pages(call):
            rows[job.id] = (job.status, job.cluster_status)
            seen += 1
            # Beyond that they are somebody's old drafts; a job that is not found is looked at itself.
            if seen >= 3 * _PAGE + 2 * wanted:
                break
        self._rows, self._listed = rows, now

    async def _look(self, client: AsyncRescaleClient, job_id: str, row: Row | None) -> None:
        """Look at one job and tell its triggers."""
        try:
            await self._wait_for(self._pace)
            clusters = await client.all(list_cluster_statuses(job_id))
            await self._wait_for(self._pace)
            statuses = await client.all(list_statuses(job_id))
        except RescaleUnauthorized as error:
            await self._troubled([job_id], error)
            await self._disconnect()
            return
        except ScaleError as error:
            await self._troubled([job_id], error)
            return
        now = time.monotonic()
        newest = newest_first(statuses)
        self._schedule.looked(job_id, tuple((entry.status, entry.reason) for entry in newest), row, now)
        for subscription in self._of(job_id):
            subscription.executing = bool(newest) and newest[0].status == "Executing"
            subscription.sights.put_nowait(Look(statuses, clusters if needs_cluster(statuses) else (), now))

    async def _troubled(self, job_ids: Sequence[str], error: ScaleError) -> None:
        now = time.monotonic()
        for job_id in job_ids:
            self._schedule.failed(job_id, now)
            for subscription in self._of(job_id):
                subscription.sights.put_nowait(Trouble(error, now))

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _tail_on(self) -> None:
        """Read the logs of executing jobs, one after the other."""
        while True:
            now = time.monotonic()
            wanted = [
                one
                for one in self._subscriptions.values()
                if one.follow_log and one.executing and one.tail_due <= now
            ]
            if not wanted or self._client is None:
                await asyncio.sleep(_TAIL_PAUSE / 2)
                continue
            subscription = min(wanted, key=lambda one: one.tail_due)
            await self._wait_for(self._tail_pace)
            subscription.tail_due = time.monotonic() + max(_TAIL_PAUSE, subscription.polling)
            # The log may not be there yet, or not any more: the job's end tells the rest.
            with contextlib.suppress(RescaleError):
                found = await self._client.send(
                    tail(subscription.job_id, "1", LOG_NAME, lines=subscription.window)
                )
                subscription.sights.put_nowait(Lines(found.lines))

    @staticmethod
    async def _wait_for(pace: Pace) -> None:
        wait = pace.reserve(time.monotonic())
        if wait > 0:
            await asyncio.sleep(wait)


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, JobPoller]] = (
    weakref.WeakKeyDictionary()
)


def poller_of(connection_id: str, connect: Connect) -> JobPoller:
    """Return this event loop's poller of a connection."""
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    return pollers.setdefault(connection_id, JobPoller(connect))
