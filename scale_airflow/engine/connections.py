# SPDX-License-Identifier: Apache-2.0
"""Airflow connections: the one that workers use, with its secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scale_airflow.errors import EngineError

if TYPE_CHECKING:
    from airflow.models import Connection
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class StoredConnection:
    """A connection as it stands in Airflow's metadata database.

    :param secret: its password, decrypted; None where there is none.
    """

    connection_id: str
    type: str
    host: str | None
    secret: str | None = field(repr=False)


def stored_connection(session: Session, connection_id: str) -> StoredConnection | None:
    """Return a connection of the metadata database; None if there is none with this id.

    :raises EngineError: if its password can't be decrypted, because ``[core] fernet_key`` has changed.
    """
    row = _row(session, connection_id)
    if row is None:
        return None
    try:
        secret = row.get_password()
    except Exception as error:
        raise EngineError(
            f"The password of the connection {connection_id} can't be decrypted: {type(error).__name__}."
        ) from None
    return StoredConnection(connection_id, str(row.conn_type), row.host, secret or None)


def store_connection(
    session: Session, connection_id: str, *, type: str, host: str, secret: str, description: str
) -> None:
    """Make a connection, or give the one that is there this type, host and password."""
    from airflow.models import Connection

    row = _row(session, connection_id)
    if row is None:
        row = Connection(conn_id=connection_id, conn_type=type, host=host, description=description)
        session.add(row)
    row.conn_type, row.host, row.description = type, host, description
    row.set_password(secret)
    session.flush()


def _row(session: Session, connection_id: str) -> Connection | None:
    from airflow.models import Connection
    from sqlalchemy import select

    return session.scalar(select(Connection).where(Connection.conn_id == connection_id))
