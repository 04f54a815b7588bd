# SPDX-License-Identifier: Apache-2.0
"""Whatever users and Airflow do to tasks: one look later Scale and Airflow agree, and it is on record."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow_hand import AirflowHand
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session
from world import World

from scale_airflow.compiler.dags import weight_of
from scale_airflow.services import claims, repairs
from scale_airflow.services.cancel import cancel_jobs
from scale_airflow.services.checks import check_repairs
from scale_airflow.services.events import user_event
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.services.reconcile import reconcile, reconcile_outcomes
from scale_airflow.services.requeue import requeue_jobs
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Job, QueueEntry, Recipe, Repair, ScaleFile, utcnow

STEP = {"name": "step", "version": "1.0"}
LINK = [{"output": "output", "input": "input"}]
CHAIN: list[dict[str, Any]] = [
    {"name": "a", "job_type": STEP, "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}]},
    {"name": "b", "job_type": STEP, "dependencies": [{"name": "a", "connections": LINK}]},
    {"name": "c", "job_type": STEP, "dependencies": [{"name": "b", "connections": LINK}]},
]


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # However slow the machine is, the node counts as heard of.
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "600")
    made = World(session)
    made.install(tmp_path)
    return made


@pytest.fixture
def hand(world: World) -> AirflowHand:
    return AirflowHand(world.session)


def lone_job(world: World, **fields: Any) -> Job:
    document = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job_type = world.job_type("one", **{"max_tries": 1, **fields})
    job = queue_job(world.session, job_type=job_type, data=document, event=user_event(world.session, "me"))
    world.session.commit()
    assert world.dispatch() == 1
    return job


def chain(world: World, *, dispatched: bool = True, **fields: Any) -> dict[str, Job]:
    """Queue a recipe a → b → c, of which each job is tried once."""
    world.job_type("step", max_tries=1, **fields)
    recipe = queue_recipe(
        world.session,
        recipe_type=world.recipe_type("chain", CHAIN),
        data={
            "input_data": [{"name": "scene", "file_id": world.source().id}],
            "workspace_id": world.workspace().id,
        },
        event=user_event(world.session, "me"),
    )
    world.session.commit()
    if dispatched:
        assert world.dispatch() == 1
    return {str(job.recipe_job_name): job for job in recipe.jobs}


def look(world: World, hand: AirflowHand) -> int:
    """A minute later, at the latest."""
    hand.time_passes()
    repaired = reconcile(world.session) + reconcile_outcomes(world.session)
    world.session.commit()
    hand.time_passes()
    assert reconcile(world.session) + reconcile_outcomes(world.session) == 0, "one look repairs it all"
    world.session.commit()
    return repaired


def fail(world: World, job: Job) -> None:
    order = world.claim(job).order
    assert order is not None
    assert world.fail(order, error="timeout").decision == "failed"
    world.set_task_state(job, "failed")


def statuses(world: World, jobs: dict[str, Job]) -> str:
    return " ".join(world.reload(job).status for job in jobs.values())


def states(world: World, jobs: dict[str, Job]) -> str:
    return " ".join(str(world.task(job).state) for job in jobs.values())


def kinds(world: World) -> list[str]:
    return list(world.session.scalars(select(Repair.kind).order_by(Repair.id)))


def products(world: World) -> int:
    query = select(func.count()).select_from(ScaleFile).where(ScaleFile.kind == "PRODUCT")
    return world.session.execute(query).scalar_one()


def run_state(world: World, job: Job) -> str:
    world.session.expire_all()
    query = select(DagRun).where(DagRun.dag_id == job.dag_id, DagRun.run_id == job.run_id)
    return str(world.session.scalars(query).one()._state)


# -- a user marks a task -----------------------------------------------------------------------------------


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
    order = world.claim(jobs["a"]).order
    assert order is not None
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
    order = world.claim(jobs["a"]).order
    assert order is not None
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


# -- a user clears -----------------------------------------------------------------------------------------


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
    order = world.claim(job).order
    assert order is not None
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
    recipe = queue_recipe(
        world.session,
        recipe_type=world.recipe_type("mixed", [CHAIN[0], step]),
        data={
            "input_data": [{"name": "scene", "file_id": world.source().id}],
            "workspace_id": world.workspace().id,
        },
        event=user_event(world.session, "me"),
    )
    world.session.commit()
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


# -- tasks that no worker runs any more --------------------------------------------------------------------


def test_a_task_that_is_to_be_tried_again_of_a_job_that_is_over_ends_without_a_start(
    world: World, hand: AirflowHand
) -> None:
    failed, completed = lone_job(world), lone_job_of(world, "two")
    for job in (failed, completed):
        order = world.claim(job).order
        assert order is not None
        decision = world.fail(order, error="timeout") if job is failed else world.complete(order)
        assert decision.decision in ("failed", "done")
        hand.worker_dies(world.task(job))
    assert look(world, hand) == 2
    assert (world.task(failed).state, world.task(completed).state) == ("failed", "success")
    assert (world.reload(failed).num_exes, world.reload(completed).num_exes) == (1, 1)


def lone_job_of(world: World, name: str) -> Job:
    document = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job_type = world.job_type(name)
    job = queue_job(world.session, job_type=job_type, data=document, event=user_event(world.session, "me"))
    world.session.commit()
    assert world.dispatch() == 1
    return job


def test_a_job_that_its_parents_results_do_not_fit_fails_in_airflow_too(
    world: World, hand: AirflowHand
) -> None:
    jobs = chain(world)
    order = world.claim(jobs["a"]).order
    assert order is not None
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


# -- a run is deleted --------------------------------------------------------------------------------------


def test_a_job_whose_run_was_deleted_is_not_lost(world: World, hand: AirflowHand) -> None:
    jobs = chain(world)
    world.run(jobs["a"])
    order = world.claim(jobs["b"]).order
    assert order is not None
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


# -- both at once: Scale's queue and a user of Airflow -----------------------------------------------------


def test_a_requeued_job_that_a_user_clears_before_its_turn_is_not_dispatched_while_it_runs(
    world: World, hand: AirflowHand
) -> None:
    job = lone_job(world)
    fail(world, job)
    requeue_jobs(world.session, JobFilter(job_ids=[job.id]))
    world.session.commit()
    hand.user_clears([world.task(job)])
    hand.scheduler_looks()
    order = world.claim(job).order
    assert order is not None
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


# -- the report --------------------------------------------------------------------------------------------


def test_the_report_counts_a_day_and_shows_the_latest(world: World, hand: AirflowHand) -> None:
    job = lone_job(world)
    hand.user_marks(world.task(job), "failed")
    look(world, hand)
    for hours in (1, 2, 30):
        world.session.add(
            Repair(
                occurred=utcnow() - timedelta(hours=hours),
                kind="task-priority",
                job_id=hours,
                before="x",
                after="y",
                text="z",
            )
        )
    world.session.commit()
    found = repairs.report(world.session, since=utcnow() - timedelta(days=1), latest=2)
    assert found.counts == {"task-priority": 2, "job-canceled-task-ended": 1}
    assert [repair.job_id for repair in found.latest] == [job.id, 1]
    counted, latest, *_ = check_repairs(world.session)
    assert counted.level == "ok"
    assert counted.problem == "Repaired in the last day: 2 task-priority, 1 job-canceled-task-ended."
    assert (
        f"job-canceled-task-ended: job {job.id}, execution {world.execution(job).id}: "
        "job QUEUED, task failed -> job CANCELED." in latest.problem
    )


def test_a_day_without_repairs_is_said_to_be_one(world: World) -> None:
    assert [finding.level for finding in check_repairs(world.session)] == ["ok"]


def test_old_repairs_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairs, "KEPT", 3)
    for days in (40, 5, 4, 3, 2, 1):
        world.session.add(
            Repair(
                occurred=utcnow() - timedelta(days=days),
                kind="task-priority",
                job_id=days,
                before="x",
                after="y",
                text="z",
            )
        )
        world.session.flush()
    assert repairs.prune(world.session) == 3
    assert world.session.scalars(select(Repair.job_id).order_by(Repair.id)).all() == [3, 2, 1]


def test_a_batch_is_repaired_in_one_transaction_and_the_rest_in_the_next(
    world: World, hand: AirflowHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scale_airflow.services.reconcile.BATCH", 2)
    jobs = [lone_job_of(world, name) for name in ("one", "two", "three")]
    for job in jobs:
        hand.user_marks(world.task(job), "failed")
    hand.time_passes()
    assert [reconcile(world.session) for _ in range(3)] == [2, 1, 0]
