# SPDX-License-Identifier: Apache-2.0
"""A user's clear in Airflow gives a job that ended FAILED or CANCELED one more try; a mere retry does not."""

from __future__ import annotations

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow_hand import AirflowHand
from sqlalchemy import delete, select
from work import CHAIN, STEP, chain, fail, lone_job, queued_recipe, started, statuses
from world import World, interface

from scale_airflow.engine import publishing
from scale_airflow.execution.order import ClaimAnswer
from scale_airflow.services.housekeeping import hide_old_revisions, show_cleared_revisions
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.recipe_types import edit_recipe_type
from scale_airflow.services.reconcile import reconcile
from scale_airflow.store.models import Job, Recipe, RecipeType


def type_of(world: World, jobs: dict[str, Job]) -> RecipeType:
    return world.session.get_one(Recipe, jobs["a"].recipe_id).recipe_type


def clear(world: World, *jobs: Job) -> None:
    """What Airflow's API server does when a user clears tasks."""
    world.session.expire_all()
    clear_task_instances([world.task(job) for job in jobs], world.session)
    world.session.commit()


def start(world: World, job: Job) -> ClaimAnswer:
    """Let Airflow start the next try of a task, which claims."""
    task = world.task(job)
    task.try_number += 1
    world.session.commit()
    return world.claim(job)


def die(world: World, job: Job) -> None:
    """What Airflow's scheduler does about a running task whose worker is gone."""
    task = world.task(job)
    assert task.state == "running"
    TaskInstance.fetch_handle_failure_context(task, "its worker is gone", session=world.session)
    world.session.commit()
    assert world.task(job).state == "up_for_retry"


def test_a_failed_job_has_one_more_try_after_a_clear(world: World) -> None:
    job = lone_job(world)
    first = fail(world, job)
    clear(world, job)
    assert world.reload(job).status == "FAILED", "until a worker takes it"
    order = start(world, job).order
    assert order is not None
    assert not order.continues
    assert order.execution_id != first.execution_id
    again = world.reload(job)
    assert (again.status, again.num_exes, again.max_tries, again.error) == ("RUNNING", 2, 2, None)
    assert world.complete(order).decision == "done"
    assert [exe.status for exe in world.reload(job).executions] == ["COMPLETED", "FAILED"]


def test_exactly_one_more_try_for_each_clear(world: World) -> None:
    job = lone_job(world, max_tries=3)
    for _ in range(2):
        order = started(world, job)
        assert world.fail(order, error="timeout").decision == "retry"
        die(world, job)
    fail(world, job)
    assert world.reload(job).num_exes == 3
    for number in (4, 5):
        clear(world, job)
        order = start(world, job).order
        assert order is not None
        assert world.fail(order, error="timeout").decision == "failed"
        world.set_task_state(job, "failed")
        assert world.reload(job).num_exes == number


def test_a_worker_that_dies_after_its_last_report_brings_no_other_try(world: World) -> None:
    job = lone_job(world)
    order = started(world, job)
    assert world.fail(order, error="timeout").decision == "failed"
    for _ in range(2):
        die(world, job)
        answer = start(world, job)
        assert (answer.answer, answer.outcome) == ("over", "failed")
    assert world.reload(job).num_exes == 1
    # The clear of a job that was retried in vain counts all the same.
    world.set_task_state(job, "failed")
    clear(world, job)
    assert start(world, job).answer == "go"


def test_a_clear_of_another_task_is_no_clear_of_this_one(world: World) -> None:
    jobs = chain(world)
    world.run(jobs["a"])
    order = started(world, jobs["b"])
    assert world.fail(order, error="timeout").decision == "failed"
    clear(world, jobs["a"])
    die(world, jobs["b"])
    assert start(world, jobs["b"]).outcome == "failed"
    assert world.reload(jobs["b"]).num_exes == 1


def test_a_cleared_task_that_is_retried_before_its_claim_is_still_cleared(world: World) -> None:
    job = lone_job(world)
    fail(world, job)
    clear(world, job)
    world.set_task_state(job, "running")
    die(world, job)
    assert start(world, job).answer == "go"


