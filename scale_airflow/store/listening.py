# SPDX-License-Identifier: Apache-2.0
"""A connection outside of the pool, for one process that holds a lock and listens for hours."""

from __future__ import annotations

from typing import Any

from scale_airflow.store.session import transaction


def own_connection(application_name: str) -> Any:
    """Open a psycopg2 connection to the metadata database, in autocommit mode; the caller closes it.

    :param application_name: how PostgreSQL's own views name it.
    :raises InstallationError: if the metadata database is not PostgreSQL.
    """
    import psycopg2

    with transaction() as session:
        url = session.get_bind().engine.url
    arguments = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
    connection = psycopg2.connect(**arguments, application_name=application_name)
    connection.autocommit = True
    return connection
