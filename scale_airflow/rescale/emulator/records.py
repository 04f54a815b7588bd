# SPDX-License-Identifier: Apache-2.0
"""What the emulator remembers: one frozen record for each thing, with its form in the journal.

Records are replaced, never changed in place: ``state.put(dataclasses.replace(run, completed=now))``.
All moments are aware and in UTC; how an answer writes them is the views' business.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from dateutil.parser import isoparse

R = TypeVar("R", bound="Record")

JOB = "job"
CLUSTER = "cluster"
DEVICE = "device"

# The file types of Rescale's API.
INPUT_FILE = 1
TEMPLATE_FILE = 2
PARAM_FILE = 3
SCRIPT_FILE = 4
OUTPUT_FILE = 5
CASE_FILE = 8
TEMPORARY_FILE = 10
CHECKPOINT_ARCHIVE = 11
SNAPSHOT_FILE = 12


@dataclass(frozen=True)
class Record:
    """Base of all records: a kind, a key within the kind, a form in JSON."""

    KIND: ClassVar[str] = ""
    MOMENTS: ClassVar[frozenset[str]] = frozenset()

    @property
    def key(self) -> str:
        """Return what tells this record from the others of its kind."""
        return str(vars(self)["id"])

    def to_document(self) -> dict[str, Any]:
        """Return the form that the journal keeps."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_document(cls: type[R], document: dict[str, Any]) -> R:
        """Build a record from the journal; fields that this version does not know are left out."""
        known = {one.name for one in fields(cls)}
        return cls(
            **{
                name: isoparse(value) if name in cls.MOMENTS and value is not None else value
                for name, value in document.items()
                if name in known
            }
        )


@dataclass(frozen=True)
class JobRecord(Record):
    """A job: what its creator sent (completed with defaults), and what happened to it as a whole.

    :param document: the full job as ``GET /jobs/{id}/`` shows it, without ``id``, ``owner`` and file details.
    :param number: order of creation, from 1.
    :param submissions: accepted calls of ``submit/``, those without effect included.
    :param paid_runs: how often a cluster was started for it: what costs money.
    :param scenario: name of the course that it takes when submitted (``""``: run the commands for real).
    :param cluster_up: from the submission until its cluster is Stopped; a job can't be deleted meanwhile.
    """

    KIND: ClassVar[str] = "job"
    MOMENTS: ClassVar[frozenset[str]] = frozenset({"inserted", "submitted"})

    id: str
    owner: str
    document: dict[str, Any]
    inserted: datetime
    number: int
    submitted: datetime | None = None
    submissions: int = 0
    paid_runs: int = 0
    scenario: str = ""
    cluster_id: str = ""
    cluster_up: bool = False
    tags: list[str] = field(default_factory=list)
    custom_fields: dict[str, Any] = field(default_factory=dict)
    shared_with: list[str] = field(default_factory=list)
    storage_device_ids: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the job's name."""
        return str(self.document["name"])


@dataclass(frozen=True)
class LifeRecord(Record):
    """What the running side must find again after a crash: phase, process ids, … (its own business)."""

    KIND: ClassVar[str] = "life"

    job_id: str
    data: dict[str, Any]

    @property
    def key(self) -> str:
        """Return the job's id."""
        return self.job_id


@dataclass(frozen=True)
class StatusRecord(Record):
    """One entry of a status history.

    :param of: ``JOB``, ``CLUSTER`` or ``DEVICE``.
    :param subject_id: the job's id (also for its cluster) or the storage device's.
    :param number: order in the history, from 1; answers show the newest first.
    """

    KIND: ClassVar[str] = "status"
    MOMENTS: ClassVar[frozenset[str]] = frozenset({"date"})

    id: str
    of: str
    subject_id: str
    status: str
    date: datetime
    number: int
    reason: str | None = None


@dataclass(frozen=True)
class RunRecord(Record):
    """One execution of a job's commands; a parameter study has one for each case.

    :param id: ``"1"``, ``"2"``, … within the job.
    :param type: 1 optimization, 2 iteration, 3 case.
    :param variables: ``{"name", "value", "displayValue", "isRelative"}`` each.
    """

    KIND: ClassVar[str] = "run"
    MOMENTS: ClassVar[frozenset[str]] = frozenset({"started", "completed"})

    job_id: str
    id: str
    started: datetime | None = None
    completed: datetime | None = None
    type: int = 3
    is_optimal: bool = False
    parent: str | None = None
    variables: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None
    last_snapshot_id: int = 0

    @property
    def key(self) -> str:
        """Return the job's and the run's id."""
        return f"{self.job_id}/{self.id}"


@dataclass(frozen=True)
class FileRecord(Record):
    """A file of the cloud storage: uploaded, or kept from a run.

    :param blob: name of its bytes below ``<root>/blobs`` (:class:`~.blobs.Blobs`).
    :param size: bytes.
    :param job_id: job whose output it is, else None.
    :param sha512: hex digest; None for a file that is to look old (no ``fileChecksums``).
    """

    KIND: ClassVar[str] = "file"
    MOMENTS: ClassVar[frozenset[str]] = frozenset({"uploaded"})

    id: str
    name: str
    relative_path: str
    type_id: int
    size: int
    uploaded: datetime
    owner: str
    blob: str
    number: int
    sha512: str | None = None
    md5: str | None = None
    job_id: str | None = None
    run_id: str | None = None
    is_deleted: bool = False
    shared_with: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DeviceRecord(Record):
    """A storage device: what its creator sent, and whether it is on."""

    KIND: ClassVar[str] = "device"
    MOMENTS: ClassVar[frozenset[str]] = frozenset({"inserted", "submitted", "shutdown"})

    id: str
    owner: str
    document: dict[str, Any]
    inserted: datetime
    number: int
    submitted: datetime | None = None
    shutdown: datetime | None = None


@dataclass(frozen=True)
class KeyRecord(Record):
    """An API key that the emulator made: a job's own, which expires when the job ends."""

    KIND: ClassVar[str] = "key"

    key_text: str = field(repr=False)
    owner: str
    job_id: str
    active: bool = True

    @property
    def key(self) -> str:
        """Return the key itself."""
        return self.key_text


KINDS: dict[str, type[Record]] = {
    one.KIND: one
    for one in (JobRecord, LifeRecord, StatusRecord, RunRecord, FileRecord, DeviceRecord, KeyRecord)
}
