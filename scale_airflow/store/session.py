# SPDX-License-Identifier: Apache-2.0
"""One transaction: the unit of every use case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from scale_airflow import crash_points
from scale_airflow.errors import InstallationError


@contextmanager
def transaction(*, point: str | None = None) -> Iterator[Session]:
    """Open a session of its own on Airflow's metadata database; commit at the end, roll back on an error.

    The session is never Airflow's scoped one: closing that would end a transaction of Airflow's.

    :param point: name of its crash points, ``<point>.commit.before`` and ``<point>.commit.after``; for those
        that write.

    :raises InstallationError: if the metadata database is not PostgreSQL.
    """
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        require_postgresql(session)
        yield session
        if point is not None:
            session.flush()
            crash_points.reach(f"{point}.commit.before")
    if point is not None:
        crash_points.reach(f"{point}.commit.after")


def require_postgresql(session: Session) -> None:
    """Refuse a metadata database that is not PostgreSQL.

    :raises InstallationError: naming the option to change.
    """
    name = session.get_bind().dialect.name
    if name != "postgresql":
        raise InstallationError(
            f"Scale keeps its tables in Airflow's metadata database, which is {name}; it needs PostgreSQL.",
            "Set [database] sql_alchemy_conn to a PostgreSQL 13 (or later) database and run "
            "`airflow db migrate`.",
        )
