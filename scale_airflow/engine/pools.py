# SPDX-License-Identifier: Apache-2.0
"""Airflow's pools: how many tasks of a job type may run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: As many tasks as there are.
UNLIMITED = -1


def set_pool(session: Session, name: str, slots: int, description: str) -> None:
    """Create a pool or change it; two transactions that create it at once both succeed.

    :param slots: how many tasks may run; :data:`UNLIMITED`; 0 while nothing of it may start.
    """
    from airflow.models.pool import Pool
    from sqlalchemy.dialects.postgresql import insert

    values = {"slots": slots, "description": description}
    session.execute(
        insert(Pool)
        .values(pool=name, include_deferred=False, **values)
        .on_conflict_do_update(
            index_elements=[Pool.pool],
            set_=values,
            where=(Pool.slots != slots) | (Pool.description.is_distinct_from(description)),
        )
    )


def pool_slots(session: Session, name: str) -> int | None:
    """Return the slots of a pool; None if there is none of this name."""
    from airflow.models.pool import Pool
    from sqlalchemy import select

    return session.scalar(select(Pool.slots).where(Pool.pool == name))
