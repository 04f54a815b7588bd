# SPDX-License-Identifier: Apache-2.0
"""A user clears tasks, of jobs that are over or requeued: one look later Scale and Airflow agree."""

from __future__ import annotations

import pytest
from airflow.models.taskinstance import TaskInstance
from airflow_hand import AirflowHand
from looks import kinds, look, run_state
from sqlalchemy import func, select, text, update
from work import CHAIN, chain, fail, lone_job, products, queued_recipe, started, states, statuses
from world import World

from scale_airflow.compiler.dags import weight_of
from scale_airflow.services.cancel import cancel_jobs
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.reconcile import reconcile
from scale_airflow.services.requeue import requeue_jobs
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Job, QueueEntry

# -- a user clears -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["FAILED", "CANCELED"])
def test_a_clear_is_a_requeue_within_one_look(world: World, hand: AirflowHand, status: str) -> None:
    job = lone_job(world, max_tries=3, priority=7)
    if status == "FAILED":
        job.max_tries = 1
        world.session.commit()
        fail(world, job)
    else:
        assert world.claim(job).answer == "go"
        cancel_job(world.session, job.id)
        world.session.commit()
    hand.user_clears([world.task(job)])
    assert world.task(job).priority_weight == weight_of(100), "Airflow takes the DAG's"
    assert look(world, hand) == 1
    found = world.reload(job)
    assert (found.status, found.num_exes, found.max_tries, found.priority) == ("QUEUED", 2, 2, 7)
    assert world.task(job).priority_weight == weight_of(7)
    hand.scheduler_looks()
    order = started(world, job)
    assert world.fail(order, error="timeout").decision == "failed", "exactly one more try"
    assert kinds(world) == ["job-requeued-task-cleared"]


def test_a_clear_of_a_whole_run_does_again_what_came_to_nothing(world: World, hand: AirflowHand) -> None:
    jobs = chain(world)
    world.run(jobs["a"])
    fail(world, jobs["b"])
    hand.scheduler_looks()
    assert (states(world, jobs), run_state(world, jobs["a"])) == ("success failed upstream_failed", "failed")
    hand.user_clears([world.task(job) for job in jobs.values()])
    assert look(world, hand) == 2
    assert statuses(world, jobs) == "COMPLETED QUEUED PENDING"
    for name in ("b", "c"):
        hand.scheduler_looks()
        world.run(jobs[name])
    hand.scheduler_looks()
    assert (statuses(world, jobs), run_state(world, jobs["a"])) == ("COMPLETED " * 2 + "COMPLETED", "success")
    assert products(world) == 3


def test_a_clear_of_a_completed_job_runs_nothing_and_says_why(world: World, hand: AirflowHand) -> None:
    job = lone_job(world)
    world.run(job)
    hand.user_clears([world.task(job)])
    world.session.execute(text("UPDATE scale_job SET dispatched = dispatched - interval '1 minute'"))
    assert reconcile(world.session) == 0, "its turn comes"
    world.session.commit()
    hand.scheduler_looks()
    answer = world.claim(job)
    assert (answer.answer, answer.outcome) == ("over", "completed")
    assert "does not run again" in str(answer.reason)
    assert "queue a new job or recipe" in str(answer.reason)
    assert (world.reload(job).num_exes, products(world)) == (1, 1)


def test_a_cleared_task_of_a_completed_job_does_not_wait_for_ever(world: World, hand: AirflowHand) -> None:
    job = lone_job(world)
    world.run(job)
    hand.scheduler_looks()
    hand.user_clears([world.task(job)])
    assert look(world, hand) == 1
    assert (world.task(job).state, products(world)) == ("success", 1)
    assert "Queue it anew" in str(world.task(job).note)


def test_the_priority_that_a_clear_takes_comes_back(world: World, hand: AirflowHand) -> None:
    job = lone_job(world, priority=3)
    hand.scheduler_looks()
    hand.user_clears([world.task(job)])
    assert world.task(job).priority_weight == weight_of(100)
    assert look(world, hand) == 1
    assert (world.reload(job).status, world.task(job).priority_weight) == ("QUEUED", weight_of(3))
    assert world.reload(job).num_exes == 1


