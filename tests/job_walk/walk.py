# SPDX-License-Identifier: Apache-2.0
"""A walk of random steps: what all its steps use, and the comparison of the real system with the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import reference_model as model
from airflow_hand import AirflowHand
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant
from sqlalchemy import text
from sqlalchemy.orm import Session
from world import World

from scale_airflow.execution.order import ExecutionOrder
from scale_airflow.store.models import JobType, RecipeType


@dataclass(eq=False)
class Worker:
    """A process that runs a task. It may live on when nobody believes in it any more."""

    run: model.Run
    job: model.Job
    task_instance_id: str
    order: ExecutionOrder | None = None
    number: int = 0
    ending: str | None = None


PICK = st.integers(0, 11)


class Walk(RuleBasedStateMachine):
    """What all steps use, and what is compared after each."""

    world: World
    hand: AirflowHand
    workspace: int
    scale: model.Scale
    sources: list[int]
    workers: list[Worker]
    #: The id of each of the model's jobs.
    ids: dict[int, int]

    @property
    def session(self) -> Session:
        return self.world.session

    # -- what is compared

    @invariant()
    def scale_and_airflow_are_as_the_model_says(self) -> None:
        if not hasattr(self, "scale"):
            return
        found = state_of(self.session)
        expected = {
            self.ids[id(job)]: (
                job.status,
                [each.status for each in job.tries],
                len(job.tries),
                job.max_tries,
                *((None, None) if run.state in (None, "deleted") else (job.task.state, job.task.number)),
                None if run.state == "deleted" else run.state,
                run.completed,
            )
            for run in self.scale.runs
            for job in run.jobs.values()
        }
        apart = {
            number: (found.get(number), expected.get(number))
            for number in {*found, *expected}
            if found.get(number) != expected.get(number)
        }
        assert not apart, f"job: (found, expected) {apart}"

    # -- what the steps use

    def runs_in_airflow(self) -> list[model.Run]:
        return [run for run in self.scale.runs if run.state not in (None, "deleted")]

    def pick(
        self, pick: int, condition: Callable[[model.Run, model.Job], bool]
    ) -> tuple[model.Run, model.Job] | None:
        found = [(run, job) for run in self.scale.runs for job in run.jobs.values() if condition(run, job)]
        return found[pick % len(found)] if found else None

    def pick_worker(self, pick: int, *, with_old: bool) -> Worker | None:
        found = [worker for worker in self.workers if with_old or worker.ending is None]
        return found[pick % len(found)] if found else None

    def runs_task(self, worker: Worker) -> bool:
        """Whether Airflow still takes the worker's word for how its task ended."""
        row = self.session.execute(
            text("SELECT 1 FROM task_instance WHERE id = :id AND state = 'running'"),
            {"id": worker.task_instance_id},
        ).first()
        self.session.rollback()
        return row is not None

    def task(self, run: model.Run, job: model.Job) -> Any:
        row = self.session.execute(
            text("SELECT dag_id, run_id, task_id FROM scale_job WHERE id = :id"),
            {"id": self.ids[id(job)]},
        ).one()
        return self.hand.task(*row)

    def type(self, name: str) -> JobType:
        self.session.expire_all()
        return self.session.query(JobType).filter_by(name=name).one()

    def recipe_type(self, name: str) -> RecipeType:
        self.session.expire_all()
        return self.session.query(RecipeType).filter_by(name=name).one()


STATE = text(
    """
    SELECT job.id, job.status,
           ARRAY(SELECT status FROM scale_job_execution WHERE job_id = job.id ORDER BY exe_num),
           job.num_exes, job.max_tries, task.state, task.try_number, run.state,
           COALESCE(recipe.completed IS NOT NULL, false)
    FROM scale_job job
    LEFT JOIN scale_recipe recipe ON recipe.id = job.recipe_id
    LEFT JOIN dag_run run ON run.dag_id = job.dag_id AND run.run_id = job.run_id
    LEFT JOIN task_instance task
           ON task.dag_id = job.dag_id AND task.run_id = job.run_id AND task.task_id = job.task_id
    """
)


def state_of(session: Session) -> dict[int, tuple[Any, ...]]:
    session.rollback()
    rows = session.execute(STATE).all()
    session.rollback()
    return {row[0]: tuple(row[1:]) for row in rows}
