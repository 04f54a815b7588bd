# SPDX-License-Identifier: Apache-2.0
"""Countries of files that are there already: for footprints stored before, and for newer borders."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from scale_airflow.definitions.countries import countries_of
from scale_airflow.store.models import ScaleFile

BATCH = 1000


def find_countries(session: Session, after: int = 0) -> tuple[int | None, int]:
    """Find the countries of the next files that have a footprint, in the order of their ids.

    A file whose countries are right already is not touched; its time of the last change stays in any case,
    since nothing was done to the file.

    :param after: the id after which to begin.
    :return: the last id that was looked at (None if there is none left), and how many files have changed.
    """
    rows = session.execute(
        select(ScaleFile.id, ScaleFile.geometry, ScaleFile.countries)
        .where(ScaleFile.id > after, ScaleFile.geometry.is_not(None))
        .order_by(ScaleFile.id)
        .limit(BATCH)
    ).all()
    changed = 0
    for row in rows:
        found = countries_of(row.geometry)
        if found == row.countries:
            continue
        # Only while the footprint is still that one: a job may store another meanwhile.
        session.execute(
            update(ScaleFile)
            .where(ScaleFile.id == row.id, ScaleFile.geometry == row.geometry)
            .values(countries=found, last_modified=ScaleFile.last_modified)
            .execution_options(synchronize_session=False)
        )
        changed += 1
    return (rows[-1].id if rows else None), changed
