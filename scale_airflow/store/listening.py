# SPDX-License-Identifier: Apache-2.0
"""A connection outside of the pool, for one process that holds a lock and listens for hours."""

from __future__ import annotations

import select
import socket
from types import TracebackType
from typing import Any

from scale_airflow.store.session import transaction


class Listener:
    """A psycopg2 connection to the metadata database, in autocommit mode; use it with ``with``.

    :param application_name: how PostgreSQL's own views name it.
    :raises InstallationError: if the metadata database is not PostgreSQL.
    """

    def __init__(self, application_name: str):
        import psycopg2

        with transaction() as session:
            url = session.get_bind().engine.url
        arguments = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
        self._connection: Any = psycopg2.connect(**arguments, application_name=application_name)
        self._connection.autocommit = True

    def __enter__(self) -> Listener:
        """Return the listener itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection: its lock is free again."""
        self._connection.close()

    def try_lock(self, key: int) -> bool:
        """Take an advisory lock for as long as the connection lives; say whether nobody else holds it."""
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (key,))
            return bool(cursor.fetchone()[0])

    def listen(self, channel: str) -> None:
        """Be notified from now on of what transactions say on this channel."""
        from psycopg2.sql import SQL, Identifier

        with self._connection.cursor() as cursor:
            cursor.execute(SQL("LISTEN {}").format(Identifier(channel)))

    def wait(self, seconds: float, bell: socket.socket) -> None:
        """Wait until there is a notification, ``bell`` can be read, or the time is over.

        A query then proves that the connection, and with it the lock, is still there.

        :raises psycopg2.Error: if it is not.
        """
        select.select([self._connection, bell], [], [], seconds)
        self._connection.poll()
        self._connection.notifies.clear()
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT 1")
