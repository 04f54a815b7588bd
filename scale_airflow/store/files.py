# SPDX-License-Identifier: Apache-2.0
"""Files in workspaces and where they come from."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from scale_airflow.store.base import (
    Base,
    Created,
    Document,
    Id,
    LongText,
    Modified,
    Moment,
    OptionalMoment,
    OptionalText,
    reference,
    utcnow,
)
from scale_airflow.store.types import JobType, Workspace
from scale_airflow.store.work import Job, JobExecution


class ScaleFile(Base):
    """A source file (``kind`` SOURCE) or product file (PRODUCT).

    ``file_path`` is relative to the workspace. A row exists only when its file is complete.
    """

    __tablename__ = "scale_file"
    __table_args__ = (
        CheckConstraint("kind IN ('SOURCE', 'PRODUCT')", name="kind"),
        CheckConstraint("(kind = 'PRODUCT') = (job_exe_id IS NOT NULL)", name="product_has_execution"),
        Index(None, "kind", "last_modified", "id"),
        Index(None, "kind", "file_name"),
        Index(None, "uuid"),
        Index(None, "data_started", postgresql_where=text("kind = 'SOURCE' AND data_started IS NOT NULL")),
        Index(
            "ix_scale_file_published",
            "last_modified",
            "id",
            postgresql_where=text("kind = 'PRODUCT' AND has_been_published"),
        ),
        Index(None, "job_type_id", "last_modified", postgresql_where=text("kind = 'PRODUCT'")),
        Index(None, "job_id", postgresql_where=text("kind = 'PRODUCT'")),
        Index(None, "job_exe_id", postgresql_where=text("kind = 'PRODUCT'")),
        UniqueConstraint("workspace_id", "file_path"),
    )

    id: Mapped[Id]
    kind: Mapped[LongText]
    workspace_id: Mapped[int] = mapped_column(BigInteger, reference("scale_workspace"))
    file_name: Mapped[LongText]
    file_path: Mapped[LongText]
    media_type: Mapped[LongText]
    file_size: Mapped[int] = mapped_column(BigInteger)
    checksum: Mapped[OptionalText]
    data_type: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    uuid: Mapped[LongText]
    is_deleted: Mapped[bool] = mapped_column(Boolean, default=False)
    deleted: Mapped[OptionalMoment]
    data_started: Mapped[OptionalMoment]
    data_ended: Mapped[OptionalMoment]
    geometry: Mapped[OptionalText]
    center_point: Mapped[OptionalText]
    meta_data: Mapped[Document] = mapped_column(default=dict)
    countries: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    created: Mapped[Created]
    last_modified: Mapped[Modified]

    is_parsed: Mapped[bool] = mapped_column(Boolean, default=False)
    parsed: Mapped[OptionalMoment]

    job_type_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_job_type"))
    job_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_job"))
    job_exe_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_job_execution"))
    output_name: Mapped[OptionalText]
    is_operational: Mapped[bool] = mapped_column(Boolean, default=True)
    has_been_published: Mapped[bool] = mapped_column(Boolean, default=False)
    is_published: Mapped[bool] = mapped_column(Boolean, default=False)
    published: Mapped[OptionalMoment]
    unpublished: Mapped[OptionalMoment]

    workspace: Mapped[Workspace] = relationship()
    job_type: Mapped[JobType | None] = relationship()
    job: Mapped[Job | None] = relationship()
    job_exe: Mapped[JobExecution | None] = relationship()


class FileAncestry(Base):
    """One step of a product's history: ``descendant`` was made, over any number of jobs, from ``ancestor``.

    A direct link (the ancestor was an input of the very job that made the descendant) has no
    ``ancestor_job_id``.
    """

    __tablename__ = "scale_file_ancestry"
    __table_args__ = (
        Index(None, "descendant_id"),
        Index(None, "ancestor_id"),
        Index(None, "job_exe_id"),
        UniqueConstraint(
            "ancestor_id",
            "descendant_id",
            "job_exe_id",
            "ancestor_job_exe_id",
            name="uq_scale_file_ancestry_link",
        ),
    )

    id: Mapped[Id]
    ancestor_id: Mapped[int] = mapped_column(BigInteger, reference("scale_file"))
    descendant_id: Mapped[int] = mapped_column(BigInteger, reference("scale_file"))
    job_exe_id: Mapped[int] = mapped_column(BigInteger, reference("scale_job_execution"))
    job_id: Mapped[int] = mapped_column(BigInteger, reference("scale_job"))
    recipe_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_recipe"))
    ancestor_job_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_job"))
    ancestor_job_exe_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_job_execution"))
    created: Mapped[Created]


class FileDuty(Base):
    """Something that is to be done to the files of a workspace, by the node agent of a host that sees it.

    - MOVE: the file ``file_id`` gets its second name ``target``; then its row names that, and this becomes
    - REMOVE: the file at ``path`` goes, once nothing that was told of it runs any more;
    - SWEEP: in the folder ``path`` of an execution that is over, every file that belongs to no row goes.

    Nobody else may plan to use ``path`` or ``target`` meanwhile. ``holder`` is the agent's process that is at
    it until ``held_until``. What was ``done`` is looked at once more at ``not_before``, and forgotten.
    """

    __tablename__ = "scale_file_duty"
    __table_args__ = (
        CheckConstraint("kind IN ('MOVE', 'REMOVE', 'SWEEP')", name="kind"),
        CheckConstraint(
            "(kind = 'MOVE') = (target IS NOT NULL) AND (kind <> 'MOVE' OR file_id IS NOT NULL)",
            name="move_has_target",
        ),
        CheckConstraint("(kind = 'SWEEP') = (job_exe_id IS NOT NULL)", name="sweep_has_execution"),
        Index(None, "not_before"),
        Index(None, "workspace_id", "path"),
        Index(None, "workspace_id", "target", postgresql_where=text("target IS NOT NULL")),
        Index("uq_scale_file_duty_move", "file_id", unique=True, postgresql_where=text("kind = 'MOVE'")),
    )

    id: Mapped[Id]
    kind: Mapped[LongText]
    workspace_id: Mapped[int] = mapped_column(BigInteger, reference("scale_workspace"))
    path: Mapped[LongText]
    target: Mapped[OptionalText]
    file_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_file"), index=True)
    job_exe_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_job_execution"))
    node_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_node"))
    not_before: Mapped[Moment] = mapped_column(default=utcnow)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    message: Mapped[OptionalText]
    holder: Mapped[OptionalText]
    held_until: Mapped[OptionalMoment]
    done: Mapped[OptionalMoment]
    created: Mapped[Created]
