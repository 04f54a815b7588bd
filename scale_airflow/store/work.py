# SPDX-License-Identifier: Apache-2.0
"""What runs: events, recipes, jobs, executions, their queue and their logs."""

from __future__ import annotations

import uuid

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    Double,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
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
    OptionalDocument,
    OptionalMoment,
    OptionalText,
    reference,
    utcnow,
)
from scale_airflow.store.nodes import Node
from scale_airflow.store.types import (
    ErrorModel,
    JobType,
    JobTypeRevision,
    RecipeType,
    RecipeTypeRevision,
    TriggerRule,
)

JOB_STATUSES = ("PENDING", "BLOCKED", "QUEUED", "RUNNING", "FAILED", "COMPLETED", "CANCELED")
EXECUTION_STATUSES = ("QUEUED", "RUNNING", "FAILED", "COMPLETED", "CANCELED")


class TriggerEvent(Base):
    """Something that happened and may have started work (specification: Trigger Event Details)."""

    __tablename__ = "scale_trigger_event"
    __table_args__ = (Index(None, "type", "occurred"), Index(None, "rule_id", "occurred"))

    id: Mapped[Id]
    type: Mapped[LongText]
    rule_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_trigger_rule"))
    occurred: Mapped[Moment] = mapped_column(default=utcnow)
    description: Mapped[Document]

    rule: Mapped[TriggerRule | None] = relationship()


class Recipe(Base):
    """One run of a recipe type, on the revision that was current when it was queued.

    ``dag_id`` and ``run_id`` are its address in Airflow; ``dispatched`` is when that run was created.
    """

    __tablename__ = "scale_recipe"
    __table_args__ = (
        UniqueConstraint("dag_id", "run_id"),
        Index(None, "last_modified", "id"),
        Index(None, "recipe_type_id", "last_modified"),
        Index(
            "ix_scale_recipe_unfinished",
            "id",
            postgresql_where=text("completed IS NULL AND dispatched IS NOT NULL"),
        ),
    )

    id: Mapped[Id]
    recipe_type_id: Mapped[int] = mapped_column(BigInteger, reference("scale_recipe_type"))
    recipe_type_rev_id: Mapped[int] = mapped_column(
        BigInteger, reference("scale_recipe_type_revision"), index=True
    )
    event_id: Mapped[int] = mapped_column(BigInteger, reference("scale_trigger_event"), index=True)
    data: Mapped[Document]
    dag_id: Mapped[LongText]
    run_id: Mapped[OptionalText]
    dispatched: Mapped[OptionalMoment]
    created: Mapped[Created]
    completed: Mapped[OptionalMoment]
    last_modified: Mapped[Modified]

    recipe_type: Mapped[RecipeType] = relationship()
    recipe_type_rev: Mapped[RecipeTypeRevision] = relationship()
    event: Mapped[TriggerEvent] = relationship()
    jobs: Mapped[list[Job]] = relationship(back_populates="recipe", order_by="Job.id")


