# SPDX-License-Identifier: Apache-2.0
"""Airflow connections: the one that workers use, with its secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class StoredConnection:
    """A connection as it stands in Airflow's metadata database.

    :param secret: its password, decrypted; None where there is none, or where it is unreadable.
    :param is_unreadable: whether the password can't be decrypted, because ``[core] fernet_key`` has changed.
    """

    connection_id: str
    type: str
    host: str | None
    secret: str | None = field(repr=False)
    is_unreadable: bool = False


def stored_connection(session: Session, connection_id: str) -> StoredConnection | None:
    """Return a connection of the metadata database; None if there is none with this id."""
    from airflow.models import Connection
    from airflow.models.crypto import get_fernet
    from cryptography.fernet import InvalidToken
    from sqlalchemy import select

    # Columns only: Airflow decrypts the password of a whole row when it loads it, and fails if it can't.
    columns = (Connection.conn_type, Connection.host, Connection._password, Connection.is_encrypted)
    row = session.execute(select(*columns).where(Connection.conn_id == connection_id)).one_or_none()
    if row is None:
        return None
    type_, host, password, is_encrypted = row
    if password and is_encrypted:
        try:
            password = get_fernet().decrypt(password.encode()).decode()
        except (InvalidToken, ValueError):
            return StoredConnection(connection_id, type_, host, None, is_unreadable=True)
    return StoredConnection(connection_id, type_, host, password or None)


def store_connection(
    session: Session, connection_id: str, *, type: str, host: str, secret: str, description: str
) -> None:
    """Make a connection, or give the one that is there this type, host and password.

    The row is not loaded: one whose password can't be decrypted any more can be mended like that.
    """
    from airflow.models import Connection
    from sqlalchemy.dialects.postgresql import insert

    made = Connection(conn_id=connection_id, conn_type=type, host=host, password=secret)
    values = {
        "conn_type": type,
        "host": host,
        "description": description,
        "password": made._password,
        "is_encrypted": made.is_encrypted,
    }
    table = Connection.__table__
    session.execute(
        insert(table)
        .values(conn_id=connection_id, is_extra_encrypted=False, **values)
        .on_conflict_do_update(index_elements=[table.c.conn_id], set_=values)
    )
