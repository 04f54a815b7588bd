# SPDX-License-Identifier: Apache-2.0
"""How many jobs and files there are: exact, in the snapshot of the statement, and without counting them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, Subquery, cast, delete, func, insert, select
from sqlalchemy.orm import Session

from scale_airflow.store.models import FileTally, JobTally


def count_of(tally: type[JobTally] | type[FileTally], *conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the statement that says how many there are that meet all conditions on the tally's columns."""
    return select(cast(func.coalesce(func.sum(tally.amount), 0), BigInteger)).where(*conditions)


def queued_by_type() -> Subquery:
    """Return a subquery of ``job_type_id`` and ``count`` of QUEUED jobs, of the types that have some."""
    total = cast(func.sum(JobTally.amount), BigInteger)
    return (
        select(JobTally.job_type_id, total.label("count"))
        .where(JobTally.status == "QUEUED")
        .group_by(JobTally.job_type_id)
        .having(total > 0)
        .subquery()
    )


def merge(session: Session) -> None:
    """Make one row of all that say something of the same kind; the sums stay the same.

    Others may add meanwhile: what this transaction does not see, it leaves alone. Two that merge at once
    never take the same row: the second waits for the first and finds its rows gone.
    """
    for tally in (JobTally, FileTally):
        _merge(session, tally)


def _merge(session: Session, tally: type[JobTally] | type[FileTally]) -> None:
    kinds = [column for column in tally.__table__.columns if column.name not in ("id", "amount")]
    several = select(func.unnest(func.array_agg(tally.id))).group_by(*kinds).having(func.count() > 1)
    taken = delete(tally).where(tally.id.in_(several)).returning(*kinds, tally.amount).cte("taken")
    by = [taken.c[column.name] for column in kinds]
    total = cast(func.sum(taken.c.amount), BigInteger)
    sums = select(*by, total).group_by(*by).having(total != 0)
    session.execute(insert(tally).from_select([*(column.name for column in kinds), "amount"], sums))