def test_a_completed_job_that_is_cleared_is_over_at_once(world: World) -> None:
    job = lone_job(world)
    world.run(job)
    clear(world, job)
    answer = start(world, job)
    assert (answer.answer, answer.outcome) == ("over", "completed")
    assert (world.reload(job).status, world.reload(job).num_exes) == ("COMPLETED", 1)


def test_those_after_it_run_again_too(world: World) -> None:
    jobs = chain(world)
    world.run(jobs["a"])
    fail(world, jobs["b"])
    world.set_task_state(jobs["c"], "upstream_failed")
    assert statuses(world, jobs) == "COMPLETED FAILED BLOCKED"
    clear(world, jobs["b"])
    order = start(world, jobs["b"]).order
    assert order is not None
    assert statuses(world, jobs) == "COMPLETED RUNNING PENDING"
    assert world.task(jobs["c"]).state is None, "it waits for its parent again"
    world.complete(order)
    world.set_task_state(jobs["b"], "success")
    assert world.reload(jobs["c"]).status == "QUEUED"
    world.run(jobs["c"])
    recipe = world.session.get_one(Recipe, world.reload(jobs["c"]).recipe_id)
    assert recipe.completed is not None


def test_one_with_another_failed_parent_stays_blocked(world: World) -> None:
    world.job_type("step", max_tries=1)
    world.job_type("join", interface({"left": "file", "right": "file"}))
    root = {"job_type": STEP, "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}]}
    join = {
        "name": "join",
        "job_type": {"name": "join", "version": "1.0"},
        "dependencies": [
            {"name": name, "connections": [{"output": "output", "input": name}]} for name in ("left", "right")
        ],
    }
    recipe_type = world.recipe_type("joined", [{**root, "name": "left"}, {**root, "name": "right"}, join])
    recipe = queued_recipe(world, recipe_type)
    world.dispatch()
    jobs = {str(job.recipe_job_name): job for job in recipe.jobs}
    fail(world, jobs["left"])
    fail(world, jobs["right"])
    for name, state in (("left", "BLOCKED"), ("right", "PENDING")):
        clear(world, jobs[name])
        order = start(world, jobs[name]).order
        assert order is not None
        assert world.reload(jobs["join"]).status == state
        world.complete(order)
    assert world.reload(jobs["join"]).status == "QUEUED"


def test_a_canceled_job_runs_again(world: World) -> None:
    job = lone_job(world)
    order = started(world, job)
    cancel_job(world.session, job.id)
    world.session.commit()
    clear(world, job)
    again = start(world, job).order
    assert again is not None
    assert again.execution_id != order.execution_id
    assert world.reload(job).status == "RUNNING"
    assert world.complete(order).decision == "ignored", "the first try's results stay unwanted"


def test_a_job_that_was_canceled_before_it_started_runs_when_cleared(world: World) -> None:
    jobs = chain(world)
    cancel_job(world.session, jobs["b"].id)
    world.session.commit()
    assert statuses(world, jobs) == "QUEUED CANCELED BLOCKED"
    world.set_task_state(jobs["c"], "upstream_failed")
    world.run(jobs["a"])
    assert world.reload(jobs["b"]).status == "CANCELED", "it stays until it is asked for"
    clear(world, jobs["b"])
    order = start(world, jobs["b"]).order
    assert order is not None
    assert statuses(world, jobs) == "COMPLETED RUNNING PENDING"
    assert world.reload(jobs["b"]).num_exes == 1
    assert world.task(jobs["c"]).state is None


def test_what_could_not_start_with_its_parents_results_is_looked_at_again(world: World) -> None:
    from scale_airflow.store.models import Workspace

    jobs = chain(world)
    order = started(world, jobs["a"])
    products = world.session.scalars(select(Workspace).where(Workspace.name == "products")).one()
    products.is_active = False
    world.session.commit()
    world.complete(order)
    assert statuses(world, jobs) == "COMPLETED FAILED BLOCKED"
    world.set_task_state(jobs["a"], "success")
    # Its own task learns of it, as often as Airflow tries it.
    assert start(world, jobs["b"]).outcome == "failed"
    die(world, jobs["b"])
    assert start(world, jobs["b"]).outcome == "failed"
    world.set_task_state(jobs["b"], "failed")
    # Nothing has changed: it is refused again.
    clear(world, jobs["b"])
    assert start(world, jobs["b"]).outcome == "failed"
    assert (world.reload(jobs["b"]).num_exes, world.reload(jobs["c"]).status) == (2, "BLOCKED")
    world.set_task_state(jobs["b"], "failed")
    world.workspace().is_active = True
    world.session.commit()
    clear(world, jobs["b"])
    assert start(world, jobs["b"]).answer == "go"
    assert statuses(world, jobs) == "COMPLETED RUNNING PENDING"


def test_a_task_that_was_ended_before_it_ever_started_can_be_cleared(world: World) -> None:
    hand = AirflowHand(world.session)
    jobs = chain(world)
    order = started(world, jobs["a"])
    world.workspace().is_active = False
    world.session.commit()
    world.complete(order)
    world.set_task_state(jobs["a"], "success")
    hand.time_passes()
    assert reconcile(world.session) == 1, "its task must not start for nothing"
    world.session.commit()
    assert (str(world.task(jobs["b"]).state), world.task(jobs["b"]).try_number) == ("failed", 0)
    world.workspace().is_active = True
    world.session.commit()
    for _ in range(2):
        clear(world, jobs["b"])
        hand.time_passes()
        assert reconcile(world.session) == 1
        world.session.commit()
        assert statuses(world, jobs) == "COMPLETED QUEUED PENDING"
        cancel_job(world.session, jobs["b"].id)
        world.session.commit()
        assert str(world.task(jobs["b"]).state) == "failed"


def test_a_clear_long_after_airflow_forgot_the_first_try(world: World) -> None:
    from airflow.models.taskinstancehistory import TaskInstanceHistory

    job = lone_job(world)
    fail(world, job)
    clear(world, job)
    world.session.execute(delete(TaskInstanceHistory))
    world.session.commit()
    assert start(world, job).answer == "go"


def test_a_cleared_run_of_a_hidden_revision_comes_back(world: World) -> None:
    jobs = chain(world)
    old = jobs["a"].dag_id
    fail(world, jobs["a"])
    end_run(world, old)
    edited = {"version": "1.0", "input_data": [{"name": "scene", "type": "file"}], "jobs": CHAIN[:2]}
    edit_recipe_type(world.session, type_of(world, jobs).id, {"definition": edited})
    world.session.commit()
    assert hide_old_revisions(world.session) == [old]
    assert show_cleared_revisions(world.session) == []
    clear(world, jobs["a"])
    assert show_cleared_revisions(world.session) == [old]
    world.session.commit()
    assert not is_hidden(world, old)
    assert hide_old_revisions(world.session) == [], "a run of it is not over"
    assert start(world, jobs["a"]).answer == "go"


def test_other_hidden_dags_stay_hidden(world: World) -> None:
    jobs = chain(world)
    dag_id = jobs["a"].dag_id
    # As a Strike process's: a DAG that no revision of a type has.
    type_of(world, jobs).name = "other"
    from scale_airflow.store.models import RecipeTypeRevision

    revision = world.session.scalars(
        select(RecipeTypeRevision).where(RecipeTypeRevision.dag_id == dag_id)
    ).one()
    revision.dag_id = None
    world.session.get_one(DagModel, dag_id).is_stale = True
    world.session.commit()
    assert publishing.hidden_with_work(world.session) == [dag_id]
    assert show_cleared_revisions(world.session) == []


def end_run(world: World, dag_id: str) -> None:
    """What Airflow's scheduler does once all tasks of a run are over."""
    run = world.session.scalars(select(DagRun).where(DagRun.dag_id == dag_id)).one()
    run.set_state("failed")  # type: ignore[arg-type]
    world.session.commit()


def is_hidden(world: World, dag_id: str) -> bool:
    world.session.expire_all()
    return bool(world.session.get_one(DagModel, dag_id).is_stale)
