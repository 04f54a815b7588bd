# SPDX-License-Identifier: Apache-2.0
"""What is configured: errors, workspaces, job types, recipe types, trigger rules."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Double,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from scale_airflow.store.base import (
    Base,
    Created,
    Document,
    Id,
    LongText,
    Modified,
    OptionalDocument,
    OptionalMoment,
    OptionalText,
    reference,
)


class ErrorModel(Base):
    """A named error that exit codes map to (specification: Error Services)."""

    __tablename__ = "scale_error"
    __table_args__ = (
        CheckConstraint("category IN ('SYSTEM', 'ALGORITHM', 'DATA')", name="category"),
        Index(None, "last_modified", "id"),
    )

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(Text, unique=True)
    title: Mapped[LongText]
    description: Mapped[LongText]
    category: Mapped[LongText]
    created: Mapped[Created]
    last_modified: Mapped[Modified]


class Workspace(Base):
    """A place where source and product files are stored (specification: Workspaces)."""

    __tablename__ = "scale_workspace"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(Text, unique=True)
    title: Mapped[LongText] = mapped_column(default="")
    description: Mapped[LongText] = mapped_column(default="")
    base_url: Mapped[OptionalText]
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    is_move_enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    used_size: Mapped[int | None] = mapped_column(BigInteger)
    total_size: Mapped[int | None] = mapped_column(BigInteger)
    json_config: Mapped[Document]
    created: Mapped[Created]
    archived: Mapped[OptionalMoment]
    last_modified: Mapped[Modified]


class TriggerRule(Base):
    """A rule that turns an event into a job or recipe, of at most one type (specification: Triggers)."""

    __tablename__ = "scale_trigger_rule"
    __table_args__ = (
        CheckConstraint("type IN ('INGEST', 'PARSE', 'CLOCK')", name="type"),
        Index(None, "type", postgresql_where=text("is_active")),
    )

    id: Mapped[Id]
    type: Mapped[LongText]
    name: Mapped[LongText] = mapped_column(default="")
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    configuration: Mapped[Document]
    created: Mapped[Created]
    archived: Mapped[OptionalMoment]
    last_modified: Mapped[Modified]


class JobType(Base):
    """A containerized algorithm (specification: Job Type Services). The interface of a past revision
    is in :class:`JobTypeRevision`."""

    __tablename__ = "scale_job_type"
    __table_args__ = (UniqueConstraint("name", "version"), Index(None, "last_modified", "id"))

    id: Mapped[Id]
    name: Mapped[LongText]
    version: Mapped[LongText]
    title: Mapped[OptionalText]
    description: Mapped[OptionalText]
    category: Mapped[OptionalText]
    author_name: Mapped[OptionalText]
    author_url: Mapped[OptionalText]
    is_system: Mapped[bool] = mapped_column(Boolean, default=False)
    is_long_running: Mapped[bool] = mapped_column(Boolean, default=False)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    is_operational: Mapped[bool] = mapped_column(Boolean, default=True)
    is_paused: Mapped[bool] = mapped_column(Boolean, default=False)
    requires_cleanup: Mapped[bool] = mapped_column(Boolean, default=True)
    icon_code: Mapped[OptionalText]
    uses_docker: Mapped[bool] = mapped_column(Boolean, default=True)
    docker_privileged: Mapped[bool] = mapped_column(Boolean, default=False)
    docker_image: Mapped[OptionalText]
    interface: Mapped[Document]
    error_mapping: Mapped[Document]
    configuration: Mapped[OptionalDocument]
    revision_num: Mapped[int] = mapped_column(Integer, default=1)
    trigger_rule_id: Mapped[int | None] = mapped_column(
        BigInteger, reference("scale_trigger_rule"), unique=True
    )
    priority: Mapped[int] = mapped_column(Integer, default=100)
    timeout: Mapped[int] = mapped_column(Integer, default=1800)
    max_scheduled: Mapped[int | None] = mapped_column(Integer)
    max_tries: Mapped[int] = mapped_column(Integer, default=3)
    cpus_required: Mapped[float] = mapped_column(Double, default=1.0)
    mem_required: Mapped[float] = mapped_column(Double, default=64.0)
    disk_out_const_required: Mapped[float] = mapped_column(Double, default=64.0)
    disk_out_mult_required: Mapped[float] = mapped_column(Double, default=0.0)
    created: Mapped[Created]
    archived: Mapped[OptionalMoment]
    paused: Mapped[OptionalMoment]
    last_modified: Mapped[Modified]

    trigger_rule: Mapped[TriggerRule | None] = relationship(lazy="joined")


class JobTypeRevision(Base):
    """The interface of a job type as it was at one revision; each has an immutable DAG of its own."""

    __tablename__ = "scale_job_type_revision"
    __table_args__ = (UniqueConstraint("job_type_id", "revision_num"),)

    id: Mapped[Id]
    job_type_id: Mapped[int] = mapped_column(BigInteger, reference("scale_job_type"))
    revision_num: Mapped[int] = mapped_column(Integer)
    interface: Mapped[Document]
    dag_id: Mapped[str | None] = mapped_column(Text, unique=True)
    created: Mapped[Created]

    job_type: Mapped[JobType] = relationship()


class RecipeType(Base):
    """A graph of job types (specification: Recipe Type Services)."""

    __tablename__ = "scale_recipe_type"
    __table_args__ = (UniqueConstraint("name", "version"), Index(None, "last_modified", "id"))

    id: Mapped[Id]
    name: Mapped[LongText]
    version: Mapped[LongText]
    title: Mapped[OptionalText]
    description: Mapped[OptionalText]
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    definition: Mapped[Document]
    revision_num: Mapped[int] = mapped_column(Integer, default=1)
    trigger_rule_id: Mapped[int | None] = mapped_column(
        BigInteger, reference("scale_trigger_rule"), unique=True
    )
    created: Mapped[Created]
    archived: Mapped[OptionalMoment]
    last_modified: Mapped[Modified]

    trigger_rule: Mapped[TriggerRule | None] = relationship(lazy="joined")


class RecipeTypeRevision(Base):
    """The definition of a recipe type as it was at one revision; each has an immutable DAG of its own."""

    __tablename__ = "scale_recipe_type_revision"
    __table_args__ = (UniqueConstraint("recipe_type_id", "revision_num"),)

    id: Mapped[Id]
    recipe_type_id: Mapped[int] = mapped_column(BigInteger, reference("scale_recipe_type"))
    revision_num: Mapped[int] = mapped_column(Integer)
    definition: Mapped[Document]
    dag_id: Mapped[str | None] = mapped_column(Text, unique=True)
    created: Mapped[Created]

    recipe_type: Mapped[RecipeType] = relationship()


class RecipeTypeJobType(Base):
    """Which job types the current revision of a recipe type uses: found here when an interface is edited."""

    __tablename__ = "scale_recipe_type_job_type"

    recipe_type_id: Mapped[int] = mapped_column(BigInteger, reference("scale_recipe_type"), primary_key=True)
    job_type_id: Mapped[int] = mapped_column(
        BigInteger, reference("scale_job_type"), primary_key=True, index=True
    )
