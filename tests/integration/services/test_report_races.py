# SPDX-License-Identifier: Apache-2.0
"""Reports at the same moment as each other, cancels, beats and the reconciler: one counts, once."""

from __future__ import annotations

import pytest
from concurrency import Aside, apart, at_once, no_errors
from contenders import age, beats, cancels, completes, failure, fan_in, outcome, report, running
from sqlalchemy import select, update
from work import products, started
from world import World, interface

from scale_airflow.errors import Conflict, Forbidden
from scale_airflow.execution.order import ReportedParse
from scale_airflow.services import executions
from scale_airflow.services.locks import lock_job
from scale_airflow.services.reconcile import reconcile
from scale_airflow.store.models import Job, JobExecution, Recipe, ScaleFile, utcnow


def test_parents_that_complete_at_once_queue_their_child_once(world: World) -> None:
    recipe, parents, child = fan_in(world, 6)
    orders = [started(world, parent) for parent in parents]
    results = at_once([completes(order) for order in orders])
    assert no_errors(results) == ["done"] * 6
    assert outcome(world, child) == ("QUEUED", ["QUEUED"])
    assert len(world.reload(child).data["input_data"]) == 6
    world.complete(started(world, child))
    assert world.session.get_one(Recipe, recipe.id, populate_existing=True).completed is not None


def test_parents_of_which_some_fail_at_once_block_their_child(world: World) -> None:
    _, parents, child = fan_in(world, 4)
    orders = [started(world, parent) for parent in parents]
    world.session.execute(update(Job).values(max_tries=1))
    world.session.commit()
    fails = [
        apart(lambda session, number=order.execution_id: executions.fail(session, number, failure()).decision)
        for order in orders[2:]
    ]
    results = no_errors(at_once([*(completes(order) for order in orders[:2]), *fails]))
    assert sorted(results) == ["done", "done", "failed", "failed"]
    assert outcome(world, child) == ("BLOCKED", [])


def test_one_report_that_comes_several_times_at_once_counts_once(world: World) -> None:
    job, order = running(world, world.job_type("one"))
    assert no_errors(at_once([completes(order)] * 4)) == ["done"] * 4
    assert outcome(world, job) == ("COMPLETED", ["COMPLETED"])
    assert products(world) == 1


def test_a_worker_that_lost_its_container_is_answered_twice_alike(world: World) -> None:
    """Its error is the one of executions that are given up without a report, but it has reported."""
    job, order = running(world, world.job_type("one", max_tries=2))
    assert [world.fail(order, error="mesos-lost").decision for _ in range(2)] == ["retry", "retry"]
    assert world.reload(job).num_exes == 2


def test_a_repeated_report_of_a_failure_is_answered_as_the_first(world: World) -> None:
    _, order = running(world, world.job_type("one", max_tries=2))
    assert [world.fail(order).decision for _ in range(2)] == ["retry", "retry"]
    job = world.session.get_one(Job, order.job_id)
    second = started(world, job)
    assert world.fail(order).decision == "retry", "the next try follows already"
    assert [world.fail(second).decision for _ in range(2)] == ["failed", "failed"]
    assert outcome(world, job) == ("FAILED", ["FAILED", "FAILED"])


def test_a_repeated_report_of_forbidden_results_is_answered_as_the_first(world: World) -> None:
    job, order = running(world, world.job_type("one", max_tries=1))
    assert [world.complete(order, {}).decision for _ in range(2)] == ["failed", "failed"]
    assert outcome(world, job) == ("FAILED", ["FAILED"])


def test_complete_and_cancel_at_once(world: World) -> None:
    job_type = world.job_type("one")
    pairs = [running(world, job_type) for _ in range(5)]
    results = at_once([action for job, order in pairs for action in (completes(order), cancels(job))])
    made = 0
    for (job, _), decision, canceled in zip(pairs, results[::2], results[1::2], strict=True):
        if decision == "done":
            made += 1
            assert isinstance(canceled, Conflict)
            assert outcome(world, job) == ("COMPLETED", ["COMPLETED"])
        else:
            assert (decision, canceled) == ("ignored", "CANCELED")
            assert outcome(world, job) == ("CANCELED", ["CANCELED"])
    assert products(world) == made


def test_complete_and_the_beat_that_gives_an_execution_up_at_once(world: World) -> None:
    job_type = world.job_type("one")
    pairs = [running(world, job_type) for _ in range(4)]
    world.session.execute(update(JobExecution).values(stop_requested=utcnow()))
    world.session.commit()
    results = no_errors(at_once([*(completes(order) for _, order in pairs), beats(world), beats(world)]))
    world.beat()
    for (job, _), decision in zip(pairs, results, strict=False):
        wanted = {"done": ("COMPLETED", ["COMPLETED"]), "ignored": ("QUEUED", ["FAILED", "QUEUED"])}
        assert outcome(world, job) == wanted[decision]
    assert products(world) == results.count("done")


def test_complete_and_reconcile_at_once(world: World) -> None:
    job_type = world.job_type("one")
    pairs = [running(world, job_type) for _ in range(4)]
    for job, _ in pairs:
        world.set_task_state(job, "failed")  # by a user
    age(world)
    results = no_errors(at_once([apart(reconcile), *(completes(order) for _, order in pairs)]))
    for (job, _), decision in zip(pairs, results[1:], strict=True):
        wanted = {"done": ("COMPLETED", ["COMPLETED"]), "ignored": ("CANCELED", ["CANCELED"])}
        # The reconciler leaves what somebody is at for its next look, at which it may be over.
        assert outcome(world, job) == wanted[decision]


def test_a_report_that_waited_while_a_new_try_claimed_is_refused(world: World) -> None:
    job, order = running(world, world.job_type("one"))
    lock_job(world.session, job.id)
    made = report(order)
    late = apart(lambda session: executions.complete(session, order.execution_id, made, order.token))
    with Aside(world.session, late) as aside:
        assert aside.until_stuck()
        world.session.execute(
            update(JobExecution).where(JobExecution.id == order.execution_id).values(token_sha256="f" * 64)
        )
        world.session.commit()
    with pytest.raises(Forbidden):
        aside.result()
    assert outcome(world, job) == ("RUNNING", ["RUNNING"])


def test_the_same_work_that_completes_twice_at_once_is_published_once(world: World) -> None:
    job_type, source = world.job_type("one"), world.source()
    pairs = [running(world, job_type, source) for _ in range(4)]
    no_errors(at_once([completes(order) for _, order in pairs]))
    published = world.session.scalars(select(ScaleFile.job_id).where(ScaleFile.is_published)).all()
    assert len(published) == 1


def test_what_two_jobs_find_out_about_the_same_files_adds_up(world: World) -> None:
    job_type = world.job_type("many", interface({"input": "files"}))
    sources = [world.source(f"scene-{number}.zip") for number in range(6)]
    pairs = [running(world, job_type, *sources) for _ in range(4)]

    def found(tag: str, backwards: bool) -> tuple[ReportedParse, ...]:
        names = [source.file_name for source in sources][:: -1 if backwards else 1]
        return tuple(ReportedParse(name, None, (tag,), None, None, None, None) for name in names)

    actions = [
        completes(order, parse_results=found(f"tag {number}", bool(number % 2)))
        for number, (_, order) in enumerate(pairs)
    ]
    assert no_errors(at_once(actions)) == ["done"] * 4
    for source in sources:
        world.session.refresh(source)
        assert source.data_type == ["tag 0", "tag 1", "tag 2", "tag 3"]
