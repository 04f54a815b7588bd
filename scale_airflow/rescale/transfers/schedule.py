# SPDX-License-Identifier: Apache-2.0
"""Who fetches what next: several connections a file, files side by side, nobody idle in vain."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from scale_airflow.rescale.transfers.adaptation import Adaptation

_MOST_OPEN = 8
"""Large files that are open at once: their ends overlap, so that no connection waits for the last piece."""


_FAR_BEHIND = 0.1


class Stopped(Exception):  # noqa: N818 - an event for the workers, never seen by users
    """Everything ends: something has failed, or the caller wants no more."""


class Work(Protocol):
    """What a worker does at a time."""

    def run(self, worker: int) -> None:
        """Do it."""


class Job(Protocol):
    """All of the work for one file."""

    def open(self, worker: int) -> None:
        """Begin: afterwards there is work to take, or it is done."""

    def take(self, connections: int) -> Work | None:
        """Return work that nobody does yet."""

    def take_over(self) -> Work | None:
        """Return a part of the work that somebody does slowly."""


class Schedule:
    """Hands out work until all jobs are done or one has failed.

    There may come more jobs until :meth:`complete`.
    """

    def __init__(self, adaptation: Adaptation) -> None:
        self._waiting: deque[Job] = deque()
        self._unfinished = 0
        self._is_complete = False
        self._resting = 0
        self._open: list[Job] = []
        self._adaptation = adaptation
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self.failure: BaseException | None = None

    # -- for workers -----------------------------------------------------------------------------------------
    def next(self, worker: int) -> Callable[[], None] | None:
        """Return what a worker has to do next, None when there will be nothing any more.

        :param worker: its number from 0; one beyond the number of helpful connections rests meanwhile.
        """
        with self._changed:
            while not self._stop.is_set() and (self._unfinished or not self._is_complete):
                helpful = worker < self._adaptation.allowed
                if helpful and (found := self._find(worker)) is not None:
                    return found
                self._resting += helpful
                self._changed.wait(1.0)
                self._resting -= helpful
            return None

    def arrived(self, count: int, *, requests: int = 0) -> None:
        """Note bytes and finished requests.

        :raises Stopped: if everything ends.
        """
        if self._stop.is_set():
            raise Stopped
        if self._adaptation.arrived(count, requests=requests):
            self.wake()

    def throttled(self) -> None:
        """Note that the server wants fewer requests."""
        if self._adaptation.throttled():
            self.wake()

    def pause(self, seconds: float) -> None:
        """Let time pass.

        :raises Stopped: if everything ends meanwhile.
        """
        if self._stop.wait(seconds):
            raise Stopped

    def is_slow(self, rate: float) -> bool:
        """Return whether a connection of this rate (bytes a second) is far behind what one can do."""
        return rate < _FAR_BEHIND * self._adaptation.best_each

    @property
    def is_stopped(self) -> bool:
        """Whether everything ends."""
        return self._stop.is_set()

    # -- for jobs --------------------------------------------------------------------------------------------
    def wake(self) -> None:
        """Let resting workers look again."""
        with self._changed:
            self._changed.notify_all()

    def finished(self, job: Job) -> None:
        """Note that a job is done."""
        with self._changed:
            self._unfinished -= 1
            if job in self._open:
                self._open.remove(job)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """End everything because of an error; the first one counts."""
        with self._changed:
            if self.failure is None and not self._stop.is_set():
                self.failure = error
            self._stop.set()
            self._changed.notify_all()

    # -- for the caller --------------------------------------------------------------------------------------
    def add(self, jobs: Iterable[Job]) -> None:
        """Add jobs, in the order in which they begin."""
        with self._changed:
            before = len(self._waiting)
            self._waiting.extend(jobs)
            self._unfinished += len(self._waiting) - before
            self._changed.notify_all()

    def stop(self) -> None:
        """End everything."""
        self._stop.set()
        self.wake()

    def complete(self) -> None:
        """Say that no more jobs will come."""
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()

    @property
    def is_hungry(self) -> bool:
        """Whether a worker that could help has nothing to do."""
        with self._changed:
            return self._resting > 0 and not self._waiting

    def wait(self, tick: Callable[[], None]) -> None:
        """Wait until all jobs are done or one has failed.

        :param tick: called now and then; what it raises passes.
        """
        while not self._wait_a_moment():
            tick()

    def _wait_a_moment(self) -> bool:
        with self._changed:
            # Not longer: now and then, signals reach the main thread.
            return self._changed.wait_for(lambda: not self._unfinished or self._stop.is_set(), 0.5)

    def _find(self, worker: int) -> Callable[[], None] | None:
        connections = self._adaptation.allowed
        for job in self._open:
            if (work := job.take(connections)) is not None:
                return partial(work.run, worker)
        if self._waiting and len(self._open) < _MOST_OPEN + connections:
            begun = self._waiting.popleft()
            self._open.append(begun)
            return partial(begun.open, worker)
        for job in self._open:
            if (work := job.take_over()) is not None:
                return partial(work.run, worker)
        return None
