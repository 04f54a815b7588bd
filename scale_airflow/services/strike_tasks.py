# SPDX-License-Identifier: Apache-2.0
"""Which task may speak for a Strike process: the very try that Airflow runs, and no other."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import Session

from scale_airflow.engine import tasks
from scale_airflow.engine.tasks import TaskTry
from scale_airflow.errors import Forbidden, NotFound
from scale_airflow.execution.ingest.messages import TaskIdentity
from scale_airflow.services.strikes import lock_strike
from scale_airflow.store.models import Ingest, Strike, utcnow

MAX_TRIES = 3
"""How often ingesting one file may fail before it is left alone."""


def require_task(
    session: Session, strike_id: int, asking: TaskIdentity, task_id: str
) -> tuple[Strike, TaskTry]:
    """Lock a Strike process for one of its tasks.

    :param task_id: which of its tasks may ask.
    :raises NotFound: if there is no such Strike process.
    :raises Forbidden: if Airflow does not run this very try of that task: it was replaced, or never was.
    """
    lock_strike(session, strike_id)
    strike = session.get(Strike, strike_id)
    if strike is None:
        raise NotFound(f"There is no Strike process {strike_id}.")
    found = tasks.running_try(session, asking.task_instance_id)
    asked: tuple[Any, ...] = (asking.run_id, asking.map_index, asking.try_number)
    if (
        found is None
        or (found.dag_id, found.task_id) != (strike.dag_id, task_id)
        or (asking.dag_id, asking.task_id) != (found.dag_id, found.task_id)
        or asked != (found.run_id, found.map_index, found.try_number)
    ):
        raise Forbidden(
            f"Airflow does not run try {asking.try_number} of task {asking.task_id} in run {asking.run_id} "
            f"of {asking.dag_id} as task {task_id} of Strike process {strike_id}."
        )
    return strike, found


def is_due(strike_id: int) -> ColumnElement[bool]:
    """Return the condition of ingests for which an ingest task has something to do now."""
    return and_(
        Ingest.strike_id == strike_id,
        Ingest.is_cleared.is_(False),
        or_(
            Ingest.status.in_(("QUEUED", "INGESTING", "INGESTED", "DUPLICATE")),
            and_(Ingest.status == "ERRORED", Ingest.tries < MAX_TRIES),
        ),
        or_(Ingest.retry_at.is_(None), Ingest.retry_at <= utcnow()),
    )
