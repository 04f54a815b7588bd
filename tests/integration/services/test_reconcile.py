# SPDX-License-Identifier: Apache-2.0
"""Whatever users and Airflow do to tasks: one look later Scale and Airflow agree, and it is on record."""

from __future__ import annotations

import pytest
from airflow_hand import AirflowHand
from looks import kinds, look, run_state
from sqlalchemy import select
from work import chain, fail, lone_job, products, started, states, statuses
from world import World

from scale_airflow.services import claims
from scale_airflow.services.cancel import cancel_jobs
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.requeue import requeue_jobs
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Recipe, Repair

# -- a user marks a task -------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_running", [False, True])
def test_a_job_whose_task_a_user_marks_failed_is_canceled(
    world: World, hand: AirflowHand, is_running: bool, caplog: pytest.LogCaptureFixture
) -> None:
    job = lone_job(world)
    order = world.claim(job).order if is_running else None
    hand.user_marks(world.task(job), "failed")
    assert look(world, hand) == 1
    found = world.reload(job)
    assert (found.status, found.executions[0].status) == ("CANCELED", "CANCELED")
    if order is not None:
        assert world.beat(order.execution_id).stop == (order.execution_id,), "its container is to go"
        assert world.complete(order).decision == "ignored"
    [repair] = world.session.scalars(select(Repair)).all()
    before = f"job {'RUNNING' if is_running else 'QUEUED'}, task failed"
    assert (repair.kind, repair.job_id, repair.before, repair.after) == (
        "job-canceled-task-ended",
        job.id,
        before,
        "job CANCELED",
    )
    assert repair.job_exe_id == found.executions[0].id
    [line] = [record.getMessage() for record in caplog.records if "repair kind=" in record.getMessage()]
    assert (
        f"kind=job-canceled-task-ended job={job.id} execution={repair.job_exe_id} before='{before}'" in line
    )


@pytest.mark.parametrize("is_running", [False, True])
def test_a_task_that_is_marked_a_success_makes_nothing_out_of_nothing(
    world: World, hand: AirflowHand, is_running: bool
) -> None:
    jobs = chain(world)
    order = world.claim(jobs["a"]).order if is_running else None
    hand.user_marks(world.task(jobs["a"]), "success")
    hand.scheduler_looks()
    assert states(world, jobs) == "success scheduled None", "Airflow goes on"
    assert world.claim(jobs["b"]).answer == "wait", "Scale does not"
    world.set_task_state(jobs["b"], "deferred")
    assert look(world, hand) >= 1
    assert statuses(world, jobs) == "CANCELED BLOCKED BLOCKED"
    if order is not None:
        assert world.complete(order).decision == "ignored"
    asked = claims.reserve(world.session, world.request(jobs["b"]), world.settings)
    assert asked.ready, "so that it hears of it"
    world.session.commit()
    assert world.claim(jobs["b"]).outcome == "failed"
    world.set_task_state(jobs["b"], "failed")
    hand.scheduler_looks()
    assert states(world, jobs) == "failed failed upstream_failed"
    assert (run_state(world, jobs["a"]), products(world)) == ("failed", 0)


def test_what_a_worker_reports_though_its_task_was_marked_a_success_counts(
    world: World, hand: AirflowHand
) -> None:
    jobs = chain(world)
    order = started(world, jobs["a"])
    hand.user_marks(world.task(jobs["a"]), "success")
    hand.scheduler_looks()
    assert world.claim(jobs["b"]).answer == "wait"
    assert world.complete(order).decision == "done"
    assert look(world, hand) == 0
    assert world.claim(jobs["b"]).answer == "go"


@pytest.mark.parametrize("is_over", [False, True])
def test_a_failed_job_whose_task_is_marked_a_success_stays_failed(
    world: World, hand: AirflowHand, is_over: bool
) -> None:
    job = lone_job(world)
    fail(world, job)
    if is_over:
        hand.scheduler_looks()
        assert run_state(world, job) == "failed"
    hand.user_marks(world.task(job), "success")
    assert look(world, hand) == 1
    assert (world.reload(job).status, world.task(job).state) == ("FAILED", "failed")
    assert "makes no results" in str(world.task(job).note)
    hand.scheduler_looks()
    assert run_state(world, job) == "failed"
    assert kinds(world) == ["task-set-failed"]


