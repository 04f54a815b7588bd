# SPDX-License-Identifier: Apache-2.0
"""When to look at which job again, so that a thousand watched jobs stay far below Rescale's rate limit.

One request lists a thousand jobs with their statuses as the list shows them. That is not enough to judge a
job (it has no reasons), but enough to see that nothing has changed; only jobs whose row has changed, and each
now and then, are looked at one by one. Nothing here asks a server or knows a clock. (Rescale API: list jobs.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

# So few jobs are looked at one by one at each turn.
LIST_FROM = 4
# However quiet a job's row is, it is looked at itself this often: the list might be late.
FULL_LOOK_EVERY = 600.0
# After a look that got no answer.
FAILURE_PAUSE = 5.0
_GROWTH = 0.02
_LONGEST = 60.0

Row = tuple[str, str]


def pause_after(polling: float, quiet: float, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds until the next look.

    :param polling: what the user asked for: the shortest pause.
    :param quiet: how long the job has shown nothing new: one that has been running for an hour is not
        asked as often as one that was just submitted.
    :param draw: gives a number from 0 to 1; the pause is spread by a tenth, so that looks do not bunch.
    """
    pause = max(polling, min(_LONGEST, quiet * _GROWTH))
    return pause * (0.9 + 0.2 * draw())


@dataclass
class _Watched:
    polling: float
    due: float
    changed: float
    looked: float | None = None
    row: Row | None = None
    last: object = None


class Schedule:
    """Keeps, for each job, when its next look is due, and says whether its row in the list will do.

    Times are seconds of a clock that only goes forward.
    """

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._jobs: dict[str, _Watched] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job_id: str, polling: float, now: float) -> None:
        """Watch a job; its first look is due within a polling interval, the sooner the fewer there are."""
        spread = polling if len(self._jobs) >= LIST_FROM else 0.0
        self._jobs[job_id] = _Watched(polling, now + spread * self._draw(), now)

    def remove(self, job_id: str) -> None:
        """Watch it no more."""
        self._jobs.pop(job_id, None)

    def next_due(self) -> float | None:
        """Return when the next look is due; None when nothing is watched."""
        return min((job.due for job in self._jobs.values()), default=None)

    def due(self, now: float, limit: int) -> list[str]:
        """Return the jobs to look at now, the longest overdue first."""
        ripe = [(job.due, job_id) for job_id, job in self._jobs.items() if job.due <= now]
        return [job_id for _, job_id in sorted(ripe)[:limit]]

    @property
    def wants_list(self) -> bool:
        """Whether there are so many jobs that the list saves requests."""
        return len(self._jobs) >= LIST_FROM

    @property
    def shortest_polling(self) -> float:
        """The shortest interval that is asked for; seconds."""
        return min((job.polling for job in self._jobs.values()), default=0.0)

    def unchanged(self, job_ids: Iterable[str], rows: Mapping[str, Row], now: float) -> set[str]:
        """Return those whose row says that a look of their own is not needed; they are due again later."""
        quiet: set[str] = set()
        for job_id in job_ids:
            job, row = self._jobs.get(job_id), rows.get(job_id)
            if job is None or row is None or job.looked is None or row != job.row:
                continue
            if now - job.looked < FULL_LOOK_EVERY * (0.9 + 0.2 * self._draw()):
                job.due = now + pause_after(job.polling, now - job.changed, self._draw)
                quiet.add(job_id)
        return quiet

    def looked(self, job_id: str, seen: object, row: Row | None, now: float) -> None:
        """Note a look at a job.

        :param seen: what it showed, to be compared with the next.
        :param row: its row of a list read *before* the look; None where there was none.
        """
        job = self._jobs.get(job_id)
        if job is None:
            return
        if seen != job.last:
            job.last, job.changed = seen, now
        job.looked, job.row = now, row
        job.due = now + pause_after(job.polling, now - job.changed, self._draw)

    def failed(self, job_id: str, now: float) -> None:
        """Note that a look got no answer."""
        if job := self._jobs.get(job_id):
            job.due = now + pause_after(max(job.polling, FAILURE_PAUSE), 0.0, self._draw)


class Pace:
    """Spaces requests out to a number a second, with no burst.

    :param rate: requests a second.
    """

    def __init__(self, rate: float) -> None:
        self._gap = 1.0 / rate
        self._free = float("-inf")

    def reserve(self, now: float) -> float:
        """Take the next place and return how many seconds it is away."""
        at = max(now, self._free)
        self._free = at + self._gap
        return at - now
