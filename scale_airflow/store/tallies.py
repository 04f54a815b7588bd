# SPDX-License-Identifier: Apache-2.0
"""How many jobs and files there are, so that a page of them need not count a million rows for its total.

PostgreSQL keeps the tallies itself, by triggers, in the transaction of every statement that changes what is
counted, whoever sends it: they can't drift. A statement adds rows with what became more or less; it changes
no row that another transaction may want, so nobody waits. The total of a kind is the sum of its rows, which
each snapshot sees whole. :func:`scale_airflow.services.tallies.merge` keeps the rows few.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, MetaData, Table, event, text
from sqlalchemy.orm import Mapped, mapped_column

from scale_airflow.store.base import Base, Id, LongText


class JobTally(Base):
    """So many more jobs (or fewer, where ``amount`` is negative) of a type and status."""

    __tablename__ = "scale_job_tally"

    id: Mapped[Id]
    job_type_id: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[LongText]
    amount: Mapped[int] = mapped_column(BigInteger)


class FileTally(Base):
    """So many more source files, or products of a job type, of a kind (or fewer)."""

    __tablename__ = "scale_file_tally"

    id: Mapped[Id]
    kind: Mapped[LongText]
    job_type_id: Mapped[int | None] = mapped_column(BigInteger)
    is_operational: Mapped[bool] = mapped_column(Boolean)
    has_been_published: Mapped[bool] = mapped_column(Boolean)
    is_parsed: Mapped[bool] = mapped_column(Boolean)
    amount: Mapped[int] = mapped_column(BigInteger)


TALLIES: dict[type[JobTally] | type[FileTally], tuple[str, tuple[str, ...]]] = {
    JobTally: ("scale_job", ("job_type_id", "status")),
    FileTally: (
        "scale_file",
        ("kind", "job_type_id", "is_operational", "has_been_published", "is_parsed"),
    ),
}
"""What is counted by each, and by which of its columns."""


_KEEP = """
CREATE OR REPLACE FUNCTION {tally}_keep() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {into} SELECT {by}, count(*) FROM added GROUP BY {by};
    ELSIF TG_OP = 'DELETE' THEN
        {into} SELECT {by}, -count(*) FROM removed GROUP BY {by};
    ELSIF TG_OP = 'UPDATE' THEN
        {into} SELECT {by}, sum(amount) FROM (
            SELECT {by}, 1 AS amount FROM added UNION ALL SELECT {by}, -1 FROM removed
        ) changed GROUP BY {by} HAVING sum(amount) <> 0;
    ELSE
        DELETE FROM {tally};
    END IF;
    RETURN NULL;
END $$"""
# Statement triggers: a row a kind, however many rows a statement changes.
_CALL = (
    "CREATE TRIGGER {tally}_{event} AFTER {EVENT} ON {table} {tables} "
    "FOR EACH STATEMENT EXECUTE FUNCTION {tally}_keep()"
)
_EVENTS = {
    "insert": "REFERENCING NEW TABLE AS added",
    "update": "REFERENCING OLD TABLE AS removed NEW TABLE AS added",
    "delete": "REFERENCING OLD TABLE AS removed",
    "truncate": "",
}
# Rows come and go: what is gone is taken away before there is much of it.
_TIDY = "ALTER TABLE {tally} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"


def statements(tally: str, table: str, columns: tuple[str, ...]) -> list[str]:
    """Return what makes the triggers of a tally, where its table is new and nothing is to be counted yet."""
    by = ", ".join(columns)
    names = {"tally": tally, "table": table, "by": by, "into": f"INSERT INTO {tally} ({by}, amount)"}
    calls = [
        _CALL.format(**names, event=event_name, EVENT=event_name.upper(), tables=tables)
        for event_name, tables in _EVENTS.items()
    ]
    return [_KEEP.format(**names), *calls, _TIDY.format(**names)]


def _keep(_metadata: MetaData, connection: Connection, tables: Iterable[Table], **_rest: Any) -> None:
    """Make the triggers where all tables are made from the models, as on a new installation."""
    made = {table.name for table in tables}
    for tally, (table, columns) in TALLIES.items():
        if tally.__tablename__ in made:
            for statement in statements(tally.__tablename__, table, columns):
                connection.execute(text(statement))


event.listen(Base.metadata, "after_create", _keep)
