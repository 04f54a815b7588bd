# SPDX-License-Identifier: Apache-2.0
"""Strike processes and the files they bring in."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from scale_airflow.store.base import (
    Base,
    Created,
    Document,
    Id,
    LongText,
    Modified,
    OptionalMoment,
    OptionalText,
    reference,
)
from scale_airflow.store.files import ScaleFile
from scale_airflow.store.types import Workspace
from scale_airflow.store.work import Job

INGEST_STATUSES = (
    "TRANSFERRING",
    "TRANSFERRED",
    "DEFERRED",
    "QUEUED",
    "INGESTING",
    "INGESTED",
    "ERRORED",
    "DUPLICATE",
)


class Strike(Base):
    """A process that watches one directory (specification: Strike). ``job`` is its scale-strike job."""

    __tablename__ = "scale_strike"
    __table_args__ = (Index(None, "last_modified", "id"),)

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(Text, unique=True)
    title: Mapped[OptionalText]
    description: Mapped[OptionalText]
    configuration: Mapped[Document]
    job_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_job"))
    dag_id: Mapped[LongText]
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    created: Mapped[Created]
    last_modified: Mapped[Modified]

    job: Mapped[Job | None] = relationship()


class Ingest(Base):
    """The way of one file from a Strike directory into a workspace; the truth about it is here.

    ``file_identity`` tells one file from the next of the same name: size, modification time and inode.
    Until ``is_cleared`` the file lies in the Strike directory and ``ingest_path`` there belongs to it alone.
    ``tries`` counts failed ones; nothing is tried again before ``retry_at``.
    """

    __tablename__ = "scale_ingest"
    __table_args__ = (
        CheckConstraint(
            "status IN ('TRANSFERRING', 'TRANSFERRED', 'DEFERRED', 'QUEUED', 'INGESTING', 'INGESTED', "
            "'ERRORED', 'DUPLICATE')",
            name="status",
        ),
        Index(None, "last_modified", "id"),
        Index(None, "status", "last_modified"),
        Index(None, "strike_id", "ingest_ended"),
        Index(None, "ingest_ended", postgresql_where=text("ingest_ended IS NOT NULL")),
        # One file on its way at a time: the next of that name waits until this one has moved.
        Index(
            "uq_scale_ingest_arriving",
            "strike_id",
            "file_name",
            unique=True,
            postgresql_where=text("status IN ('TRANSFERRING', 'TRANSFERRED')"),
        ),
        Index("ix_scale_ingest_unfinished", "strike_id", "status", postgresql_where=text("NOT is_cleared")),
        Index(
            "uq_scale_ingest_place",
            "strike_id",
            "ingest_path",
            unique=True,
            postgresql_where=text("NOT is_cleared AND ingest_path IS NOT NULL"),
        ),
        # Two files of one name on their way into one workspace must know of each other's paths.
        Index(
            "ix_scale_ingest_planned",
            "workspace_id",
            "file_name",
            postgresql_where=text("status = 'INGESTING'"),
        ),
    )

    id: Mapped[Id]
    file_name: Mapped[LongText]
    strike_id: Mapped[int] = mapped_column(BigInteger, reference("scale_strike"))
    job_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_job"), index=True)
    status: Mapped[str] = mapped_column(Text, default="TRANSFERRING")
    message: Mapped[OptionalText]
    file_identity: Mapped[OptionalText]
    bytes_transferred: Mapped[int] = mapped_column(BigInteger, default=0)
    transfer_path: Mapped[LongText]
    transfer_started: Mapped[OptionalMoment]
    transfer_ended: Mapped[OptionalMoment]
    media_type: Mapped[LongText] = mapped_column(default="")
    file_size: Mapped[int | None] = mapped_column(BigInteger)
    checksum: Mapped[OptionalText]
    data_type: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    workspace_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_workspace"))
    file_path: Mapped[OptionalText]
    ingest_path: Mapped[OptionalText]
    is_moved: Mapped[bool] = mapped_column(Boolean, default=False)
    is_cleared: Mapped[bool] = mapped_column(Boolean, default=False)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    retry_at: Mapped[OptionalMoment]
    ingest_started: Mapped[OptionalMoment]
    ingest_ended: Mapped[OptionalMoment]
    source_file_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_file"), index=True)
    created: Mapped[Created]
    last_modified: Mapped[Modified]

    strike: Mapped[Strike] = relationship()
    workspace: Mapped[Workspace | None] = relationship()
    source_file: Mapped[ScaleFile | None] = relationship()
