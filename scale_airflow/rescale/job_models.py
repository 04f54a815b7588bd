# SPDX-License-Identifier: Apache-2.0
"""Jobs, their histories, runs and machines of Rescale's answers, typed like those of ``models``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from scale_airflow.errors import RescaleBadAnswer
from scale_airflow.rescale.documents import Documented, Fields
from scale_airflow.rescale.file_models import RemoteFile


@dataclass(frozen=True)
class JobSummary(Documented):
    """A row of the list of jobs.

    :param status: as the list shows it; the job's statuses say more.
    """

    id: str
    name: str = ""
    inserted: datetime | None = None
    status: str = ""
    cluster_status: str = ""
    owner: str = ""

    @classmethod
    def from_document(cls, document: Any) -> JobSummary:
        """Read a row of the list of jobs."""
        fields = Fields(document, "job")
        return cls(
            fields.text("id"),
            fields.text_or("name"),
            fields.moment("dateInserted"),
            str(fields.object("jobStatus").get("content") or ""),
            str(fields.object("clusterStatusDisplay").get("content") or ""),
            fields.text_or("owner"),
            document=fields.document,
        )


@dataclass(frozen=True)
class JobAnalysis(Documented):
    """One of a job's analyses, which run one after the other."""

    code: str
    version: str = ""
    command: str = ""
    core_type: str = ""
    cores_per_slot: int | None = None
    slots: int = 1
    walltime_hours: Decimal | None = None
    input_files: tuple[RemoteFile, ...] = ()

    @classmethod
    def from_document(cls, document: Any) -> JobAnalysis:
        """Read an analysis of a job."""
        fields = Fields(document, "analysis of a job")
        analysis = Fields(fields.object("analysis"), "analysis of a job")
        hardware = Fields(fields.object("hardware"), "hardware of a job")
        core_type: Any = hardware.document.get("coreType")
        if isinstance(core_type, dict):
            core_type = core_type.get("code")
        return cls(
            analysis.text_or("code"),
            analysis.text_or("version"),
            fields.text_or("command"),
            str(core_type or ""),
            hardware.number("coresPerSlot"),
            hardware.number("slots") or 1,
            hardware.amount("walltime"),
            tuple(map(RemoteFile.from_document, fields.rows("inputFiles"))),
            document=fields.document,
        )


@dataclass(frozen=True)
class Job(Documented):
    """A job as it was saved. It has no status: the job's statuses tell that."""

    id: str
    name: str = ""
    owner: str = ""
    analyses: tuple[JobAnalysis, ...] = ()
    is_low_priority: bool = False
    project_id: str | None = None
    expected_runs: int | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def from_document(cls, document: Any) -> Job:
        """Read a job."""
        fields = Fields(document, "job")
        return cls(
            fields.text("id"),
            fields.text_or("name"),
            fields.text_or("owner"),
            tuple(map(JobAnalysis.from_document, fields.rows("jobanalyses"))),
            fields.flag("isLowPriority"),
            fields.text_or("projectId") or None,
            fields.number("expectedRuns"),
            tuple(tag_name(row) for row in fields.rows("tags") if _is_tag(row)),
            document=fields.document,
        )


def tag_name(row: Any) -> str:
    """Return a tag's name, whether it comes as a text or as an object.

    :raises RescaleBadAnswer: if it is neither.
    """
    if not _is_tag(row):
        raise RescaleBadAnswer("Rescale's answer has something else where the name of a tag should be.")
    return str(row["name"] if isinstance(row, dict) else row)


def _is_tag(row: Any) -> bool:
    return isinstance(row.get("name") if isinstance(row, dict) else row, str)


@dataclass(frozen=True)
class JobUpdate(Documented):
    """The answer to a change of a job, which says nothing about whether the change took effect."""

    id: str
    name: str = ""

    @classmethod
    def from_document(cls, document: Any) -> JobUpdate:
        """Read the answer to a change."""
        fields = Fields(document, "job")
        return cls(fields.text_or("id"), fields.text_or("name"), document=fields.document)


