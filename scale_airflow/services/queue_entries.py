# SPDX-License-Identifier: Apache-2.0
"""Put jobs that are QUEUED once more back into Scale's queue: each by itself, or with its recipe."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from scale_airflow.services.dispatch import wake
from scale_airflow.services.listing import among
from scale_airflow.store.models import Job, QueueEntry


def enqueue(session: Session, job_ids: Collection[int]) -> None:
    """Put locked jobs, QUEUED and not in Airflow, into the queue; the tick brings them there in their turn.

    A job of a recipe that never had a run in Airflow comes with its recipe, as at first.
    """
    if not job_ids:
        return
    session.flush()
    rows: Any = session.execute(
        select(Job.id, Job.recipe_id, Job.run_id, Job.job_type_id, Job.priority, Job.queued).where(
            among(Job.id, job_ids)
        )
    ).all()
    alone = [row for row in rows if row.recipe_id is None or row.run_id is not None]
    later = _later_types(session, {row.recipe_id for row in alone if row.recipe_id is not None})
    entries = [
        {
            "job_id": row.id,
            "job_type_ids": [row.job_type_id],
            "later_type_ids": sorted(later.get(row.recipe_id, set()) - {row.job_type_id}),
            "priority": row.priority,
            "queued": row.queued,
        }
        for row in alone
    ]
    if entries:
        session.execute(insert(QueueEntry).on_conflict_do_nothing(), entries)
    _enqueue_recipes(session, {row.recipe_id for row in rows} - {row.recipe_id for row in alone})
    wake(session)


def _enqueue_recipes(session: Session, recipe_ids: Collection[int]) -> None:
    """Put recipes into the queue by what is QUEUED of them, whether or not they are there already."""
    queued = _types(session, recipe_ids, "QUEUED")
    later = _later_types(session, recipe_ids)
    entries = [
        {
            "recipe_id": recipe_id,
            "job_type_ids": sorted({row.job_type_id for row in rows}),
            "later_type_ids": sorted(
                later.get(recipe_id, set()) - {row.job_type_id for row in rows},
            ),
            "priority": min(row.priority for row in rows),
            "queued": min(row.queued for row in rows),
        }
        for recipe_id, rows in queued.items()
    ]
    if entries:
        statement = insert(QueueEntry)
        changed = {
            name: statement.excluded[name]
            for name in ("job_type_ids", "later_type_ids", "priority", "queued")
        }
        session.execute(statement.on_conflict_do_update(index_elements=["recipe_id"], set_=changed), entries)


def _later_types(session: Session, recipe_ids: Collection[int]) -> dict[int, set[int]]:
    found = _types(session, recipe_ids, "PENDING")
    return {recipe_id: {row.job_type_id for row in rows} for recipe_id, rows in found.items()}


def _types(session: Session, recipe_ids: Collection[int], status: str) -> dict[int, Sequence[Any]]:
    """Return the types, with priority and time of queueing, of the jobs in this state, by recipe."""
    found: dict[int, list[Any]] = {}
    if recipe_ids:
        for row in session.execute(
            select(Job.recipe_id, Job.job_type_id, Job.priority, Job.queued).where(
                among(Job.recipe_id, recipe_ids), Job.status == status
            )
        ):
            found.setdefault(row.recipe_id, []).append(row)
    return found  # type: ignore[return-value]
