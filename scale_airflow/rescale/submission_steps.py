# SPDX-License-Identifier: Apache-2.0
"""The single steps of a submission, what each asks of the world, and who carries them out.

:mod:`scale_airflow.rescale.submission` decides which step is next; a :class:`Port` (or :class:`AsyncPort`)
does it. :func:`drive` and :func:`drive_async` bring the two together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from scale_airflow.rescale.verdict import StatusEntry

T = TypeVar("T")


@dataclass(frozen=True)
class Memory:
    """What one try of a task leaves for the next.

    :param job_id: the job.
    :param failed: why it failed for good, "" while it has not.
    :param finished: the number of the try that did everything the task is for; None before.
    :param result: what that try returned.
    """

    job_id: str
    failed: str = ""
    finished: int | None = None
    result: Any = None

    def to_document(self) -> dict[str, Any]:
        """Return the form that is stored."""
        return {
            "job_id": self.job_id,
            "failed": self.failed,
            "finished": self.finished,
            "result": self.result,
        }

    @classmethod
    def from_document(cls, document: object) -> Memory | None:
        """Read what :meth:`to_document` wrote; None for anything else."""
        if not isinstance(document, dict) or not isinstance(document.get("job_id"), str):
            return None
        finished, result = document.get("finished"), document.get("result")
        return cls(
            document["job_id"],
            str(document.get("failed") or ""),
            finished if isinstance(finished, int) else None,
            result,
        )


@dataclass(frozen=True)
class Found:
    """A job from the list of all jobs."""

    id: str
    name: str


class Port(Protocol):
    """Does the steps; each method raises the errors of the client (:class:`RescaleError`)."""

    def recall(self) -> Memory | None:
        """Return what an earlier try remembered."""

    def remember(self, memory: Memory) -> None:
        """Store ``memory``; only when it is safely stored may this return."""

    def read_statuses(self, job_id: str) -> Sequence[StatusEntry]:
        """Return the job's status history; empty for a draft."""

    def read_clusters(self, job_id: str) -> Sequence[StatusEntry]:
        """Return its cluster's status history; empty while there is none."""

    def find_marked(self, key: str) -> Sequence[Found]:
        """Return the jobs whose name carries ``key``, newest first."""

    def prepare(self) -> dict[str, Any]:
        """Upload the inputs and return the body of the job."""

    def create(self, body: dict[str, Any]) -> str:
        """Save a draft and return its id. Never repeats the request on its own."""

    def equip(self, job_id: str) -> None:
        """Give the draft what can't be in its body, e.g. storage devices; may be done twice."""

    def submit(self, job_id: str) -> None:
        """Start the job. Never repeats the request on its own."""

    def discard(self, job_id: str) -> None:
        """Delete a draft that is not needed; a failure to do so is not an error."""

    def pause(self, seconds: float) -> None:
        """Wait."""

    def say(self, text: str) -> None:
        """Tell the user."""


class Step(Protocol):
    """One step; :func:`perform` calls the port's method for it."""

    def perform(self, port: Any) -> Any:
        """Do it; returns what the port's method returns (an awaitable, of an asynchronous port)."""


@dataclass(frozen=True)
class Recall:
    """Ask what an earlier try remembered."""

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.recall()


@dataclass(frozen=True)
class Remember:
    """Store what the next try must know."""

    memory: Memory

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.remember(self.memory)


@dataclass(frozen=True)
class ReadStatuses:
    """Read a job's status history."""

    job_id: str

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.read_statuses(self.job_id)


@dataclass(frozen=True)
class ReadClusters:
    """Read a cluster's status history."""

    job_id: str

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.read_clusters(self.job_id)


@dataclass(frozen=True)
class FindMarked:
    """Look for jobs with the task's marker."""

    key: str

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.find_marked(self.key)


@dataclass(frozen=True)
class Prepare:
    """Upload what the job needs and make its body."""

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.prepare()


@dataclass(frozen=True)
class Create:
    """Save a draft."""

    body: dict[str, Any]

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.create(self.body)


@dataclass(frozen=True)
class Equip:
    """Attach storage devices and the like to a draft."""

    job_id: str

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.equip(self.job_id)


@dataclass(frozen=True)
class Submit:
    """Start a job: the one step that costs money."""

    job_id: str

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.submit(self.job_id)


@dataclass(frozen=True)
class Discard:
    """Delete a draft that is not needed."""

    job_id: str

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.discard(self.job_id)


@dataclass(frozen=True)
class Pause:
    """Wait some seconds."""

    seconds: float

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.pause(self.seconds)


@dataclass(frozen=True)
class Say:
    """Tell the user."""

    text: str

    def perform(self, port: Port) -> Any:
        """Do it."""
        return port.say(self.text)


def drive(steps: Generator[Step, Any, T], port: Port) -> T:
    """Carry out ``steps`` one after the other and return what they come to."""
    try:
        step = next(steps)
        while True:
            try:
                result = step.perform(port)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def drive_async(steps: Generator[Step, Any, T], port: object) -> T:
    """As :func:`drive`, with a port whose methods are coroutines."""
    try:
        step = next(steps)
        while True:
            try:
                answer: Awaitable[Any] = step.perform(port)
                result = await answer
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()