class Job(Base):
    """One piece of work of a job type.

    ``dag_id``, ``run_id`` and ``task_id`` are its address in Airflow. ``why`` says what a waiting job
    waits for. ``input_signature`` identifies the work: type, input files and property values.
    """

    __tablename__ = "scale_job"
    __table_args__ = (
        CheckConstraint(
            "status IN ('PENDING', 'BLOCKED', 'QUEUED', 'RUNNING', 'FAILED', 'COMPLETED', 'CANCELED')",
            name="status",
        ),
        UniqueConstraint("dag_id", "run_id", "task_id"),
        UniqueConstraint("recipe_id", "recipe_job_name"),
        Index(None, "last_modified", "id"),
        Index(None, "last_status_change", "id"),
        Index(None, "status", "last_modified"),
        Index(None, "job_type_id", "last_modified"),
        Index(None, "job_type_id", "status", "last_status_change"),
        Index(None, "job_type_id", "input_signature"),
        Index(None, "ended", postgresql_where=text("ended IS NOT NULL")),
        Index(
            "ix_scale_job_queued",
            "job_type_id",
            "priority",
            "queued",
            postgresql_where=text("status = 'QUEUED'"),
        ),
        Index(
            "ix_scale_job_waiting",
            "job_type_id",
            "queued",
            postgresql_where=text("status = 'QUEUED'"),
        ),
        Index(
            "ix_scale_job_in_airflow",
            "job_type_id",
            "status",
            postgresql_where=text("dispatched IS NOT NULL AND status IN ('QUEUED', 'RUNNING')"),
        ),
    )

    id: Mapped[Id]
    job_type_id: Mapped[int] = mapped_column(BigInteger, reference("scale_job_type"))
    job_type_rev_id: Mapped[int] = mapped_column(BigInteger, reference("scale_job_type_revision"), index=True)
    event_id: Mapped[int] = mapped_column(BigInteger, reference("scale_trigger_event"), index=True)
    recipe_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_recipe"))
    recipe_job_name: Mapped[OptionalText]
    error_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_error"), index=True)
    status: Mapped[str] = mapped_column(Text, default="PENDING")
    why: Mapped[OptionalText]
    priority: Mapped[int] = mapped_column(Integer)
    num_exes: Mapped[int] = mapped_column(Integer, default=0)
    timeout: Mapped[int] = mapped_column(Integer)
    max_tries: Mapped[int] = mapped_column(Integer)
    cpus_required: Mapped[float] = mapped_column(Double)
    mem_required: Mapped[float] = mapped_column(Double)
    disk_in_required: Mapped[float] = mapped_column(Double, default=0.0)
    disk_out_required: Mapped[float] = mapped_column(Double, default=0.0)
    data: Mapped[Document] = mapped_column(default=dict)
    results: Mapped[Document] = mapped_column(default=dict)
    input_signature: Mapped[OptionalText]
    dag_id: Mapped[LongText]
    run_id: Mapped[OptionalText]
    task_id: Mapped[LongText]
    dispatched: Mapped[OptionalMoment]
    created: Mapped[Created]
    queued: Mapped[OptionalMoment]
    started: Mapped[OptionalMoment]
    ended: Mapped[OptionalMoment]
    last_status_change: Mapped[Moment] = mapped_column(default=utcnow)
    last_modified: Mapped[Modified]

    job_type: Mapped[JobType] = relationship()
    job_type_rev: Mapped[JobTypeRevision] = relationship()
    event: Mapped[TriggerEvent] = relationship()
    error: Mapped[ErrorModel | None] = relationship()
    recipe: Mapped[Recipe | None] = relationship(back_populates="jobs")
    executions: Mapped[list[JobExecution]] = relationship(
        back_populates="job", order_by="JobExecution.exe_num.desc()"
    )
    latest_execution: Mapped[JobExecution | None] = relationship(
        primaryjoin="and_(Job.id == JobExecution.job_id, Job.num_exes == JobExecution.exe_num)",
        viewonly=True,
    )


