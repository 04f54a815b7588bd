# SPDX-License-Identifier: Apache-2.0
"""Many are canceled and requeued while workers report, tasks claim and the tick repairs: none waits in a
circle, and what comes of it is what one after the other would have given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.models.taskinstance import TaskInstance
from concurrency import Aside, at_once
from crowd import copy_recipe
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session
from world import AGENT, HOST, World

from scale_airflow.errors import Conflict, Forbidden, NotFound
from scale_airflow.execution.order import ClaimRequest, FailureReport, PhaseTimes
from scale_airflow.services import claims, dispatch, executions, jobs, nodes
from scale_airflow.services.cancel import cancel_jobs
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_recipe
from scale_airflow.services.reconcile import reconcile
from scale_airflow.services.requeue import requeue_jobs
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Job, JobExecution, QueueEntry, Recipe
from scale_airflow.store.session import transaction

RECIPES = 30
_LINK = [{"output": "output", "input": "input"}]


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


@pytest.fixture
def crowd(world: World) -> list[int]:
    """Recipes a → b, dispatched, whose first tasks Airflow runs; the ids of their first jobs."""
    world.job_type("step", max_tries=1)
    step = {"name": "step", "version": "1.0"}
    steps: list[dict[str, Any]] = [
        {"name": "a", "job_type": step, "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}]},
        {"name": "b", "job_type": step, "dependencies": [{"name": "a", "connections": _LINK}]},
    ]
    document = {
        "version": "1.0",
        "input_data": [{"name": "scene", "file_id": world.source().id}],
        "workspace_id": world.workspace().id,
    }
    recipe_type = world.recipe_type("pair", steps)
    recipe = queue_recipe(
        world.session, recipe_type=recipe_type, data=document, event=user_event(world.session, "me")
    )
    world.session.commit()
    world.dispatch()
    copy_recipe(world.session, world.session.get_one(Recipe, recipe.id), RECIPES - 1)
    first = list(world.session.scalars(select(Job.id).where(Job.recipe_job_name == "a").order_by(Job.id)))
    world.session.execute(
        update(TaskInstance).where(TaskInstance.task_id == "a").values(state="running", try_number=1)
    )
    world.session.execute(text("UPDATE scale_job SET dispatched = now() - interval '1 minute'"))
    world.session.execute(text("UPDATE scale_job_execution SET last_modified = now() - interval '1 minute'"))
    world.session.commit()
    return first


def own(act: Callable[[Session], Any]) -> Callable[[], Any]:
    """Do something in a transaction of its own; what is refused, because of what others did, is no error."""

    def run() -> Any:
        try:
            with transaction() as session:
                return act(session)
        except (Conflict, Forbidden, NotFound) as refused:
            return str(refused)

    return run


def claim_and_fail(world: World, job_id: int) -> Callable[[], Any]:
    def act() -> Any:
        with transaction() as session:
            job = session.get_one(Job, job_id)
            task = session.scalars(
                select(TaskInstance).where(
                    TaskInstance.run_id == job.run_id, TaskInstance.task_id == job.task_id
                )
            ).one()
            address = (job.dag_id, str(job.run_id), job.task_id, -1, task.try_number, str(task.id))
        request = ClaimRequest(*address, HOST, AGENT, None)
        answer = own(lambda session: claims.claim(session, request, world.settings))()
        order = getattr(answer, "order", None)
        if order is None:
            return None
        report = FailureReport("timeout", None, "it failed", PhaseTimes(), {}, None)
        return own(lambda session: executions.fail(session, order.execution_id, report, order.token))()

    return act


def again(times: int, act: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            act()

    return run


def test_nobody_waits_in_a_circle(world: World, crowd: list[int]) -> None:
    every = JobFilter(job_ids=list(world.session.scalars(select(Job.id))))
    cancel_jobs(world.session, JobFilter(job_ids=crowd[1::2]))
    world.session.commit()
    actions: list[Callable[[], Any]] = [
        again(6, own(lambda session: cancel_jobs(session, every))),
        again(6, own(lambda session: requeue_jobs(session, every, priority=5))),
        again(6, own(lambda session: cancel_jobs(session, JobFilter(job_ids=list(reversed(crowd)))))),
        again(12, own(reconcile)),
        again(12, own(lambda session: dispatch.dispatch(session, world.settings))),
        *(claim_and_fail(world, number) for number in crowd[:8:2]),
        *(own(lambda session, number=number: jobs.cancel_job(session, number)) for number in crowd[8:12]),
    ]
    assert [outcome for outcome in at_once(actions) if isinstance(outcome, Exception)] == []
    tries = world.session.scalars(select(JobExecution.exe_num)).all()
    assert len(tries) > RECIPES, "some were requeued"
    explain(world)


def explain(world: World) -> None:
    """Each job's state is the one that its latest execution explains; who waits in the queue is QUEUED."""
    world.session.expire_all()
    for job in world.session.scalars(select(Job)):
        states = dict(
            world.session.execute(
                select(JobExecution.exe_num, JobExecution.status).where(JobExecution.job_id == job.id)
            ).all()  # type: ignore[arg-type]
        )
        assert sorted(states) == list(range(1, job.num_exes + 1)), job.id
        unfinished = [number for number, state in states.items() if state in ("QUEUED", "RUNNING")]
        if job.status in ("QUEUED", "RUNNING"):
            assert (unfinished, states[job.num_exes]) == ([job.num_exes], job.status), job.id
        else:
            assert unfinished == [], job.id
        entry = world.session.scalars(select(QueueEntry).where(QueueEntry.job_id == job.id)).one_or_none()
        if job.status == "QUEUED":
            assert (entry is not None) == (job.dispatched is None), job.id
    for recipe in world.session.scalars(select(Recipe)):
        first, second = (job.status for job in recipe.jobs)
        if first in ("FAILED", "CANCELED"):
            assert second in ("BLOCKED", "CANCELED"), recipe.id
        else:
            assert second in ("PENDING", "CANCELED"), recipe.id


def test_a_beat_during_a_cancel_stops_what_it_cancels(world: World, crowd: list[int]) -> None:
    """The agent's beat waits for nobody: it answers as before the cancel that is under way, then as after."""
    job = world.session.get_one(Job, crowd[0])
    order = world.claim(job).order
    assert order is not None
    cancel_jobs(world.session, JobFilter(job_ids=crowd))

    def beat() -> tuple[int, ...]:
        with transaction() as session:
            report = nodes.NodeBeat(AGENT, HOST, 8793, 8.0, 16384.0, 1e5, (order.execution_id,), ())
            return nodes.beat(session, report, world.settings).stop

    with Aside(world.session, beat) as aside:
        assert not aside.until_stuck()
    assert aside.result() == ()
    world.session.commit()
    assert beat() == (order.execution_id,)
