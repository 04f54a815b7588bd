# SPDX-License-Identifier: Apache-2.0
"""A job at Rescale from its submit to its results: its output as it comes, its end, its files."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from scale_airflow import crash_points
from scale_airflow.errors import ExecutionFailure, RescaleError, ScaleError
from scale_airflow.execution.backends.base import Ending, JobRun, Output
from scale_airflow.execution.backends.rescale_command import ENDING, OUTPUT_DATA, STDERR, STDOUT, RemoteEnding
from scale_airflow.execution.log_sender import STREAMS
from scale_airflow.execution.order import Stream
from scale_airflow.hooks.rescale_connection import RescaleSettings
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.endpoints import get_file_contents, list_job_files, tail_bytes
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.stopping import stop
from scale_airflow.rescale.transfers.download import Downloader
from scale_airflow.rescale.verdict import Cause, Failed, FailureDetection, Succeeded
from scale_airflow.rescale.waiting import JobWait, end_of_log

KILLED = "killed"
"""Name of the file in the scratch folder that says: the job was stopped, nobody may go on with it."""
LAST_LINES = 30
_RUN = "1"
_LOGS: Mapping[Stream, str] = {"stdout": STDOUT, "stderr": STDERR}
_READ = 1 << 20
_HOUR = 3600.0
# A walltime that was used up to this share is what ended a job that did not say how it ended.
_SPENT = 0.98
_JOIN = 10.0
_KILL_PATIENCE = 2.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pacing:
    """How often and how long Rescale is asked; seconds.

    :param polling: between two looks, longer when nothing changes.
    :param outage: how long it may fail to answer.
    :param late_files: how long the files of a job that has ended may be missing in the list.
    """

    polling: float = 5.0
    outage: float = 3600.0
    late_files: float = 30.0


class _ClosedError(Exception):
    """Nobody waits for the job any more."""


class RescaleJob:
    """A submitted job, followed by a thread of its own; see :class:`RunningJob`.

    :param client: for the following.
    :param make_hasty: returns a client for stopping, which gives up soon.
    :param walltime: in hours, after which Rescale ends the job.
    :param executing_since: in seconds since the epoch, if that is known already; so is ``ended_at``.
    """

    def __init__(
        self,
        job_id: str,
        run: JobRun,
        output: Output,
        *,
        settings: RescaleSettings,
        client: RescaleClient,
        make_hasty: Callable[[], RescaleClient],
        pacing: Pacing,
        walltime: int | None,
        executing_since: float | None = None,
        ended_at: float | None = None,
    ):
        self.started_at = executing_since or time.time()
        self.ended_at = ended_at
        self.is_waiting = executing_since is None
        self.facts: Mapping[str, Any] = {
            "rescale": {"job_id": job_id, "url": f"{client.base_url}/jobs/{job_id}/"}
        }
        self._job_id = job_id
        self._run = run
        self._output = output
        self._settings = settings
        self._client = client
        self._make_hasty = make_hasty
        self._pacing = pacing
        self._walltime = walltime
        self._taken = dict.fromkeys(STREAMS, 0)
        self._executing_since = executing_since
        self._closing = threading.Event()
        self._over = False
        self._ending: Ending | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._follow, name="scale-rescale", daemon=True)

    def start(self) -> RescaleJob:
        """Begin to follow the job."""
        self._thread.start()
        return self

    def wait(self, seconds: float) -> Ending | None:
        """Wait for the job's end and its files; see :class:`RunningJob`."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            return None
        if self._error is not None:
            raise self._error
        if self._ending is None:
            raise ExecutionFailure(
                f"Nobody follows the Rescale job {self._job_id} any more.", error_name="mesos-lost"
            )
        return self._ending

    def kill(self) -> None:
        """Stop the job at Rescale; see :class:`RunningJob`."""
        if self._over:
            return
        try:
            self._run.scratch.root.mkdir(parents=True, exist_ok=True)
            (self._run.scratch.root / KILLED).touch()
        except OSError as error:
            log.warning("That job %s was stopped can't be noted: %s", self._job_id, error.strerror)
        self._stop(_KILL_PATIENCE)

    def written_mib(self) -> float:
        """Return 0: what comes here comes into the scratch folder; see :class:`RunningJob`."""
        return 0.0

    def close(self) -> None:
        """Stop the job if it still runs, and follow it no more; see :class:`RunningJob`."""
        self._closing.set()
        if not self._over:
            self._stop(_JOIN)
        self.leave()

    def leave(self) -> None:
        """Follow it no more, and let it run: it is another worker's now; see :class:`RunningJob`."""
        self._closing.set()
        self._thread.join(_JOIN)

    def _stop(self, patience: float) -> None:
        # In a thread and with a client of its own: this may run in a signal's handler, in the middle of a
        # request, and Airflow gives a task that it ends a few seconds.
        stopping = threading.Thread(target=self._order_stop, name="scale-rescale-stop", daemon=True)
        stopping.start()
        stopping.join(patience)

    def _order_stop(self) -> None:
        try:
            with self._make_hasty() as client:
                crash_points.reach("rescale.stop.before")
                outcome = client.run(stop(self._job_id))
                crash_points.reach("rescale.stop.after")
        except RescaleError as error:
            # The API server looks for it once the execution is over, and stops it.
            log.warning("Job %s at Rescale could not be stopped: %s", self._job_id, error)
        else:
            log.info("Job %s at Rescale: %s", self._job_id, outcome)

    # -- in the thread --------------------------------------------------------------------------------------
    def _follow(self) -> None:
        try:
            verdict = JobWait(
                self._client,
                self._job_id,
                detection=FailureDetection.KNOWN,
                polling=self._pacing.polling,
                on_status=self._note_status,
                on_executing=self._read_logs,
                checkpoint=self._checkpoint,
                outage_budget=self._pacing.outage,
            ).wait()
            assert verdict is not None  # there is no deadline
            self._over = True
            self._ending = self._end(verdict)
        except _ClosedError:
            return
        except (ScaleError, OSError) as error:
            self._error = error
        except Exception as error:
            log.exception("Job %s at Rescale can't be followed", self._job_id)
            self._error = ExecutionFailure(
                f"The Rescale job {self._job_id} could not be followed: {type(error).__name__}: {error}"
            )

    def _checkpoint(self) -> None:
        if self._closing.is_set():
            raise _ClosedError

    def _note_status(self, status: str) -> None:
        log.info("Job %s at Rescale: %s", self._job_id, status)
        if status == "Executing":
            if self._executing_since is None:
                self._executing_since = self.started_at = time.time()
            self.is_waiting = False
        elif status in ("Completed", "Stopping", "Force Stop"):
            self.is_waiting = False

    def _read_logs(self) -> None:
        """Hand on what the algorithm has written so far, up to what is kept of it."""
        for stream, name in _LOGS.items():
            self._checkpoint()
            if self._taken[stream] >= self._run.order.max_log_bytes:
                continue  # each look brings the whole of it
            try:
                found = self._client.send(tail_bytes(self._job_id, _RUN, name))
            except RescaleError:
                continue  # it is not there yet, or not any more; in the end it comes as a file
            self._take(stream, found[self._from(stream, len(found)) :])

    def _from(self, stream: Stream, size: int) -> int:
        """Return where what is new in a log begins; one that has become shorter was begun anew there."""
        if size < self._taken[stream]:
            self._taken[stream] = 0
        return self._taken[stream]

    def _take(self, stream: Stream, data: bytes) -> None:
        if data:
            self._taken[stream] += len(data)
            self._output.write(stream, data)

    def _end(self, verdict: Succeeded | Failed) -> Ending:
        """Fetch what the job has left and say how it ended.

        :raises ExecutionFailure: if the algorithm did not come to its own end.
        """
        files = self._files(verdict)
        found = files.get(ENDING)
        ending = None
        if found is not None:
            text = self._client.send(get_file_contents(found.id)).decode("utf-8", "replace")
            ending = RemoteEnding.parse(text)
        wanted = [name for name in files if name in _LOGS.values()]
        if ending is not None and ending.exit_code == 0:
            wanted += [name for name in files if name.startswith(f"{OUTPUT_DATA}/")]
        crash_points.reach("rescale.download.before")
        self._download([replace(files[name], relative_path=name) for name in wanted])
        crash_points.reach("rescale.download.after")
        for stream, name in _LOGS.items():
            self._read_to_the_end(stream, name)
        if ending is None or (ending.exit_code == 0 and _spoils(verdict)):
            raise self._lost(verdict)
        now = time.time()
        ended = min(ending.ended, now)
        return Ending(
            ending.exit_code,
            started=_iso(min(ending.started, ended)),
            finished=_iso(ended),
            folder=ending.folder,
        )

    def _files(self, verdict: Succeeded | Failed) -> dict[str, RemoteFile]:
        """Return the job's files by their paths below its folder."""
        give_up = time.monotonic() + self._pacing.late_files
        # Of a job that never began there are none.
        patient = isinstance(verdict, Succeeded) or verdict.cause is Cause.RUN_FAILED
        while True:
            self._checkpoint()
            files = self._client.all(list_job_files(self._job_id))
            for file in files:
                folder, slash, name = file.relative_path.rpartition("/")
                if name == ENDING:
                    return _below(f"{folder}{slash}", files)
            if not patient or time.monotonic() > give_up:
                return _below("", files)
            self._closing.wait(min(1.0, self._pacing.late_files))

    def _download(self, files: Sequence[RemoteFile]) -> None:
        if not files:
            return
        arguments = self._settings.client_arguments("ScaleJobOperator")
        arguments.pop("max_concurrency")
        with Downloader(self._settings.credentials, **arguments) as downloader:
            downloader.download(files, self._run.scratch.root, progress=lambda progress: self._checkpoint())

    def _read_to_the_end(self, stream: Stream, name: str) -> None:
        path = self._run.scratch.root / name
        if not path.is_file():
            return
        with path.open("rb") as file:
            file.seek(self._from(stream, path.stat().st_size))
            while block := file.read(_READ):
                self._checkpoint()
                self._take(stream, block)

    def _lost(self, verdict: Succeeded | Failed) -> ExecutionFailure:
        """Return the failure of a job that did not say how it ended."""
        reason = verdict.reason if isinstance(verdict, Failed) else "it has not left how it ended"
        lines = end_of_log(self._client, self._job_id, LAST_LINES)
        shown = "\n" + "\n".join(lines) if lines else ""
        since = self._executing_since
        if since is not None and self._walltime and time.time() - since >= self._walltime * _HOUR * _SPENT:
            return ExecutionFailure(
                f"The Rescale job {self._job_id} has reached its walltime of {self._walltime} hours: "
                f"{reason.rstrip('.')}.{shown}",
                error_name="timeout",
            )
        return ExecutionFailure(
            f"The Rescale job {self._job_id} did not come to its end: {reason.rstrip('.')}.{shown}",
            error_name="mesos-lost",
        )


def _spoils(verdict: Succeeded | Failed) -> bool:
    """Tell whether results may be missing though the algorithm ended well."""
    return isinstance(verdict, Failed)


def _below(folder: str, files: Sequence[RemoteFile]) -> dict[str, RemoteFile]:
    return {
        file.relative_path.removeprefix(folder): file
        for file in files
        if file.relative_path.startswith(folder)
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")