class JobExecution(Base):
    """One try of a job.

    ``task_instance_id`` is the id of Airflow's task instance of this very try, once it has asked for the
    execution; ``token_sha256`` is what the claim handed out, hashed. Both are set by the claim alone.

    While it is QUEUED, ``reserved`` is when room on the node was reserved for it, ``asked`` when it last
    asked in vain, and ``asks_for`` what it lacks: room on the ``node``, or a place of its ``type``.
    ``unswept`` counts the claims whose workers may have stored files that no report named. ``is_given_up``
    says that it was ended without its worker, whose report comes too late.
    """

    __tablename__ = "scale_job_execution"
    __table_args__ = (
        CheckConstraint("status IN ('QUEUED', 'RUNNING', 'FAILED', 'COMPLETED', 'CANCELED')", name="status"),
        CheckConstraint("asks_for IN ('node', 'type')", name="asks_for"),
        UniqueConstraint("job_id", "exe_num"),
        Index(None, "last_modified", "id"),
        Index(None, "status", "last_modified"),
        Index(None, "node_id", "last_modified"),
        Index(
            "ix_scale_job_execution_running", "node_id", "job_id", postgresql_where=text("status = 'RUNNING'")
        ),
        Index(
            "ix_scale_job_execution_room",
            "node_id",
            "job_id",
            postgresql_where=text("status = 'RUNNING' OR reserved IS NOT NULL OR asked IS NOT NULL"),
        ),
        Index(
            "ix_scale_job_execution_system_errors",
            "node_id",
            "ended",
            postgresql_where=text("status = 'FAILED'"),
        ),
        Index(
            "ix_scale_job_execution_unswept",
            "id",
            postgresql_where=text("unswept > 0 AND status IN ('FAILED', 'COMPLETED', 'CANCELED')"),
        ),
    )

    id: Mapped[Id]
    job_id: Mapped[int] = mapped_column(BigInteger, reference("scale_job"))
    exe_num: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(Text, default="QUEUED")
    command_arguments: Mapped[str] = mapped_column(Text, default="")
    timeout: Mapped[int] = mapped_column(Integer)
    node_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_node"))
    error_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_error"), index=True)
    message: Mapped[OptionalText]
    task_instance_id: Mapped[uuid.UUID | None] = mapped_column(Uuid, index=True)
    try_number: Mapped[int | None] = mapped_column(Integer)
    token_sha256: Mapped[OptionalText]
    backend: Mapped[OptionalText]
    output_path: Mapped[OptionalText]
    unswept: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    is_given_up: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    reserved: Mapped[OptionalMoment]
    asked: Mapped[OptionalMoment]
    asks_for: Mapped[OptionalText]
    last_beat: Mapped[OptionalMoment]
    stop_requested: Mapped[OptionalMoment]
    pre_started: Mapped[OptionalMoment]
    pre_completed: Mapped[OptionalMoment]
    pre_exit_code: Mapped[int | None] = mapped_column(Integer)
    job_started: Mapped[OptionalMoment]
    job_completed: Mapped[OptionalMoment]
    job_exit_code: Mapped[int | None] = mapped_column(Integer)
    post_started: Mapped[OptionalMoment]
    post_completed: Mapped[OptionalMoment]
    post_exit_code: Mapped[int | None] = mapped_column(Integer)
    environment: Mapped[Document] = mapped_column(default=dict)
    cpus_scheduled: Mapped[float | None] = mapped_column(Double)
    mem_scheduled: Mapped[float | None] = mapped_column(Double)
    disk_in_scheduled: Mapped[float | None] = mapped_column(Double)
    disk_out_scheduled: Mapped[float | None] = mapped_column(Double)
    disk_total_scheduled: Mapped[float | None] = mapped_column(Double)
    gpus_scheduled: Mapped[int | None] = mapped_column(Integer)
    results: Mapped[Document] = mapped_column(default=dict)
    results_manifest: Mapped[OptionalDocument]
    warnings: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    created: Mapped[Created]
    queued: Mapped[Moment] = mapped_column(default=utcnow)
    started: Mapped[OptionalMoment]
    ended: Mapped[OptionalMoment]
    last_modified: Mapped[Modified]

    job: Mapped[Job] = relationship(back_populates="executions")
    node: Mapped[Node | None] = relationship()
    error: Mapped[ErrorModel | None] = relationship()


class JobLog(Base):
    """A compressed piece of what an execution wrote to stdout (1) or stderr (2), in order.

    ``size`` is the piece's, unpacked, in bytes; ``total``, of the last piece, that of all that were kept.
    """

    __tablename__ = "scale_job_log"

    job_exe_id: Mapped[int] = mapped_column(BigInteger, reference("scale_job_execution"), primary_key=True)
    stream: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True)
    size: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    created: Mapped[Created]


class QueueEntry(Base):
    """Work that waits for the tick: a recipe or lone job whose run is to be created in Airflow, or a job
    of an existing run that is to be cleared. ``job_type_ids`` are the types of which one must have room,
    ``later_type_ids`` those that the recipe comes to later, and ``kind`` stands for both, so that work which
    can't start is passed over as one, however much there is of it. ``not_before`` holds back what Airflow
    refused a moment ago."""

    __tablename__ = "scale_queue_entry"
    __table_args__ = (
        CheckConstraint("(job_id IS NULL) <> (recipe_id IS NULL)", name="one_of"),
        Index(None, "priority", "queued", "id"),
        Index(None, "kind", "priority", "queued", "id"),
    )

    id: Mapped[Id]
    job_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_job"), unique=True)
    recipe_id: Mapped[int | None] = mapped_column(BigInteger, reference("scale_recipe"), unique=True)
    job_type_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    later_type_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), default=list, server_default="{}")
    kind: Mapped[int] = mapped_column(
        BigInteger,
        Computed("hash_array_extended(job_type_ids, hash_array_extended(later_type_ids, 0))", persisted=True),
    )
    priority: Mapped[int] = mapped_column(Integer)
    queued: Mapped[Moment] = mapped_column(default=utcnow)
    not_before: Mapped[OptionalMoment]


class JobInputFile(Base):
    """Which files a job has as inputs, once its data is known."""

    __tablename__ = "scale_job_input_file"

    job_id: Mapped[int] = mapped_column(BigInteger, reference("scale_job"), primary_key=True)
    input_name: Mapped[str] = mapped_column(Text, primary_key=True)
    file_id: Mapped[int] = mapped_column(BigInteger, reference("scale_file"), primary_key=True, index=True)
