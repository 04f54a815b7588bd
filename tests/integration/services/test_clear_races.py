# SPDX-License-Identifier: Apache-2.0
"""A user clears a task while the reconciler, a worker, or another user of Scale is at the same job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow_hand import AirflowHand
from concurrency import at_once
from sqlalchemy.orm import Session
from world import World

from scale_airflow.services import claims
from scale_airflow.services.events import user_event
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.queue import queue_job
from scale_airflow.services.reconcile import reconcile, reconcile_outcomes
from scale_airflow.services.requeue import requeue_jobs
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Job
from scale_airflow.store.session import transaction


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # However slow the machine is, the node counts as heard of.
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "600")
    made = World(session)
    made.install(tmp_path)
    return made


def cleared_jobs(world: World, hand: AirflowHand, count: int) -> list[Job]:
    """Jobs that failed, whose tasks a user has cleared and Airflow is about to run."""
    job_type = world.job_type("one", max_tries=1)
    jobs = []
    for _ in range(count):
        document = {
            "input_data": [{"name": "input", "file_id": world.source().id}],
            "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
        }
        event = user_event(world.session, "me")
        jobs.append(queue_job(world.session, job_type=job_type, data=document, event=event))
        world.session.commit()
    assert world.dispatch() == count
    for job in jobs:
        order = world.claim(job).order
        assert order is not None
        assert world.fail(order, error="timeout").decision == "failed"
        world.set_task_state(job, "failed")
        hand.user_clears([world.task(job)])
    hand.time_passes()
    return jobs


def apart(action: Callable[[Session], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with transaction() as session:
            return action(session)

    return run


def settle(world: World, hand: AirflowHand) -> None:
    hand.time_passes()
    for look in (reconcile, reconcile_outcomes):
        look(world.session)
        world.session.commit()


def no_errors(results: list[Any]) -> None:
    assert not [result for result in results if isinstance(result, Exception)], results


def test_a_clear_that_worker_reconciler_and_requeue_follow_at_once_is_one_more_try(world: World) -> None:
    hand = AirflowHand(world.session)
    jobs = cleared_jobs(world, hand, 3)
    hand.scheduler_looks()
    actions: list[Callable[[], Any]] = [apart(reconcile), apart(reconcile)]
    for job in jobs:
        world.set_task_state(job, "running")
        request, number = world.request(job), job.id
        actions.append(apart(lambda session, asked=request: claims.claim(session, asked, world.settings)))
        actions.append(
            apart(lambda session, number=number: requeue_jobs(session, JobFilter(job_ids=[number])))
        )
    world.session.rollback()
    no_errors(at_once(actions))
    settle(world, hand)
    world.dispatch()
    for job in jobs:
        found = world.reload(job)
        assert (found.status, found.num_exes, found.max_tries) == ("RUNNING", 2, 2)
        assert world.task(job).state == "running", "nothing clears it anew"


def test_a_clear_and_a_cancel_at_once_is_a_cancel(world: World) -> None:
    hand = AirflowHand(world.session)
    jobs = cleared_jobs(world, hand, 4)
    numbers = [job.id for job in jobs]
    world.session.rollback()
    cancels = [apart(lambda session, number=number: cancel_job(session, number)) for number in numbers]
    no_errors(at_once([apart(reconcile), *cancels, apart(reconcile)]))
    settle(world, hand)
    for job in jobs:
        assert (world.reload(job).status, world.task(job).state) == ("CANCELED", "failed")