@dataclass(frozen=True)
class JobStatus(Documented):
    """One entry of a job's history. A job that failed is ``Completed`` too: read the reason."""

    status: str
    date: datetime | None = None
    reason: str | None = None

    @classmethod
    def from_document(cls, document: Any) -> JobStatus:
        """Read an entry of a job's history."""
        fields = Fields(document, "status")
        return cls(
            fields.text("status"),
            fields.moment("statusDate"),
            fields.text_or("statusReason") or None,
            document=fields.document,
        )


@dataclass(frozen=True)
class ClusterStatus(Documented):
    """One entry of the history of a job's cluster."""

    status: str
    date: datetime | None = None
    reason: str | None = None

    @classmethod
    def from_document(cls, document: Any) -> ClusterStatus:
        """Read an entry of a cluster's history."""
        fields = Fields(document, "cluster status")
        return cls(
            fields.text("status"),
            fields.moment("statusDate"),
            fields.text_or("statusReason") or None,
            document=fields.document,
        )


def by_date(statuses: Sequence[JobStatus]) -> list[JobStatus]:
    """Return statuses newest first; those of the same moment (or without one) keep Rescale's order.

    Rescale API: list job status history.
    """
    dated = [status.date for status in statuses if status.date]
    earliest = min(dated, default=None)
    if earliest is None:
        return list(statuses)
    return sorted(statuses, key=lambda status: status.date or earliest, reverse=True)


@dataclass(frozen=True)
class RunVariable:
    """A variable of a run and its value there."""

    name: str
    value: Any = None
    display_value: str = ""


@dataclass(frozen=True)
class Run(Documented):
    """One execution of a job's commands; a DOE job has one a case.

    :param type: 1 optimization, 2 iteration, 3 case.
    """

    id: str
    started: datetime | None = None
    completed: datetime | None = None
    output_file_count: int | None = None
    output_file_size: int | None = None
    type: int | None = None
    display_order: int | None = None
    variables: tuple[RunVariable, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether it runs now."""
        return self.started is not None and self.completed is None

    @classmethod
    def from_document(cls, document: Any) -> Run:
        """Read a run."""
        fields = Fields(document, "run")
        rows = [Fields(row, "variable of a run") for row in fields.rows("variables")]
        return cls(
            fields.text("id"),
            fields.moment("dateStarted"),
            fields.moment("dateCompleted"),
            fields.number("outputFileCount"),
            fields.number("outputFileSize"),
            fields.number("type"),
            fields.number("displayOrder"),
            tuple(
                RunVariable(row.text("name"), row.document.get("value"), row.text_or("displayValue"))
                for row in rows
            ),
            document=fields.document,
        )


@dataclass(frozen=True)
class Snapshot(Documented):
    """The answer to a request for a snapshot; the archive appears later, as an output file (type 12)."""

    id: str
    exit_code: int | None = None
    reason: str = ""

    @classmethod
    def from_document(cls, document: Any) -> Snapshot:
        """Read the answer."""
        fields = Fields({} if document is None else document, "snapshot")
        return cls(
            fields.text_or("lastSnapshotID"),
            fields.number("exitcode"),
            fields.text_or("reason"),
            document=fields.document,
        )


@dataclass(frozen=True)
class TailLines(Documented):
    """The last lines of a file of a running run."""

    lines: tuple[str, ...]
    file_type: str = ""

    @classmethod
    def from_document(cls, document: Any) -> TailLines:
        """Read lines."""
        fields = Fields(document, "tail of a file")
        return cls(
            tuple(map(str, fields.rows("lines"))), fields.text_or("fileType"), document=fields.document
        )


@dataclass(frozen=True)
class Instance(Documented):
    """A machine of a job's cluster.

    :param role: ``MPI_MASTER`` for the head node, ``MPI_SLAVE`` for others.
    """

    public_ip: str
    ssh_port: int = 22
    username: str = ""
    role: str = ""
    cluster_id: str = ""

    @classmethod
    def from_document(cls, document: Any) -> Instance:
        """Read a machine."""
        fields = Fields(document, "machine")
        return cls(
            fields.text_or("publicIp"),
            fields.number("sshPort") or 22,
            fields.text_or("username"),
            fields.text_or("role"),
            fields.text_or("clusterId"),
            document=fields.document,
        )
