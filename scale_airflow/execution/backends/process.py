# SPDX-License-Identifier: Apache-2.0
"""Jobs as plain processes of the worker, for trusted algorithms: on only with ``[scale] allow_process_jobs``.

A job has a clean environment, a session of its own and the memory of its order (counted as private memory of
all its processes twice a second, since a limit on address space would stop programs that only reserve it). It
is not confined otherwise: it sees what the worker's user sees.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import logging
import marshal
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, BinaryIO

from scale_airflow import crash_points
from scale_airflow.config import Settings
from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration
from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.backends import keeper
from scale_airflow.execution.backends.base import Checkpoint, Ending, JobRun, Output
from scale_airflow.execution.command import build_argv
from scale_airflow.execution.order import ExecutionOrder, Stream
from scale_airflow.execution.processes import KEEPER, MARKER, kill_processes
from scale_airflow.execution.staging import StagedInputs

_READ = 64 << 10
# Compiled here, or read from Python's cache, once for all jobs: an interpreter compiles its script each time.
_KEEPER_CODE = marshal.dumps(
    importlib.machinery.SourceFileLoader(keeper.__name__, str(KEEPER)).get_code(keeper.__name__)
)
_DRAIN = 10.0

log = logging.getLogger(__name__)


class ProcessBackend:
    """Runs jobs as processes of the worker's user."""

    name = "process"

    def __init__(self, settings: Settings):
        self._settings = settings

    def prepare(self, order: ExecutionOrder, checkpoint: Checkpoint) -> dict[str, Any]:
        """Check that the installation allows it; see :class:`Backend`."""
        if not self._settings.allow_process_jobs:
            raise ExecutionFailure(
                "This worker runs no jobs as plain processes. Set [scale] allow_process_jobs for trusted "
                "algorithms, or give the job type a Docker image and use [scale] backend = docker."
            )
        return {"image": None}

    def adopt(self, run: JobRun, output: Output) -> None:
        """Return None: the job of a worker that died has died with it; see :class:`Backend`.

        That of a worker which lives, but was given up, is killed: both would write to the same folder.
        """
        if run.scratch.root.exists():
            kill_processes(self._settings.work_dir, run.order.execution_id)

    def start(self, run: JobRun, output: Output) -> ProcessJob:
        """Link the inputs to their places and start the job; see :class:`Backend`."""
        crash_points.reach("process.links.before")
        place_links(run.staged)
        crash_points.reach("process.links.after")
        argv = build_argv(run.interface, list(run.arguments), has_entrypoint=False)
        configuration = JobTypeConfiguration.parse(run.order.configuration)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(run.scratch.output_work),
            "TMPDIR": str(run.scratch.output_work),
            **configuration.env_vars,
            MARKER: str(run.scratch.root),
        }
        return ProcessJob(
            {
                "argv": argv,
                "environment": environment,
                "directory": str(run.scratch.output_work),
                "memory_bytes": int(run.order.mem_mib * (1 << 20)),
            },
            str(run.scratch.root),
            output,
        )

    def close(self) -> None:
        """Do nothing: there is nothing to give back; see :class:`Backend`."""


class ProcessJob:
    """A job below its keeper (see ``keeper.py``), with a thread for each of its streams."""

    def __init__(self, order: dict[str, Any], marker: str, output: Output):
        control, self._control = os.pipe()
        self._status, status = os.pipe()
        self._lock = threading.RLock()  # kill() may interrupt kill() in a signal's handler
        self._killed = False
        self.started_at = time.time()
        self.ended_at: float | None = None
        self.is_waiting = False
        self.facts: Mapping[str, Any] = {}
        self._report: bytes | None = None
        try:
            crash_points.reach("process.start.before")
            with _file_with(_KEEPER_CODE) as code:
                given = code.fileno(), control, status
                self._keeper = subprocess.Popen(  # noqa: S603 - our own code, no shell
                    [sys.executable, "-I", "-S", "-c", keeper.BOOT, str(KEEPER), *map(str, given)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={MARKER: marker},
                    pass_fds=given,
                    start_new_session=True,
                )
        except OSError as error:
            os.close(self._control)
            os.close(self._status)
            raise ExecutionFailure(f"The job's process can't be started: {error}.") from error
        finally:
            os.close(control)
            os.close(status)
        self._readers = [
            threading.Thread(target=_read, args=(pipe, stream, output), name=f"scale-{stream}", daemon=True)
            for pipe, stream in ((self._keeper.stdout, "stdout"), (self._keeper.stderr, "stderr"))
        ]
        for reader in self._readers:
            reader.start()
        with contextlib.suppress(BrokenPipeError):  # then the keeper's end says what happened
            data = marshal.dumps(order)
            _write(self._control, b"%08d" % len(data) + data)
        crash_points.reach("process.start.after")

    def wait(self, seconds: float) -> Ending | None:
        """Wait for the keeper's end; see :class:`RunningJob`."""
        try:
            self._keeper.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        if self._report is None:
            self._report = os.read(self._status, 4096)
        if not self._report:
            raise ExecutionFailure(
                "The job was lost: its keeper was killed from outside.", error_name="mesos-lost"
            )
        # No process of the job is left, so the streams end; how soon depends on who takes their bytes.
        for reader in self._readers:
            reader.join(seconds)
            if reader.is_alive():
                return None
        exit_code, out_of_memory, started, finished = self._report.split()
        return Ending(
            exit_code=int(exit_code),
            out_of_memory=out_of_memory == b"1",
            started=_iso(float(started)),
            finished=_iso(float(finished)),
        )

    def kill(self) -> None:
        """Have the keeper kill every process of the job; see :class:`RunningJob`."""
        with self._lock:
            if not self._killed:
                self._killed = True
                os.close(self._control)

    def written_mib(self) -> float:
        """Return 0: it is asked to write to its scratch folder alone; see :class:`RunningJob`."""
        return 0.0

    def leave(self) -> None:
        """Do as :meth:`close`: nobody can take its streams over; see :class:`RunningJob`."""
        self.close()

    def close(self) -> None:
        """Kill what still runs and give the descriptors back; see :class:`RunningJob`."""
        self.kill()
        self._keeper.wait()
        for reader in self._readers:
            reader.join(_DRAIN)
        for pipe in (self._keeper.stdout, self._keeper.stderr):
            if pipe is not None:
                pipe.close()
        with self._lock:
            if self._status >= 0:
                os.close(self._status)
                self._status = -1


def place_links(staged: StagedInputs) -> None:
    """Make a link at the place of each input file to where it really lies."""
    for file in staged.files:
        file.target.parent.mkdir(parents=True, exist_ok=True)
        if file.target.is_symlink() or file.target.exists():
            file.target.unlink()
        file.target.symlink_to(file.source)


def _read(pipe: Any, stream: Stream, output: Output) -> None:
    try:
        while data := os.read(pipe.fileno(), _READ):
            output.write(stream, data)
    except Exception:
        # Go on emptying the pipe: a job must not hang because its output has nowhere to go.
        log.exception("The job's %s can't be handed on", stream)
        with contextlib.suppress(OSError):
            while os.read(pipe.fileno(), _READ):
                pass


def _file_with(data: bytes) -> BinaryIO:
    """Return an open file, in memory alone, that holds the data."""
    file = os.fdopen(os.memfd_create("keeper"), "r+b", buffering=0)
    _write(file.fileno(), data)
    return file


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")
