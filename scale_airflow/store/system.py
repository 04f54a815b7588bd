# SPDX-License-Identifier: Apache-2.0
"""What the installation keeps for itself: generated DAG files and long-lived tokens."""

from __future__ import annotations

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from scale_airflow.store.base import Base, Created, Id, LongText, OptionalMoment


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
