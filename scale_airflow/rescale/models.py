# SPDX-License-Identifier: Apache-2.0
"""What Rescale's answers hold, typed: users, hardware, analyses; and, from their modules, all the others.

Each has ``document``, the whole JSON of the answer with what is not known here, but without
``encodedEncryptionKey``; and ``from_document``, which raises :class:`RescaleBadAnswer` where something
that a caller relies on is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from scale_airflow.rescale.documents import Documented, Fields, decimal_of
from scale_airflow.rescale.file_models import (
    DirectoryEntry,
    FileType,
    Region,
    RemoteFile,
    StorageDevice,
    StorageDeviceStatus,
)
from scale_airflow.rescale.job_models import (
    ClusterStatus,
    Instance,
    Job,
    JobAnalysis,
    JobStatus,
    JobSummary,
    JobUpdate,
    Run,
    RunVariable,
    Snapshot,
    TailLines,
    by_date,
    tag_name,
)
from scale_airflow.rescale.paging import Page

__all__ = [
    "Analysis",
    "AnalysisVersion",
    "ClusterStatus",
    "ComputePrice",
    "CoreType",
    "DirectoryEntry",
    "FileType",
    "Instance",
    "Job",
    "JobAnalysis",
    "JobStatus",
    "JobSummary",
    "JobUpdate",
    "Page",
    "Project",
    "Region",
    "RemoteFile",
    "Run",
    "RunVariable",
    "Snapshot",
    "StorageDevice",
    "StorageDeviceStatus",
    "TailLines",
    "User",
    "by_date",
    "tag_name",
]


@dataclass(frozen=True)
class User(Documented):
    """The user of a key."""

    email: str
    full_name: str = ""
    company_code: str = ""
    workspace_id: str = ""

    @classmethod
    def from_document(cls, document: Any) -> User:
        """Read a user."""
        fields = Fields(document, "user")
        company, workspace = fields.object("company"), fields.object("workspace")
        return cls(
            fields.text("email"),
            fields.text_or("fullName"),
            str(company.get("code") or ""),
            str(workspace.get("id") or ""),
            document=fields.document,
        )


@dataclass(frozen=True)
class Project(Documented):
    """A project that jobs can be charged to."""

    id: str
    name: str = ""

    @classmethod
    def from_document(cls, document: Any) -> Project:
        """Read a project."""
        fields = Fields(document, "project")
        return cls(fields.text("id"), fields.text_or("name"), document=fields.document)


@dataclass(frozen=True)
class CoreType(Documented):
    """A kind of hardware.

    :param cores: the numbers of cores that one slot can have; empty: Rescale does not say.
    :param memory_mb_per_core: megabytes of memory a core.
    :param price: on demand, for a core and hour; None where Rescale does not tell.
    :param low_priority_price: On-Demand Economy, for a core and hour.
    """

    code: str
    name: str = ""
    cores: tuple[int, ...] = ()
    memory_mb_per_core: int | None = None
    category_codes: tuple[str, ...] = ()
    price: Decimal | None = None
    low_priority_price: Decimal | None = None
    is_deprecated: bool = False
    walltime_required: bool = False
    gpu_counts: tuple[float, ...] = ()
    processor_info: str = ""

    @classmethod
    def from_document(cls, document: Any) -> CoreType:
        """Read a core type."""
        fields = Fields(document, "core type")
        return cls(
            fields.text("code"),
            fields.text_or("name"),
            tuple(int(number) for number in _numbers(fields, "cores")),
            fields.number("memory"),
            tuple(str(code) for code in fields.rows("categoryCodes")),
            fields.amount("price"),
            fields.amount("lowPriorityPrice"),
            fields.flag("isDeprecated"),
            fields.flag("walltimeRequired"),
            tuple(float(number) for number in _numbers(fields, "gpuCounts")),
            fields.text_or("processorInfo"),
            document=fields.document,
        )


def _numbers(fields: Fields, name: str) -> list[Decimal]:
    numbers = (decimal_of(row) for row in fields.rows(name))
    return [number for number in numbers if number is not None]


@dataclass(frozen=True)
class ComputePrice(Documented):
    """What a core of a type costs an hour under a plan.

    :param plan_type: ends with ``on-demand`` for the spot market (On-Demand Economy).
    """

    core_type: str
    plan_type: str
    os: str = ""
    is_active: bool = False
    amount: Decimal | None = None

    @classmethod
    def from_document(cls, document: Any) -> ComputePrice:
        """Read a price."""
        fields = Fields(document, "price")
        return cls(
            fields.text("coreType"),
            fields.text_or("planType"),
            fields.text_or("os"),
            fields.flag("isActive"),
            decimal_of(fields.object("value").get("amount")),
            document=fields.document,
        )


@dataclass(frozen=True)
class AnalysisVersion(Documented):
    """A version of an analysis; a job's body names it by ``code``.

    :param allowed_core_types: empty: Rescale does not limit them.
    """

    code: str
    version: str = ""
    allowed_core_types: tuple[str, ...] = ()

    @classmethod
    def from_document(cls, document: Any) -> AnalysisVersion:
        """Read a version."""
        fields = Fields(document, "version of an analysis")
        version = fields.text_or("version")
        return cls(
            fields.text_or("versionCode", version),
            version,
            tuple(str(code) for code in fields.rows("allowedCoreTypes")),
            document=fields.document,
        )


@dataclass(frozen=True)
class Analysis(Documented):
    """A software that jobs can run."""

    code: str
    name: str = ""
    versions: tuple[AnalysisVersion, ...] = ()

    @classmethod
    def from_document(cls, document: Any) -> Analysis:
        """Read an analysis."""
        fields = Fields(document, "analysis")
        return cls(
            fields.text("code"),
            fields.text_or("name"),
            tuple(map(AnalysisVersion.from_document, fields.rows("versions"))),
            document=fields.document,
        )
