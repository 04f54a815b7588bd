# SPDX-License-Identifier: Apache-2.0
"""What one try of a Rescale task leaves for the next, in Airflow's task state store."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.context import NEVER_EXPIRE

from scale_airflow.errors import RescaleError
from scale_airflow.rescale.submission import Marker
from scale_airflow.rescale.submission_steps import Memory

if TYPE_CHECKING:
    from airflow.sdk import Context

STATE_KEY = "rescale_job"


class TaskMemory:
    """Stores in ``context["task_state_store"]``, which no try clears and which outlives the worker."""

    def __init__(self, store: Any) -> None:
        self._store = store

    @classmethod
    def of(cls, context: Context) -> TaskMemory:
        """Return the running task's.

        :raises RescaleError: where Airflow offers none.
        """
        store = context.get("task_state_store")
        if store is None:
            raise RescaleError(
                "Airflow offers this task no state store, without which a job could be paid for twice. "
                "Run it with durable=False if that is what you want."
            )
        return cls(store)

    def recall(self) -> Memory | None:
        """Return what was stored last."""
        return Memory.from_document(self._store.get(STATE_KEY))

    def remember(self, memory: Memory) -> None:
        """Store, and read back what is stored.

        :raises RescaleError: if something else is: another try of the task has taken over.
        """
        self._store.set(STATE_KEY, memory.to_document(), retention=NEVER_EXPIRE)
        stored = self.recall()
        if stored != memory:
            raise RescaleError(
                f"Job {memory.job_id} was not started: what this try stored is not what is there now "
                f"({stored.job_id if stored else 'nothing'}). Another try of this task seems to run.",
                job_id=memory.job_id,
            )


def marker_of(context: Context, payload: object) -> Marker:
    """Return the marker of the running task instance."""
    ti: Any = context["ti"]
    map_index = -1 if ti.map_index is None else int(ti.map_index)
    return Marker.of(ti.dag_id, ti.run_id, ti.task_id, map_index, payload)


def first_moment(context: Context) -> datetime | None:
    """Return when the task can first have made a job: not before its DAG run."""
    run: Any = context.get("dag_run")
    moments = [getattr(run, name, None) for name in ("queued_at", "start_date", "run_after")]
    known = [moment for moment in moments if isinstance(moment, datetime)]
    return min(known) if known else None


def cleared_at(context: Context) -> int:
    """Return the try after which a user cleared the task last; 0 if never.

    Clearing gives a task as many further tries as it has retries, counted from the try it had made.
    """
    ti: Any = context["ti"]
    retries = int(getattr(ti.task, "retries", 0) or 0)
    return max(0, int(ti.max_tries or 0) - retries)


def is_last_try(context: Context) -> bool:
    """Whether Airflow will not try the task again by itself."""
    ti: Any = context["ti"]
    return int(ti.try_number) > int(ti.max_tries or 0)
