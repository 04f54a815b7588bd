# SPDX-License-Identifier: Apache-2.0
"""What every backend does: prepare a host, start or adopt a job, wait for it, kill it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.execution.order import ExecutionOrder, Stream
from scale_airflow.execution.staging import Scratch, StagedInputs

Checkpoint = Callable[[], None]
"""Called now and then during anything long; raises when the execution has to stop."""


class Output(Protocol):
    """Takes what a job writes, as it writes it."""

    def write(self, stream: Stream, data: bytes) -> None:
        """Take bytes of one stream; blocking here slows the job down."""


@dataclass(frozen=True)
class JobRun:
    """One execution, ready to start."""

    order: ExecutionOrder
    interface: JobInterface
    scratch: Scratch
    staged: StagedInputs
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Ending:
    """How a job's process ended: exit code (128 + n for signal n), and times (ISO 8601) where known.

    :param folder: its scratch folder on the other machine where it ran, which its manifest speaks of; None if
        it ran here.
    """

    exit_code: int
    out_of_memory: bool = False
    started: str | None = None
    finished: str | None = None
    message: str | None = None
    folder: str | None = None


class RunningJob(Protocol):
    """A job that was started."""

    started_at: float
    """When, in seconds since the epoch."""
    ended_at: float | None
    """When it had ended before it was adopted; None if it had not."""
    is_waiting: bool
    """Whether it has not begun for want of a machine: that time does not count."""
    facts: Mapping[str, Any]
    """What is worth recording of where it runs."""

    def wait(self, seconds: float) -> Ending | None:
        """Wait for its end, for at most so long; None while it runs on. All its output was taken by then.

        :raises ExecutionFailure: if the job was lost.
        """

    def kill(self) -> None:
        """Kill the job and all its processes at once; from any thread, and again without harm."""

    def written_mib(self) -> float:
        """Return how much disk it takes beside its scratch folder; from any thread."""

    def close(self) -> None:
        """Remove what is left of it."""

    def leave(self) -> None:
        """Take no more notice of it: it is another worker's now."""


class Backend(Protocol):
    """One way to run jobs on this host."""

    name: str

    def prepare(self, order: ExecutionOrder, checkpoint: Checkpoint) -> dict[str, Any]:
        """Make ready what the job needs (an image); return what is worth recording of its surroundings.

        :raises ExecutionFailure: if the job can't run here.
        """

    def adopt(self, run: JobRun, output: Output) -> RunningJob | None:
        """Take over the job of this execution if an earlier worker started it and it is still there."""

    def start(self, run: JobRun, output: Output) -> RunningJob:
        """Put the inputs in their places and start the job.

        :raises ExecutionFailure: if it can't be started.
        """

    def close(self) -> None:
        """Give back what the backend holds; the jobs it started are closed on their own."""