@pytest.mark.parametrize("is_over", [False, True])
def test_a_completed_job_whose_task_is_marked_failed_stays_completed(
    world: World, hand: AirflowHand, is_over: bool
) -> None:
    job = lone_job(world)
    world.run(job)
    if is_over:
        hand.scheduler_looks()
        assert run_state(world, job) == "success"
    hand.user_marks(world.task(job), "failed")
    assert look(world, hand) == 1
    assert (world.reload(job).status, world.task(job).state) == ("COMPLETED", "success")
    assert "they stay" in str(world.task(job).note)
    hand.scheduler_looks()
    assert run_state(world, job) == "success"
    assert kinds(world) == ["task-set-success"]


def test_what_a_repair_blocks_is_repaired_by_the_same_look(world: World, hand: AirflowHand) -> None:
    jobs = chain(world)
    cancel_job(world.session, jobs["b"].id)
    requeue_jobs(world.session, JobFilter(job_ids=[jobs["b"].id]))
    world.session.commit()
    hand.user_marks(world.task(jobs["a"]), "failed")
    hand.user_marks(world.task(jobs["b"]), "success")
    look(world, hand)
    assert statuses(world, jobs) == "CANCELED BLOCKED BLOCKED"
    assert states(world, jobs) == "failed failed None"


def test_a_job_that_waits_for_its_parents_is_canceled_with_its_task(world: World, hand: AirflowHand) -> None:
    jobs = chain(world)
    hand.user_marks(world.task(jobs["b"]), "failed")
    assert look(world, hand) == 1
    assert statuses(world, jobs) == "QUEUED CANCELED BLOCKED"
    world.run(jobs["a"])
    assert statuses(world, jobs) == "COMPLETED CANCELED BLOCKED"


def test_what_waits_again_after_a_cancel_waits_in_airflow_too(world: World, hand: AirflowHand) -> None:
    jobs = chain(world)
    everything = JobFilter(job_ids=[job.id for job in jobs.values()])
    cancel_jobs(world.session, everything)
    requeue_jobs(world.session, everything)
    world.session.commit()
    assert (statuses(world, jobs), states(world, jobs)) == ("QUEUED PENDING PENDING", "failed failed failed")
    assert look(world, hand) == 2, "but for the one that waits for its turn"
    assert states(world, jobs) == "failed None None"
    assert world.dispatch() == 1
    assert states(world, jobs) == "None None None"
    assert statuses(world, jobs) == "QUEUED PENDING PENDING"


@pytest.mark.parametrize("state", ["failed", "success"])
def test_what_a_user_marked_before_a_requeue_does_not_count(
    world: World, hand: AirflowHand, state: str
) -> None:
    jobs = chain(world)
    cancel_job(world.session, jobs["b"].id)
    world.session.commit()
    hand.user_marks(world.task(jobs["b"]), state)
    requeue_jobs(world.session, JobFilter(job_ids=[jobs["b"].id]))
    world.session.commit()
    look(world, hand)
    assert statuses(world, jobs) == "QUEUED PENDING PENDING"
    assert states(world, jobs) == "None None None"
    hand.user_marks(world.task(jobs["b"]), state)
    look(world, hand)
    assert statuses(world, jobs) == "QUEUED CANCELED BLOCKED", "what he marks afterwards does"
    assert world.task(jobs["b"]).state == "failed"


def test_the_children_of_a_completed_job_go_on_whatever_airflow_made_of_its_task(
    world: World, hand: AirflowHand
) -> None:
    jobs = chain(world)
    order = started(world, jobs["a"])
    hand.user_marks(world.task(jobs["a"]), "failed")
    hand.scheduler_looks()
    assert world.complete(order).decision == "done", "it came before the reconciler"
    assert states(world, jobs) == "failed upstream_failed upstream_failed"
    assert look(world, hand) >= 1
    assert states(world, jobs) == "success None None"
    assert statuses(world, jobs) == "COMPLETED QUEUED PENDING"
    for name in ("b", "c"):
        hand.scheduler_looks()
        assert world.task(jobs[name]).state == "scheduled"
        world.run(jobs[name])
    hand.scheduler_looks()
    assert run_state(world, jobs["a"]) == "success"


# -- tasks that no worker runs any more ----------------------------------------------------------------------