def test_each_task_has_its_own_jobs_priority_from_the_beginning(world: World, hand: AirflowHand) -> None:
    world.job_type("urgent", priority=5)
    step = {**CHAIN[1], "job_type": {"name": "urgent", "version": "1.0"}}
    world.job_type("step", max_tries=1)
    recipe = queued_recipe(world, world.recipe_type("mixed", [CHAIN[0], step]))
    assert world.dispatch() == 1
    jobs = {str(job.recipe_job_name): job for job in recipe.jobs}
    weights = [world.task(job).priority_weight for job in jobs.values()]
    assert weights == [weight_of(100), weight_of(5)]
    assert look(world, hand) == 0
    fail(world, jobs["a"])
    requeue_jobs(world.session, JobFilter(job_ids=[jobs["a"].id]))
    world.session.commit()
    assert world.dispatch() == 1
    assert [world.task(job).priority_weight for job in jobs.values()] == weights
    assert look(world, hand) == 0


@pytest.mark.parametrize("priority", [-(2**31), -1000, 0, 100, 2**31 - 1])
def test_no_priority_is_a_disagreement_by_itself(world: World, hand: AirflowHand, priority: int) -> None:
    job = lone_job(world, priority=0)
    world.session.execute(update(Job).values(priority=priority))
    world.session.execute(update(TaskInstance).values(priority_weight=weight_of(priority)))
    world.session.commit()
    assert look(world, hand) == 0
    assert world.reload(job).status == "QUEUED"


# -- both at once: Scale's queue and a user of Airflow -------------------------------------------------------


def test_a_requeued_job_that_a_user_clears_before_its_turn_is_not_dispatched_while_it_runs(
    world: World, hand: AirflowHand
) -> None:
    job = lone_job(world)
    fail(world, job)
    requeue_jobs(world.session, JobFilter(job_ids=[job.id]))
    world.session.commit()
    hand.user_clears([world.task(job)])
    hand.scheduler_looks()
    order = started(world, job)
    assert world.dispatch() == 0
    assert world.task(job).state == "running"
    assert look(world, hand) == 0
    assert world.complete(order).decision == "done"
    assert world.reload(job).num_exes == 2


@pytest.mark.parametrize("many", [False, True])
def test_a_requeued_job_that_is_cleared_and_canceled_stays_canceled(
    world: World, hand: AirflowHand, many: bool
) -> None:
    job = lone_job(world)
    fail(world, job)
    requeue_jobs(world.session, JobFilter(job_ids=[job.id]))
    world.session.commit()
    hand.user_clears([world.task(job)])
    if many:
        cancel_jobs(world.session, JobFilter(job_ids=[job.id]))
    else:
        cancel_job(world.session, job.id)
    world.session.commit()
    assert world.task(job).state == "failed"
    assert look(world, hand) == 0
    assert world.reload(job).status == "CANCELED"


def test_a_requeued_job_that_was_canceled_before_its_turn_can_be_cleared(
    world: World, hand: AirflowHand
) -> None:
    job = lone_job(world)
    fail(world, job)
    requeue_jobs(world.session, JobFilter(job_ids=[job.id]))
    cancel_job(world.session, job.id)
    world.session.commit()
    hand.user_clears([world.task(job)])
    assert look(world, hand) == 1
    assert world.reload(job).status == "QUEUED"
    hand.user_marks(world.task(job), "failed")
    assert look(world, hand) == 1
    assert world.reload(job).status == "CANCELED"


def test_a_requeued_job_is_not_taken_for_one_that_a_user_ended(world: World, hand: AirflowHand) -> None:
    jobs = chain(world)
    world.run(jobs["a"])
    fail(world, jobs["b"])
    hand.scheduler_looks()
    requeue_jobs(world.session, JobFilter(job_ids=[jobs["b"].id]))
    world.session.commit()
    assert look(world, hand) == 0
    assert statuses(world, jobs) == "COMPLETED QUEUED PENDING"


def test_a_recipe_that_is_canceled_before_its_turn_gets_no_run(world: World) -> None:
    jobs = chain(world, dispatched=False)
    cancel_job(world.session, jobs["a"].id)
    world.session.commit()
    assert statuses(world, jobs) == "CANCELED BLOCKED BLOCKED"
    assert world.session.execute(select(func.count()).select_from(QueueEntry)).scalar_one() == 0
    assert world.dispatch() == 0
    requeue_jobs(world.session, JobFilter(job_ids=[jobs["a"].id]))
    world.session.commit()
    assert world.dispatch() == 1
    assert statuses(world, jobs) == "QUEUED PENDING PENDING"
    assert states(world, jobs) == "None None None"
