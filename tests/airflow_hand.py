# SPDX-License-Identifier: Apache-2.0
"""Airflow's part, played by hand with Airflow's own functions on its own tables: its scheduler's decisions,
the start, end and death of task processes, and what users do on its pages."""

from __future__ import annotations

import logging
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from scale_airflow.engine.serialized import serialized_dag

_MOMENTS = (
    ("scale_job", "dispatched"),
    ("scale_job", "last_status_change"),
    ("scale_job_execution", "last_modified"),
    ("task_instance", "end_date"),
    ("task_instance", "updated_at"),
    ("dag_run", "queued_at"),
)


class AirflowHand:
    """Every method leaves its changes committed."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def task(self, dag_id: str, run_id: str, task_id: str) -> TaskInstance | None:
        self.session.expire_all()
        return self.session.scalars(
            select(TaskInstance).where(
                TaskInstance.dag_id == dag_id,
                TaskInstance.run_id == run_id,
                TaskInstance.task_id == task_id,
            )
        ).one_or_none()

    def time_passes(self) -> None:
        """Let a minute pass for everything that is compared with the present."""
        for table in sorted({table for table, _ in _MOMENTS}):
            columns = ", ".join(
                f"{name} = {name} - interval '1 minute'" for of, name in _MOMENTS if of == table
            )
            self.session.execute(text(f"UPDATE {table} SET {columns}"))
        self.session.commit()

    def scheduler_looks(self) -> None:
        """What the scheduler's loop does with each run, but for sending tasks to workers."""
        # The pause before a next try is over.
        self.session.execute(
            text(
                "UPDATE task_instance SET end_date = end_date - interval '1 minute' "
                "WHERE state = 'up_for_retry'"
            )
        )
        self.session.expire_all()
        live = DagRun._state.in_([DagRunState.QUEUED, DagRunState.RUNNING])
        for run in self.session.scalars(select(DagRun).where(live).order_by(DagRun.id)).all():
            run.dag = serialized_dag(self.session, run.dag_id).dag
            if run.state == DagRunState.QUEUED:
                run.set_state(DagRunState.RUNNING)
            for _ in range(4):  # as many generations as a recipe of the test has
                if run.state != DagRunState.RUNNING:
                    break
                ready, _ = run.update_state(session=self.session, execute_callbacks=False)
                run.schedule_tis(ready, session=self.session)
                self.session.flush()
                self.session.expire_all()
                run.dag = serialized_dag(self.session, run.dag_id).dag
        self.session.commit()

    def set_state(self, task: TaskInstance, state: str) -> None:
        task.set_state(TaskInstanceState(state), session=self.session)
        self.session.commit()

    def worker_dies(self, task: TaskInstance) -> None:
        """What Airflow does about a task whose worker is gone, or says that it is to be tried again."""
        logging.getLogger("airflow.task").setLevel(logging.CRITICAL)
        TaskInstance.fetch_handle_failure_context(task, None, session=self.session)
        self.session.commit()

    def user_clears(self, tasks: list[TaskInstance]) -> None:
        clear_task_instances(tasks, self.session)
        self.session.commit()

    def user_marks(self, task: TaskInstance, state: str) -> None:
        """A click on "mark as"; Airflow also clears what it gave up of the tasks after it."""
        dag: Any = serialized_dag(self.session, task.dag_id).dag
        dag.set_task_instance_state(
            task_id=task.task_id,
            run_id=task.run_id,
            state=TaskInstanceState(state),
            session=self.session,
        )
        self.session.commit()

    def user_deletes_run(self, dag_id: str, run_id: str) -> None:
        run = self.session.scalars(
            select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        ).one()
        self.session.delete(run)
        self.session.commit()
