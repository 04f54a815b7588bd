# SPDX-License-Identifier: Apache-2.0
"""A user clears a task while the reconciler, a worker, or another user of Scale is at the same job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_hand import AirflowHand
from concurrency import apart, at_once, no_errors
from work import fail, queued
from world import World

from scale_airflow.services import claims
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.reconcile import reconcile, reconcile_outcomes
from scale_airflow.services.requeue import requeue_jobs
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Job


def cleared_jobs(world: World, hand: AirflowHand, count: int) -> list[Job]:
    """Jobs that failed, whose tasks a user has cleared and Airflow is about to run."""
    job_type = world.job_type("one", max_tries=1)
    jobs = [queued(world, job_type) for _ in range(count)]
    assert world.dispatch() == count
    for job in jobs:
        fail(world, job)
        hand.user_clears([world.task(job)])
    hand.time_passes()
    return jobs


def settle(world: World, hand: AirflowHand) -> None:
    hand.time_passes()
    for look in (reconcile, reconcile_outcomes):
        look(world.session)
        world.session.commit()


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
