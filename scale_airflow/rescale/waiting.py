# SPDX-License-Identifier: Apache-2.0
"""Waiting for a job on the spot, with its log lines as they come; and the end of its log.

For callers with a thread of their own: the synchronous operator, the command line, job types that run on
Rescale. Triggers wait by :mod:`scale_airflow.triggers.rescale_poller`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from scale_airflow.errors import RescaleError, RescaleNotFound, RescaleServerError, RescaleUnreachable
from scale_airflow.rescale.cadence import pause_after
from scale_airflow.rescale.calls import Flow
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.endpoints import (
    get_file_contents,
    list_cluster_statuses,
    list_job_files,
    list_statuses,
    tail,
)
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.following import LOG_NAME, WIDEST_WINDOW, LineFollower, last_lines
from scale_airflow.rescale.verdict import (
    Cause,
    Draft,
    Failed,
    FailureDetection,
    Succeeded,
    Waiting,
    Watch,
    needs_cluster,
    newest_first,
)

OUTAGE_BUDGET = 3600.0
# So long a job may look as if it had never been submitted, or did not exist, just after its submit.
LATE = 60.0
_SLICE = 0.5
_LOG_BYTES = 1024 * 1024


class JobWait:
    """Waits for one job.

    :param polling: seconds between looks; more when nothing changes for long.
    :param on_status: told each new status.
    :param on_line: told each line of the log; None: the log is not read.
    :param on_executing: called at each look while the job's command runs, for more than its log.
    :param checkpoint: called at least twice a second; raises to end the waiting.
    :param deadline: on the clock of ``time.monotonic``.
    :param outage_budget: seconds that Rescale may fail to answer.
    """

    def __init__(
        self,
        client: RescaleClient,
        job_id: str,
        *,
        detection: FailureDetection = FailureDetection.STRICT,
        polling: float = 15.0,
        on_status: Callable[[str], None] = lambda status: None,
        on_line: Callable[[str], None] | None = None,
        on_executing: Callable[[], None] = lambda: None,
        checkpoint: Callable[[], None] = lambda: None,
        deadline: float | None = None,
        outage_budget: float = OUTAGE_BUDGET,
    ) -> None:
        self._client = client
        self._job_id = job_id
        self._watch = Watch(detection)
        self._polling = polling
        self._on_status = on_status
        self._on_line = on_line
        self._on_executing = on_executing
        self._checkpoint = checkpoint
        self._deadline = deadline
        self._outage_budget = outage_budget
        self._follower = LineFollower()
        self._status = ""
        self._changed = time.monotonic()
        self._absent_since: float | None = None

    def wait(self) -> Succeeded | Failed | None:
        """Return how the job ended; None if it had not by the deadline: it goes on.

        :raises RescaleError: if Rescale did not answer for longer than the outage budget, or refuses to.
        """
        trouble_since: float | None = None
        while True:
            now = time.monotonic()
            try:
                end = self._look(now)
                trouble_since = None
            except (RescaleUnreachable, RescaleServerError) as error:
                trouble_since = now if trouble_since is None else trouble_since
                if now - trouble_since >= self._outage_budget:
                    raise
                self._on_status(f"can't be looked at: {error}")
                end = None
            if end is not None:
                self._show_rest()
                return end
            if not self._nap(pause_after(self._polling, now - self._changed)):
                return None

    def _look(self, now: float) -> Succeeded | Failed | None:
        try:
            clusters = self._client.all(list_cluster_statuses(self._job_id))
            statuses = self._client.all(list_statuses(self._job_id))
        except RescaleNotFound:
            return self._absent("There is no such job any more", now)
        if not needs_cluster(statuses):
            clusters = []
        verdict = self._watch.look(statuses, clusters, now)
        if isinstance(verdict, Draft):
            return self._absent("The job was never submitted", now)
        self._absent_since = None
        newest = newest_first(statuses)
        status = newest[0].status if newest else "Pending"
        if status != self._status:
            self._status, self._changed = status, now
            self._on_status(status)
        if isinstance(verdict, Waiting):
            if verdict.executing:
                self._follow()
                self._on_executing()
            return None
        return verdict

    def _absent(self, reason: str, now: float) -> Failed | None:
        if self._absent_since is None:
            self._absent_since = now
        return Failed(Cause.ENDED_EARLY, reason) if now - self._absent_since >= LATE else None

    def _follow(self) -> None:
        if self._on_line is None:
            return
        try:
            found = self._client.send(tail(self._job_id, "1", LOG_NAME, lines=self._follower.window))
        except RescaleError:
            # It is not there yet, or not any more; nothing depends on it.
            return
        self._show(self._follower.look(found.lines))

    def _show_rest(self) -> None:
        """Show what was written since the last look."""
        if self._on_line is not None:
            self._show(self._follower.end(end_of_log(self._client, self._job_id, WIDEST_WINDOW)))

    def _show(self, lines: list[str]) -> None:
        for line in lines if self._on_line is not None else ():
            assert self._on_line is not None
            self._on_line(line)

    def _nap(self, seconds: float) -> bool:
        """Sleep in slices, since a signal's handler can't end a sleep. False: the deadline is there."""
        until = time.monotonic() + seconds
        while True:
            self._checkpoint()
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                return False
            if now >= until:
                return True
            time.sleep(min(_SLICE, until - now))


def log_file(files: list[RemoteFile]) -> RemoteFile | None:
    """Return the log among a job's files; of several runs, the last one's."""
    logs = [file for file in files if file.name == LOG_NAME]
    return logs[-1] if logs else None


def end_of_log(client: RescaleClient, job_id: str, count: int) -> tuple[str, ...]:
    """Return the last lines of an ended job's ``process_output.log``; nothing where there is none."""
    return client.run(log_end(job_id, count))


def log_end(job_id: str, count: int) -> Flow[tuple[str, ...]]:
    """Do as :func:`end_of_log`, for both clients."""
    if count <= 0:
        return ()
    try:
        files: list[RemoteFile] = yield list_job_files(job_id, search=LOG_NAME)
        file = log_file(files)
        if file is None or not file.size:
            return ()
        first = max(0, file.size - _LOG_BYTES)
        read: bytes = yield get_file_contents(file.id, first=first, last=file.size - 1)
    except RescaleError:
        # How the job ended must be told even where its log can't be had.
        return ()
    return last_lines(read.decode("utf-8", "replace").splitlines(), count)
