# SPDX-License-Identifier: Apache-2.0
"""The disk that a running job takes: watched from a thread, so that one job can't fill the host for all."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable

from scale_airflow.errors import ExecutionFailure, ScaleError
from scale_airflow.execution.staging import Scratch, SizeLimit, check_disk

_INTERVAL = 1.0
_BESIDE_INTERVAL = 15.0
_SHARE = 20.0
"""How many times as long as a look takes must pass before the next one: a million files cost a while."""
_LEAST_MIB = 1024.0
"""What every job may take, however little it was given."""
_LOW_MIB = 512.0
"""With less than this left on the host, jobs that take more than they were given are stopped."""
_FLOOR_MIB = 1.0
_MIB = 1 << 20

log = logging.getLogger(__name__)


class DiskWatch:
    """Looks again and again at what a job has written and what the host has left.

    A job that takes more than it was given (``disk_mib``) gets a warning. It is stopped when it takes more
    than ``factor`` times that and more than 1 GiB, or when the host's disk runs low; a host whose disk is
    full stops every job. A job that was given nothing has said nothing, so its own use stops nothing.

    :param disk_mib: what the job type asks for, with the inputs' share.
    :param factor: ``[scale] disk_limit_factor``; 0 for no limit.
    :param beside: returns how many MiB the job has written beside its scratch folder.
    """

    def __init__(
        self,
        scratch: Scratch,
        disk_mib: float,
        *,
        factor: float,
        beside: Callable[[], float] = lambda: 0.0,
    ):
        self._scratch = scratch
        self._given = disk_mib
        self._limit = max(disk_mib * factor, _LEAST_MIB) if disk_mib and factor else float("inf")
        self._ask_beside = beside
        self._beside = 0.0
        self._next_beside = time.monotonic() + _BESIDE_INTERVAL
        self._failure: ExecutionFailure | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scale-disk", daemon=True)
        self.warning: str | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def check(self) -> None:
        """Do nothing while all is well.

        :raises ExecutionFailure: (``filesystem-io``) if the job is to be stopped.
        """
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def look(self) -> None:
        """Look once, now, while the job runs.

        :raises ExecutionFailure: (``filesystem-io``) if the job is to be stopped.
        """
        check_disk(self._scratch, _FLOOR_MIB)
        used = self.settle()
        free = shutil.disk_usage(self._scratch.work_dir).free / _MIB
        if self._given and used > self._given and free < _LOW_MIB:
            raise ExecutionFailure(
                f"The job was stopped because it takes {used:.0f} MiB of disk, more than the "
                f"{self._given:.0f} MiB that it was given, and {self._scratch.work_dir} has only "
                f"{free:.0f} MiB left.",
                error_name="filesystem-io",
            )

    def settle(self) -> float:
        """Measure what the job takes and hold it against its limit, also when it has ended; return the MiB.

        :raises ExecutionFailure: (``filesystem-io``) if it takes more than it may.
        """
        used, complete = self._scratch.measure()
        if not complete:
            raise ExecutionFailure(
                "The job nests folders so deep that the disk it takes can't be measured: a path may have at "
                "most 4096 bytes."
            )
        used += self._written_beside()
        if used > self._limit:
            raise ExecutionFailure(
                f"The job takes {used:.0f} MiB of disk: it was given {self._given:.0f} MiB, and at most "
                f"{self._limit:.0f} MiB are allowed then ([scale] disk_limit_factor). Raise its job type's "
                "disk_out_const_required or disk_out_mult_required.",
                error_name="filesystem-io",
            )
        if used > self._given and self.warning is None:
            self.warning = f"The job uses {used:.0f} MiB of disk; it was given {self._given:.0f} MiB."
            log.warning("%s", self.warning)
        return used

    def size_limit(self) -> SizeLimit:
        """Return how large an output file may be as a whole, holes counted."""
        free = shutil.disk_usage(self._scratch.work_dir).free
        if self._limit * _MIB < free:
            return SizeLimit(self._limit * _MIB, "that the job may take")
        return SizeLimit(free, f"that {self._scratch.work_dir} has left")

    def _written_beside(self) -> float:
        """Return what lies beside the scratch folder; asked for now and then, since it takes its time."""
        if time.monotonic() > self._next_beside and not self._stopping.is_set():
            began = time.monotonic()
            self._beside = self._ask_beside()
            took = time.monotonic() - began
            self._next_beside = began + max(_BESIDE_INTERVAL, _SHARE * took)
        return self._beside

    def _run(self) -> None:
        pause = _INTERVAL
        while not self._stopping.wait(pause):
            began = time.monotonic()
            try:
                self.look()
            except ExecutionFailure as failure:
                self._failure = failure
                return
            except (ScaleError, OSError) as error:
                log.debug("The job's disk can't be looked at: %s", error)
            except Exception:
                # Only the watching ends; a job must not fail for a fault of its watcher.
                log.exception("The job's disk is no longer watched")
                return
            pause = max(_INTERVAL, _SHARE * (time.monotonic() - began))
