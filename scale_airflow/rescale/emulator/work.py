# SPDX-License-Identifier: Apache-2.0
"""What the HTTP side asks of the side that runs jobs; :class:`.life.JobLife` does it.

None of these calls raises for a job in the wrong state: they say what they did, and the routes answer as the
real service does. What they record is in the journal when they return; callers await ``state.durable()``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

# Of the users of clusters, before the job's id.
USER_PREFIX = "user_"

SCENARIOS = {
    "": "The commands run, and the job ends as they do.",
    "allocation-failure": "No cluster can be had: Stopping, Completed with that reason; nothing runs.",
    "preempted": "The cluster is lost while the job runs, as often as the number says (1), then it ends "
    "well; more than three times is too often: Stopping, Completed with that reason.",
    "stuck": "Never validated: no further status, and the cluster ends in Error, then Stopped.",
    "waiting-for-queue": "Waits so many seconds (60) in Waiting for Queue, then goes on.",
    "waiting-for-cluster": "Waits so many seconds (60) in Waiting for Cluster, then goes on.",
    "cluster-error": "The cluster breaks while the job runs: Error; the job is Stopped and Completed.",
}
"""Courses that a job can take: name → what happens. A number may follow a colon: ``preempted:4``."""


@dataclass(frozen=True)
class Scenario:
    """A course and its number, from ``JobRecord.scenario``."""

    name: str = ""
    number: float | None = None

    @classmethod
    def parse(cls, text: str) -> Scenario:
        """Read ``name`` or ``name:number``; ValueError names the courses that exist."""
        name, colon, number = text.partition(":")
        if name not in SCENARIOS:
            known = ", ".join(repr(one) for one in SCENARIOS)
            raise ValueError(f"There is no scenario {name!r}; there are {known}.")
        try:
            return cls(name, float(number) if colon else None)
        except ValueError:
            raise ValueError(f"The number of scenario {text!r} is not a number.") from None


@dataclass(frozen=True)
class SnapshotResult:
    """What became of a snapshot: ``exit_code`` 0 and the file's id, or why there is none."""

    exit_code: int
    file_id: str | None
    snapshot_id: int
    reason: str


@dataclass(frozen=True)
class ClusterInstance:
    """One machine of a job's cluster, as ``instances/`` lists it."""

    id: str
    public_ip: str
    private_ip: str
    ssh_port: int
    username: str
    role: str
    cluster_id: str
    cores: int

    def to_document(self) -> dict[str, Any]:
        """Return the form of the answer."""
        return {
            "id": self.id,
            "publicIp": self.public_ip,
            "privateIp": self.private_ip,
            "sshPort": self.ssh_port,
            "username": self.username,
            "role": self.role,
            "clusterId": self.cluster_id,
            "cores": self.cores,
            "status": "Started",
        }


class Work(Protocol):
    """Runs the jobs and storage devices of an emulator.

    ``JobLife(state, blobs, clock, *, conditions=None, base_url="", authorized_keys=None)``; ``base_url`` (an
    attribute, set when the server listens) is what jobs find in ``RESCALE_API_BASE_URL``.
    """

    base_url: str

    async def start(self) -> None:
        """Go on with what a former emulator of this directory left: adopt what runs, end what is lost."""

    async def close(self) -> None:
        """Stop all that runs; nothing stays behind."""

    def submit(self, job_id: str) -> bool:
        """Record the submission with the status Pending, and begin; False: it was submitted before.

        Counts nothing (``JobRecord.submissions`` is the caller's), needs checked inputs.
        """

    def stop(self, job_id: str) -> bool:
        """Ask the commands to end (SIGTERM), and kill them later; False: there is nothing to stop."""

    def force_stop(self, job_id: str) -> bool:
        """Stop with hardly any patience (status Force Stop); False: there is nothing to stop."""

    def stop_run(self, job_id: str, run_id: str) -> bool:
        """Stop one run, whose files are kept; False: it does not run."""

    async def snapshot(self, job_id: str, run_id: str) -> SnapshotResult:
        """Pack a running run's work directory into an output file of type 12."""

    def is_running(self, job_id: str, run_id: str) -> bool:
        """Tell whether the run's directory can be looked into."""

    async def directory(self, job_id: str, run_id: str) -> list[str] | None:
        """Return the relative paths of a running run's files, sorted; None: it does not run."""

    def live_file(self, job_id: str, run_id: str, path: str) -> Path | None:
        """Return where a running run's file is; None: no such run or file, or it lies elsewhere."""

    async def tail(self, job_id: str, run_id: str, path: str, lines: int) -> tuple[str, list[str]] | None:
        """Return ``("text", last lines)`` or ``("binary", [])`` of a running run's file; None: not there."""

    def instances(self, job_id: str) -> list[ClusterInstance]:
        """Return the machines of a started cluster, the first of role MPI_MASTER; empty otherwise."""

    def forget(self, job_id: str) -> None:
        """Delete what a stopped job left in the work directory; call it before the job's record goes."""

    def submit_device(self, device_id: str) -> bool:
        """Start a storage device; False: it was started before."""

    def shutdown_device(self, device_id: str) -> bool:
        """Stop a storage device, whose files are gone then; False: it does not run."""
