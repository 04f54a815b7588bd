# SPDX-License-Identifier: Apache-2.0
"""What is counted from day to day and hour to hour: metrics, and how much work there was."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, Date, DateTime, Identity, Index, Integer, Table, text
from sqlalchemy.orm import Mapped, mapped_column

from scale_airflow.definitions.metrics import INGESTS, JOB_TYPES, MetricsType
from scale_airflow.store.base import Base, reference


def _metrics_table(name: str, kind: MetricsType, choice: str, choices: str) -> Table:
    """Return the table of a metrics type: a row a day and choice with something to count, a column each.

    A further row of each day without a choice counts all choices together, also where there is nothing to
    count: it says that the day was worked out. Times are in microseconds, so that sums are exact; a minimum,
    maximum or average is null where nothing was measured.
    """
    columns = [
        Column(each.name, BigInteger, nullable=not each.is_count and each.aggregate != "sum")
        for each in kind.columns
    ]
    return Table(
        name,
        Base.metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("day", Date, nullable=False),
        Column(choice, BigInteger, reference(choices), nullable=True),
        *columns,
        Index(None, choice, "day", unique=True),
        Index(f"uq_{name}_all", "day", unique=True, postgresql_where=text(f"{choice} IS NULL")),
        Index(None, "day"),
    )


job_type_metrics = _metrics_table("scale_job_type_metrics", JOB_TYPES, "job_type_id", "scale_job_type")
ingest_metrics = _metrics_table("scale_ingest_metrics", INGESTS, "strike_id", "scale_strike")


class Load(Base):
    """How many jobs of all types together were PENDING, QUEUED and RUNNING at a moment."""

    __tablename__ = "scale_load"

    measured: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    pending_count: Mapped[int] = mapped_column(Integer)
    queued_count: Mapped[int] = mapped_column(Integer)
    running_count: Mapped[int] = mapped_column(Integer)


class JobLoad(Base):
    """How many jobs of one type were PENDING, QUEUED and RUNNING at a moment; there is no row of zeros."""

    __tablename__ = "scale_job_load"

    job_type_id: Mapped[int] = mapped_column(BigInteger, reference("scale_job_type"), primary_key=True)
    measured: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    pending_count: Mapped[int] = mapped_column(Integer)
    queued_count: Mapped[int] = mapped_column(Integer)
    running_count: Mapped[int] = mapped_column(Integer)