def test_a_task_that_is_to_be_tried_again_of_a_job_that_is_over_ends_without_a_start(
    world: World, hand: AirflowHand
) -> None:
    failed, completed = lone_job(world), lone_job(world, "two")
    for job in (failed, completed):
        order = started(world, job)
        decision = world.fail(order, error="timeout") if job is failed else world.complete(order)
        assert decision.decision in ("failed", "done")
        hand.worker_dies(world.task(job))
    assert look(world, hand) == 2
    assert (world.task(failed).state, world.task(completed).state) == ("failed", "success")
    assert (world.reload(failed).num_exes, world.reload(completed).num_exes) == (1, 1)


def test_a_job_that_its_parents_results_do_not_fit_fails_in_airflow_too(
    world: World, hand: AirflowHand
) -> None:
    jobs = chain(world)
    order = started(world, jobs["a"])
    world.workspace().is_active = False
    world.session.commit()
    world.complete(order)
    world.set_task_state(jobs["a"], "success")
    hand.scheduler_looks()
    assert (statuses(world, jobs), states(world, jobs)) == (
        "COMPLETED FAILED BLOCKED",
        "success scheduled None",
    )
    assert look(world, hand) == 1
    hand.scheduler_looks()
    assert states(world, jobs) == "success failed upstream_failed"
    world.workspace().is_active = True
    world.session.commit()
    hand.user_clears([world.task(jobs["b"])])
    assert look(world, hand) == 1, "this time it was a user's wish"
    assert statuses(world, jobs) == "COMPLETED QUEUED PENDING"


# -- a run is deleted ----------------------------------------------------------------------------------------


def test_a_job_whose_run_was_deleted_is_not_lost(world: World, hand: AirflowHand) -> None:
    jobs = chain(world)
    world.run(jobs["a"])
    order = started(world, jobs["b"])
    dag_id, run_id = jobs["a"].dag_id, str(world.reload(jobs["a"]).run_id)
    hand.user_deletes_run(dag_id, run_id)
    assert look(world, hand) == 1
    assert statuses(world, jobs) == "COMPLETED CANCELED BLOCKED"
    assert "its run was deleted" in str(world.execution(jobs["b"]).message)
    assert world.beat(order.execution_id).stop == (order.execution_id,)

    requeue_jobs(world.session, JobFilter(job_ids=[jobs["b"].id]))
    world.session.commit()
    assert world.dispatch() == 1
    assert states(world, jobs) == "success None None"
    assert world.complete(order).decision == "ignored"
    for name in ("b", "c"):
        hand.scheduler_looks()
        world.run(jobs[name])
    hand.scheduler_looks()
    assert (run_state(world, jobs["a"]), products(world)) == ("success", 3)
    assert world.session.get_one(Recipe, world.reload(jobs["a"]).recipe_id).completed is not None


def test_a_lone_job_whose_run_is_gone_runs_again_when_requeued(world: World, hand: AirflowHand) -> None:
    job = lone_job(world)
    fail(world, job)
    hand.user_deletes_run(job.dag_id, str(job.run_id))
    assert look(world, hand) == 0, "what is over needs no run"
    assert world.reload(job).status == "FAILED"
    requeue_jobs(world.session, JobFilter(job_ids=[job.id]))
    world.session.commit()
    assert world.dispatch() == 1
    hand.scheduler_looks()
    world.run(job)
    assert world.reload(job).status == "COMPLETED"


@pytest.mark.parametrize("is_running", [False, True])
def test_the_next_job_runs_though_a_user_marks_the_completed_one_failed(
    world: World, hand: AirflowHand, is_running: bool
) -> None:
    """Airflow gives up what comes after the task, and then takes the run for a deadlock."""
    jobs = chain(world)
    world.run(jobs["a"])
    hand.scheduler_looks()
    assert states(world, jobs) == "success scheduled None"
    order = started(world, jobs["b"]) if is_running else None
    hand.user_marks(world.task(jobs["a"]), "failed")
    hand.scheduler_looks()
    look(world, hand)
    assert run_state(world, jobs["a"]) in ("queued", "running")
    assert statuses(world, jobs) == f"COMPLETED {'RUNNING' if is_running else 'QUEUED'} PENDING"
    hand.scheduler_looks()
    if order is not None:
        assert world.complete(order).decision == "done"
    else:
        assert str(world.task(jobs["b"]).state) == "scheduled"
        world.run(jobs["b"])
    assert statuses(world, jobs) == "COMPLETED COMPLETED QUEUED"
    assert look(world, hand) in (0, 1)
    hand.scheduler_looks()
    world.run(jobs["c"])
    assert statuses(world, jobs) == "COMPLETED COMPLETED COMPLETED"
