# SPDX-License-Identifier: Apache-2.0
"""What the installation keeps for itself: generated DAG files, long-lived tokens, and what was repaired."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from scale_airflow.store.base import Base, Created, Id, LongText, Moment, OptionalMoment, utcnow


class DagFileRow(Base):
    """A generated DAG file: workers elsewhere fetch what they lack from here. Rows never change."""

    __tablename__ = "scale_dag_file"

    id: Mapped[Id]
    dag_id: Mapped[str] = mapped_column(Text, index=True)
    file_name: Mapped[str] = mapped_column(Text, unique=True)
    sha256: Mapped[LongText]
    source: Mapped[LongText]
    created: Mapped[Created]


class ApiToken(Base):
    """A long-lived token of a user for scripts (``airflow scale token``); only its hash is kept."""

    __tablename__ = "scale_api_token"

    id: Mapped[Id]
    username: Mapped[str] = mapped_column(Text, index=True)
    name: Mapped[LongText]
    sha256: Mapped[str] = mapped_column(Text, unique=True)
    created: Mapped[Created]
    expires: Mapped[OptionalMoment]
    revoked: Mapped[OptionalMoment]
    last_used: Mapped[OptionalMoment]


class Repair(Base):
    """A disagreement with Airflow that was put right: of which job, what it was before and after, and why.

    ``job_id`` and ``job_exe_id`` are no foreign keys: what was repaired may be looked up, and it is never
    waited for. There is no job where the task was that of a Strike process or of a clock rule.
    """

    __tablename__ = "scale_repair"
    __table_args__ = (Index(None, "occurred", "kind"),)

    id: Mapped[Id]
    occurred: Mapped[Moment] = mapped_column(default=utcnow)
    kind: Mapped[LongText]
    job_id: Mapped[int | None] = mapped_column(BigInteger)
    job_exe_id: Mapped[int | None] = mapped_column(BigInteger)
    before: Mapped[LongText]
    after: Mapped[LongText]
    text: Mapped[LongText]
