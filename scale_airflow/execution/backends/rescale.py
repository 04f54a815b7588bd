# SPDX-License-Identifier: Apache-2.0
"""Jobs on Rescale: the same inputs, command line, manifest and products as in a container, elsewhere.

The worker stages and collects; the node needs disk for the products alone. A job is submitted once an
execution, whichever worker dies when: it is found by a marker in its name, from any host.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeGuard

from dateutil.parser import isoparse

from scale_airflow import crash_points
from scale_airflow.config import Settings
from scale_airflow.errors import ExecutionFailure, RescaleNotFound
from scale_airflow.execution.backends.base import Checkpoint, JobRun, Output
from scale_airflow.execution.backends.rescale_command import ENDING
from scale_airflow.execution.backends.rescale_job import KILLED, Pacing, RescaleJob
from scale_airflow.execution.backends.rescale_launch import NOTES, Launch, Notes, marker_of, remote_of
from scale_airflow.execution.log_sender import note_progress
from scale_airflow.execution.order import ExecutionOrder, RemoteMark
from scale_airflow.execution.staging import Scratch
from scale_airflow.hooks.rescale_connection import RescaleSettings
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.endpoints import list_cluster_statuses, list_job_files, list_statuses
from scale_airflow.rescale.models import JobStatus
from scale_airflow.rescale.stopping import stop
from scale_airflow.rescale.submission import Patience
from scale_airflow.rescale.submission import failed as noted_failure
from scale_airflow.rescale.submission_client import ClientPort, NoStore
from scale_airflow.rescale.submission_steps import Memory
from scale_airflow.rescale.verdict import Cause, Draft, Failed, Verdict, Waiting, judge

_PURPOSE = "ScaleJobOperator"
_HASTY_TRIES = 3
_HASTY_PAUSE = 2.0
_HASTY_TIMEOUT = 5.0

log = logging.getLogger(__name__)


class RescaleBackend:
    """Runs jobs on Rescale.

    :param connect: returns what the connection of a name says.
    """

    name = "rescale"

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[str], RescaleSettings],
        *,
        pacing: Pacing | None = None,
        patience: Patience | None = None,
    ):
        self._settings = settings
        self._connect = connect
        self._pacing = pacing or Pacing()
        self._patience = patience or Patience()
        self._checkpoint: Checkpoint = lambda: None
        self._found: RescaleSettings | None = None

    def prepare(self, order: ExecutionOrder, checkpoint: Checkpoint) -> dict[str, Any]:
        """Read the connection; see :class:`Backend`."""
        self._checkpoint = checkpoint
        remote = remote_of(order)
        self._found = found = self._connect(remote.connection)
        self._client = _client(found)
        if order.continues and order.remote is not None:
            self._note_output(Scratch(self._settings.work_dir, order.execution_id), order.remote)
        return {"image": None}

    def adopt(self, run: JobRun, output: Output) -> RescaleJob | None:
        """Take over the execution's job, running or ended, begun on whichever host; see :class:`Backend`.

        One that was stopped, or did not come to its own end, is not gone on with: a fresh one follows it.
        """
        notes = Notes(run.scratch.root / NOTES)
        memory = notes.recall() or self._find(run.order)
        if memory is None or memory.failed:
            return None
        killed = run.scratch.root / KILLED
        try:
            verdict, statuses = self._look(memory.job_id)
        except RescaleNotFound:
            return None
        if isinstance(verdict, Draft):
            return None
        if killed.exists():
            if isinstance(verdict, Waiting):
                self._client.run(stop(memory.job_id))
            else:
                notes.remember(noted_failure(memory, "it was stopped"))
            killed.unlink()
            return None
        if isinstance(verdict, Waiting):
            if verdict.stopping:
                return None
        elif _was_ended(verdict) and not self._came_to_its_end(memory.job_id):
            run.scratch.create()
            notes.remember(noted_failure(memory, verdict.reason))
            return None
        crash_points.reach("rescale.adopt.before")
        run.scratch.create()
        notes.remember(memory)
        log.info("Going on with job %s at Rescale, which an earlier worker started", memory.job_id)
        job = self._job(memory.job_id, run, output, statuses)
        crash_points.reach("rescale.adopt.after")
        return job

    def start(self, run: JobRun, output: Output) -> RescaleJob:
        """Send the inputs, then make and submit the job, or find it submitted; see :class:`Backend`."""
        launch = Launch(self._known, self._client, self._checkpoint, self._patience)
        outcome = launch.run(run, Notes(run.scratch.root / NOTES))
        log.info("Job %s: %s/jobs/%s/", outcome.job_id, self._client.base_url, outcome.job_id)
        return self._job(outcome.job_id, run, output, [])

    def close(self) -> None:
        """Close the connections; see :class:`Backend`."""
        if self._found is not None:
            self._client.close()

    def _note_output(self, scratch: Scratch, mark: RemoteMark) -> None:
        """Have the output that is kept not sent again, whichever host sent it."""
        scratch.create()
        note_progress(
            scratch.notes,
            {
                "stdout": (mark.stdout.sequence, mark.stdout.size),
                "stderr": (mark.stderr.sequence, mark.stderr.size),
            },
        )

    @property
    def _known(self) -> RescaleSettings:
        if self._found is None:
            raise ExecutionFailure("The connection to Rescale was not read.")
        return self._found

    def _make_hasty(self) -> RescaleClient:
        """Return a client that gives up soon."""
        policy = self._known.policy
        hasty = replace(
            policy,
            tries=min(policy.tries, _HASTY_TRIES),
            longest_pause=_HASTY_PAUSE,
            connect_timeout=min(policy.connect_timeout, _HASTY_TIMEOUT),
            read_timeout=min(policy.read_timeout, _HASTY_TIMEOUT),
        )
        return _client(replace(self._known, policy=hasty))

    def _job(self, job_id: str, run: JobRun, output: Output, statuses: list[JobStatus]) -> RescaleJob:
        return RescaleJob(
            job_id,
            run,
            output,
            settings=self._known,
            client=self._client,
            make_hasty=self._make_hasty,
            pacing=self._pacing,
            walltime=remote_of(run.order).walltime_hours(run.order.timeout),
            executing_since=_newest(statuses, "Executing"),
            ended_at=_newest(statuses, "Completed"),
        ).start()

    def _find(self, order: ExecutionOrder) -> Memory | None:
        """Return the newest job that another host has submitted for this execution."""
        if not order.continues or order.remote is None:
            return None
        port = ClientPort(
            self._client, NoStore(), dict, since=isoparse(order.remote.since), checkpoint=self._checkpoint
        )
        marker = marker_of(order, None)
        for job in port.find_marked(marker.key):
            if marker.payload_of(job.name) is not None and port.read_statuses(job.id):
                return Memory(job.id)
        return None

    def _look(self, job_id: str) -> tuple[Verdict, list[JobStatus]]:
        clusters = self._client.all(list_cluster_statuses(job_id))
        statuses = self._client.all(list_statuses(job_id))
        return judge(statuses, clusters), statuses

    def _came_to_its_end(self, job_id: str) -> bool:
        files = self._client.all(list_job_files(job_id, search=ENDING))
        return any(file.relative_path.rpartition("/")[2] == ENDING for file in files)


def _client(settings: RescaleSettings) -> RescaleClient:
    return RescaleClient(settings.credentials, **settings.client_arguments(_PURPOSE))


def _was_ended(verdict: Verdict) -> TypeGuard[Failed]:
    """Tell whether something else than its own command has ended a job."""
    own = (Cause.RUN_FAILED, Cause.UNKNOWN_REASON)
    return isinstance(verdict, Failed) and verdict.cause not in own


def _newest(statuses: list[JobStatus], name: str) -> float | None:
    """Return when a job last reached a status, in seconds since the epoch, never in the future."""
    found = [each.date for each in statuses if each.status == name and each.date is not None]
    return min(max(found).timestamp(), time.time()) if found else None
