# SPDX-License-Identifier: Apache-2.0
"""One or thousands of jobs are canceled and requeued in one transaction, with Airflow's tasks following."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from crowd import copy_recipe
from sqlalchemy import delete, func, select, update
from statements import statements
from work import chain, fail, started, statuses
from world import World, interface

from scale_airflow.compiler.dags import weight_of
from scale_airflow.engine import publishing, runs
from scale_airflow.errors import Conflict, InvalidRequest, NotFound
from scale_airflow.services.cancel import Changed, cancel_jobs
from scale_airflow.services.events import user_event
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.queue import queue_job
from scale_airflow.services.requeue import requeue_job, requeue_jobs
from scale_airflow.services.work_lists import JobFilter, JobTypeFilter
from scale_airflow.store.models import (
    Job,
    JobExecution,
    QueueEntry,
    Recipe,
    utcnow,
)


def lone_jobs(world: World, count: int, name: str = "lone", **fields: Any) -> list[Job]:
    job_type = world.job_type(name, interface({}, {}), **{"max_tries": 1, **fields})
    made = [
        queue_job(world.session, job_type=job_type, data={}, event=user_event(world.session, "me"))
        for _ in range(count)
    ]
    world.session.commit()
    return made


def ids(*jobs: Job) -> JobFilter:
    return JobFilter(job_ids=[job.id for job in jobs])


def commit(world: World, act: Callable[..., Changed], *arguments: Any, **options: Any) -> Changed:
    done = act(world.session, *arguments, **options)
    world.session.commit()
    return done


class TestCancel:
    """Many at once, as one alone."""

    def test_each_ends_as_a_single_cancel_ends_it(self, world: World) -> None:
        one, other = chain(world), chain(world)
        for jobs in (one, other):
            assert world.claim(jobs["a"]).answer == "go"
        cancel_job(world.session, one["a"].id)
        world.session.commit()
        commit(world, cancel_jobs, ids(other["a"]))
        columns = [
            column.key
            for column in Job.__mapper__.column_attrs
            if column.key
            not in {
                *(
                    "id",
                    "recipe_id",
                    "event_id",
                    "data",
                    "input_signature",
                    "run_id",
                    "dispatched",
                    "created",
                ),
                *("queued", "started", "ended", "last_status_change", "last_modified"),
            }
        ]
        for name in one:
            first, second = world.reload(one[name]), world.reload(other[name])
            assert [getattr(first, key) for key in columns] == [getattr(second, key) for key in columns]
            assert (first.ended is None) == (second.ended is None)
        same = {"status", "message", "error_id", "reserved", "asked", "asks_for", "node_id"}
        first, second = world.execution(one["a"]), world.execution(other["a"])
        assert {key: getattr(first, key) for key in same} == {key: getattr(second, key) for key in same}
        assert second.ended is not None
        assert second.stop_requested is not None
        assert world.task(other["a"]).state == "failed"
        assert statuses(world, other) == "CANCELED BLOCKED BLOCKED"

    def test_in_every_state(self, world: World) -> None:
        jobs = lone_jobs(world, 6)
        world.dispatch()
        world.run(jobs[0])
        fail(world, jobs[1])
        assert world.claim(jobs[2]).answer == "go"
        cancel_job(world.session, jobs[3].id)
        world.session.commit()
        done = commit(world, cancel_jobs, ids(*jobs))
        assert done.matched == [job.id for job in jobs]
        assert done.changed == [jobs[number].id for number in (1, 2, 4, 5)]
        assert [world.reload(job).status for job in jobs] == ["COMPLETED"] + ["CANCELED"] * 5
        assert {world.task(job).state for job in jobs[1:]} == {"failed"}
        assert [world.execution(job).status for job in jobs[:2]] == ["COMPLETED", "FAILED"]
        assert {world.execution(job).status for job in jobs[2:]} == {"CANCELED"}
        assert world.beat(world.execution(jobs[2]).id).stop == (world.execution(jobs[2]).id,)

    def test_what_waits_in_scales_queue_never_reaches_airflow(self, world: World) -> None:
        jobs = lone_jobs(world, 3)
        recipe = chain(world, dispatched=False)
        commit(world, cancel_jobs, ids(*jobs, recipe["a"]))
        assert world.dispatch() == 0
        assert world.session.scalar(select(func.count()).select_from(QueueEntry)) == 0
        assert world.session.scalar(select(func.count()).select_from(DagRun)) == 0

    def test_a_recipe_of_which_something_is_left_is_dispatched_without_the_rest(self, world: World) -> None:
        recipe = chain(world, dispatched=False)
        commit(world, cancel_jobs, ids(recipe["b"]))
        assert world.dispatch() == 1
        assert statuses(world, recipe) == "QUEUED CANCELED BLOCKED"
        assert world.task(recipe["b"]).state == "failed"
        assert world.task(recipe["a"]).state is None

    def test_filters_must_all_hold(self, world: World) -> None:
        one, two = lone_jobs(world, 2, "one"), lone_jobs(world, 2, "two", category="night")
        world.dispatch()
        fail(world, one[0])
        fail(world, two[0])
        since = utcnow() - timedelta(hours=1)
        night = JobTypeFilter(categories=["night"])
        for wanted in (
            JobFilter("FAILED", job_types=night, started=utcnow()),
            JobFilter("FAILED", job_types=night, ended=since),
            JobFilter("RUNNING", job_types=night),
            JobFilter(job_types=JobTypeFilter(names=["one"], categories=["night"])),
            JobFilter(error_names=["nfs"]),
            JobFilter(job_ids=[999, 2**63 - 1]),
        ):
            with pytest.raises(NotFound, match="No job matches"):
                cancel_jobs(world.session, wanted)
        done = commit(
            world, cancel_jobs, JobFilter("FAILED", job_types=night, started=since, error_names=["timeout"])
        )
        assert done.changed == [two[0].id]

    def test_every_job_is_not_what_anybody_means(self, world: World) -> None:
        for act in (cancel_jobs, requeue_jobs):
            with pytest.raises(InvalidRequest):
                act(world.session, JobFilter(job_ids=[]))

    def test_scales_own_jobs_are_left_alone(self, world: World) -> None:
        (job,) = lone_jobs(world, 1)
        job.job_type.is_system = True
        world.session.commit()
        assert commit(world, cancel_jobs, ids(job)) == Changed([job.id], [])
        assert world.reload(job).status == "QUEUED"


class TestRequeue:
    """FAILED and CANCELED jobs have one more try; what waited for them waits again."""

    def test_one_more_try(self, world: World) -> None:
        (job,) = lone_jobs(world, 1, max_tries=3)
        world.dispatch()
        order = started(world, job)
        world.fail(order, exit_code=1)
        for number in (2, 3):
            again = started(world, job)
            assert world.fail(again, error="timeout").decision == ("retry" if number < 3 else "failed")
        world.set_task_state(job, "failed")
        commit(world, requeue_jobs, ids(job), priority=3)
        waiting = world.reload(job)
        assert (waiting.status, waiting.num_exes, waiting.max_tries, waiting.priority) == ("QUEUED", 4, 4, 3)
        assert (waiting.error, waiting.started, waiting.ended, waiting.dispatched) == (None,) * 4
        assert world.task(job).state == "failed", "it waits in Scale's queue"
        assert world.dispatch() == 1
        assert (world.task(job).state, world.task(job).priority_weight) == (None, weight_of(3))
        order = started(world, job)
        assert world.fail(order, error="timeout").decision == "failed"
        assert world.reload(job).num_exes == 4

    def test_the_older_form_gives_as_many_tries_as_the_type_has(self, world: World) -> None:
        (job,) = lone_jobs(world, 1, max_tries=3)
        world.dispatch()
        with pytest.raises(Conflict, match="CANCELED or FAILED state for requeue"):
            requeue_job(world.session, job.id)
        with pytest.raises(NotFound):
            requeue_job(world.session, job.id + 1)
        world.session.rollback()
        cancel_job(world.session, job.id)
        requeue_job(world.session, job.id)
        world.session.commit()
        assert (world.reload(job).num_exes, world.reload(job).max_tries) == (2, 4)
        assert world.dispatch() == 1
        assert world.claim(job).answer == "go"

    def test_others_are_skipped_and_nothing_is_an_error(self, world: World) -> None:
        jobs = lone_jobs(world, 4)
        world.dispatch()
        world.run(jobs[0])
        fail(world, jobs[1])
        assert world.claim(jobs[2]).answer == "go"
        done = commit(world, requeue_jobs, ids(*jobs))
        assert done.changed == [jobs[1].id]
        assert done.matched == [job.id for job in jobs]
        with pytest.raises(NotFound):
            requeue_jobs(world.session, JobFilter(job_ids=[999]))

    def test_a_job_that_never_reached_airflow_is_dispatched_as_at_first(self, world: World) -> None:
        (job,) = lone_jobs(world, 1)
        commit(world, cancel_jobs, ids(job))
        commit(world, requeue_jobs, ids(job))
        assert world.dispatch() == 1
        assert world.claim(job).answer == "go"

    def test_a_recipe_that_never_reached_airflow_is_dispatched_as_at_first(self, world: World) -> None:
        recipe = chain(world, dispatched=False, own_types=True)
        commit(world, cancel_jobs, ids(*recipe.values()))
        assert statuses(world, recipe) == "CANCELED CANCELED CANCELED"
        commit(world, requeue_jobs, ids(*recipe.values()), priority=4)
        assert statuses(world, recipe) == "QUEUED PENDING PENDING"
        entry = world.session.scalars(select(QueueEntry)).one()
        assert (entry.recipe_id, entry.priority) == (recipe["a"].recipe_id, 4)
        assert entry.job_type_ids == [recipe["a"].job_type_id]
        assert entry.later_type_ids == sorted(recipe[name].job_type_id for name in "bc")
        assert world.dispatch() == 1
        for name in "abc":
            world.run(recipe[name])
        assert statuses(world, recipe) == "COMPLETED COMPLETED COMPLETED"
        assert world.session.get_one(Recipe, recipe["a"].recipe_id).completed is not None

    def test_those_after_it_wait_for_it_again(self, world: World) -> None:
        recipe = chain(world)
        fail(world, recipe["a"])
        for name in "bc":
            world.set_task_state(recipe[name], "upstream_failed")
        commit(world, requeue_jobs, JobFilter("FAILED"))
        assert statuses(world, recipe) == "QUEUED PENDING PENDING"
        assert world.task(recipe["b"]).state == "upstream_failed", "cleared with the job that it waits for"
        assert world.dispatch() == 1
        for name in "abc":
            assert world.task(recipe[name]).state is None
            world.run(recipe[name])

    def test_one_canceled_before_its_turn_waits_for_a_parent_that_runs(self, world: World) -> None:
        recipe = chain(world)
        order = started(world, recipe["a"])
        commit(world, cancel_jobs, ids(recipe["b"]))
        world.set_task_state(recipe["c"], "upstream_failed")
        commit(world, requeue_jobs, ids(recipe["b"]), priority=9)
        assert statuses(world, recipe) == "RUNNING PENDING PENDING"
        assert [world.task(recipe[name]).state for name in "abc"] == ["running", None, None]
        assert world.task(recipe["b"]).priority_weight == weight_of(9)
        assert world.dispatch() == 0, "nothing of it waits in Scale's queue"
        world.complete(order)
        world.set_task_state(recipe["a"], "success")
        for name in "bc":
            world.run(recipe[name])

    def test_one_canceled_before_its_turn_is_queued_if_its_parents_are_complete(self, world: World) -> None:
        recipe = chain(world)
        commit(world, cancel_jobs, ids(recipe["b"]))
        world.run(recipe["a"])
        world.set_task_state(recipe["c"], "upstream_failed")
        assert statuses(world, recipe) == "COMPLETED CANCELED BLOCKED"
        commit(world, requeue_jobs, ids(recipe["b"]))
        again = world.reload(recipe["b"])
        assert (again.status, again.num_exes, again.dispatched) == ("QUEUED", 1, None)
        assert world.dispatch() == 1
        for name in "bc":
            world.run(recipe[name])
        assert statuses(world, recipe) == "COMPLETED COMPLETED COMPLETED"

    def test_one_whose_parent_can_not_complete_stays_blocked_until_that_is_requeued(
        self, world: World
    ) -> None:
        recipe = chain(world)
        commit(world, cancel_jobs, ids(recipe["b"]))
        fail(world, recipe["a"])
        commit(world, requeue_jobs, ids(recipe["b"]), priority=7)
        assert statuses(world, recipe) == "FAILED BLOCKED BLOCKED"
        commit(world, requeue_jobs, ids(recipe["a"]))
        assert statuses(world, recipe) == "QUEUED PENDING PENDING"
        assert world.reload(recipe["b"]).priority == 7
        assert world.dispatch() == 1
        for name in "abc":
            world.run(recipe[name])

    def test_a_job_refused_for_what_its_parents_made_is_refused_again_at_once(self, world: World) -> None:
        recipe = chain(world)
        commit(world, cancel_jobs, ids(recipe["b"]))
        world.run(recipe["a"])
        world.session.execute(update(Job).where(Job.id == recipe["a"].id).values(results={"version": "1.0"}))
        world.session.commit()
        commit(world, requeue_jobs, ids(recipe["b"]))
        assert statuses(world, recipe) == "COMPLETED FAILED BLOCKED"
        assert world.execution(recipe["b"]).message is not None
        assert world.dispatch() == 0

    def test_it_runs_on_its_old_revision_also_when_that_was_hidden(self, world: World) -> None:
        (job,) = lone_jobs(world, 1)
        world.dispatch()
        fail(world, job)
        assert runs.fail_run(world.session, dag_id=job.dag_id, run_id=str(job.run_id))
        assert publishing.hide([job.dag_id], world.session) == [job.dag_id]
        world.session.commit()
        commit(world, requeue_jobs, ids(job))
        assert world.dispatch() == 1
        assert not world.session.get_one(DagModel, job.dag_id, populate_existing=True).is_stale
        assert publishing.hidden_dags({job.dag_id}, world.session) == set()

    def test_a_user_who_clears_its_task_meanwhile_lets_it_run_at_once(self, world: World) -> None:
        (job,) = lone_jobs(world, 1)
        world.dispatch()
        fail(world, job)
        commit(world, requeue_jobs, ids(job))
        assert world.claim(job).answer == "go", "Airflow runs its task again"
        assert world.reload(job).dispatched is not None, "the reconciler looks after it"
        assert world.dispatch() == 0
        assert (world.reload(job).status, world.task(job).state) == ("RUNNING", "running")
        assert world.session.scalar(select(func.count()).select_from(QueueEntry)) == 0

    def test_requeued_jobs_take_no_place_in_airflow_until_they_are_dispatched(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = lone_jobs(world, 5)
        world.dispatch()
        for job in jobs:
            fail(world, job)
        monkeypatch.setenv("AIRFLOW__SCALE__DISPATCH_WINDOW", "2")
        commit(world, requeue_jobs, JobFilter("FAILED"))
        assert world.dispatch() == 2
        assert world.dispatch() == 0
        world.run(jobs[0])
        assert world.dispatch() == 1


def tasks(world: World, states: set[str | None]) -> int:
    """Count the task instances in one of these states."""
    world.session.expire_all()
    found = world.session.execute(select(TaskInstance.state, func.count()).group_by(TaskInstance.state))
    return sum(count for state, count in found if state in states)


def jobs_by_status(world: World) -> dict[str, int]:
    world.session.expire_all()
    rows = world.session.execute(select(Job.status, func.count()).group_by(Job.status))
    return {row[0]: row[1] for row in rows}


def test_a_thousand_recipes_in_the_statements_of_a_few(world: World) -> None:
    """Cancel all, requeue all; cancel what comes second, requeue it, also when its parents are complete."""
    copies, counts = 400, {}
    jobs = chain(world, own_types=True)
    copy_recipe(world.session, world.session.get_one(Recipe, jobs["a"].recipe_id), copies)
    every = copies + 1
    second = JobFilter(job_types=JobTypeFilter(ids=[jobs["b"].job_type_id]))

    with statements(world.session) as seen:
        assert len(commit(world, cancel_jobs, JobFilter("QUEUED")).changed) == every
    counts["cancel"] = len(seen)
    assert jobs_by_status(world) == {"CANCELED": every, "BLOCKED": 2 * every}
    assert tasks(world, {"failed"}) == every
    assert tasks(world, {None}) == 2 * every

    with statements(world.session) as seen:
        assert len(commit(world, requeue_jobs, JobFilter("CANCELED"), priority=5).changed) == every
    counts["requeue"] = len(seen)
    assert jobs_by_status(world) == {"QUEUED": every, "PENDING": 2 * every}
    assert world.session.scalar(select(func.count()).select_from(QueueEntry)) == every
    per_job = select(func.count(JobExecution.id)).group_by(JobExecution.job_id)
    assert set(world.session.scalars(per_job)) == {2}

    with statements(world.session) as seen:
        assert len(commit(world, cancel_jobs, second).changed) == every
    counts["cancel what waits"] = len(seen)
    with statements(world.session) as seen:
        assert len(commit(world, requeue_jobs, second).changed) == every
    counts["requeue what waits"] = len(seen)
    assert jobs_by_status(world) == {"QUEUED": every, "PENDING": 2 * every}

    commit(world, cancel_jobs, second)
    complete_all(world, jobs["a"])
    with statements(world.session) as seen:
        assert len(commit(world, requeue_jobs, second).changed) == every
    counts["requeue what is ready"] = len(seen)
    assert jobs_by_status(world) == {"COMPLETED": every, "QUEUED": every, "PENDING": every}
    queued = world.session.scalars(select(QueueEntry.job_type_ids).distinct()).all()
    assert queued == [[jobs["b"].job_type_id]]
    assert max(counts.values()) < 60, counts


def complete_all(world: World, job: Job) -> None:
    """Let all jobs of one's type be complete, each with a product, as if Airflow had run them."""
    world.session.execute(delete(QueueEntry))
    results = {"version": "1.0", "output_data": [{"name": "output", "file_id": world.source().id}]}
    world.session.execute(
        update(Job).where(Job.job_type_id == job.job_type_id).values(status="COMPLETED", results=results)
    )
    world.session.commit()
