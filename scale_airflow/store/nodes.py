# SPDX-License-Identifier: Apache-2.0
"""Where work runs: nodes, and the scheduler's own switch."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Double, Index, Integer, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from scale_airflow.store.base import Base, Created, Id, LongText, Modified, OptionalMoment, OptionalText


class Node(Base):
    """A worker host. ``slave_id`` is its agent's stable id and ``agent_run`` stands for the agent's present
    process. ``last_offer`` is the agent's last beat, ``stopped`` when it said that it ends; what still runs
    on the host goes on without it."""

    __tablename__ = "scale_node"
    __table_args__ = (
        Index(None, "last_modified", "id"),
        Index(None, "hostname", unique=True, postgresql_where=text("is_active")),
    )

    id: Mapped[Id]
    hostname: Mapped[LongText]
    port: Mapped[int] = mapped_column(Integer, default=0)
    slave_id: Mapped[str] = mapped_column(Text, unique=True)
    agent_run: Mapped[OptionalText]
    pause_reason: Mapped[OptionalText]
    is_paused: Mapped[bool] = mapped_column(Boolean, default=False)
    is_paused_errors: Mapped[bool] = mapped_column(Boolean, default=False)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    cpus: Mapped[float] = mapped_column(Double, default=0.0)
    mem_mib: Mapped[float] = mapped_column(Double, default=0.0)
    disk_mib: Mapped[float] = mapped_column(Double, default=0.0)
    gpus: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    archived: Mapped[OptionalMoment]
    created: Mapped[Created]
    last_offer: Mapped[OptionalMoment]
    stopped: Mapped[OptionalMoment]
    last_modified: Mapped[Modified]


class Scheduler(Base):
    """The one row of the scheduler's own state."""

    __tablename__ = "scale_scheduler"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, default=1)
    is_paused: Mapped[bool] = mapped_column(Boolean, default=False)
    last_tick: Mapped[OptionalMoment]
    last_reconcile: Mapped[OptionalMoment]
    repairs: Mapped[int] = mapped_column(BigInteger, default=0)
    last_modified: Mapped[Modified]
