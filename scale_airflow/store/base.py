# SPDX-License-Identifier: Apache-2.0
"""The declarative base of Scale's tables and the column types they share."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


def utcnow() -> datetime:
    """Return the present moment, with its zone."""
    return datetime.now(timezone.utc)


class Base(DeclarativeBase):
    """Base of Scale's tables: a metadata of their own, so that Airflow's migrations never see them."""

    metadata = MetaData(naming_convention=NAMING)


Id = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
Moment = Annotated[datetime, mapped_column(DateTime(timezone=True))]
OptionalMoment = Annotated[datetime | None, mapped_column(DateTime(timezone=True), nullable=True)]
Created = Annotated[datetime, mapped_column(DateTime(timezone=True), default=utcnow)]
Modified = Annotated[datetime, mapped_column(DateTime(timezone=True), default=utcnow, onupdate=utcnow)]
Document = Annotated[dict[str, Any], mapped_column(JSONB)]
OptionalDocument = Annotated[dict[str, Any] | None, mapped_column(JSONB(none_as_null=True), nullable=True)]
LongText = Annotated[str, mapped_column(Text)]
OptionalText = Annotated[str | None, mapped_column(Text, nullable=True)]


def reference(table: str) -> Any:
    """Return a foreign key to the ``id`` of ``table``."""
    return ForeignKey(f"{table}.id")
