# SPDX-License-Identifier: Apache-2.0
"""The way of jobs and recipes through the services: queue, dispatch, claim, report, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from world import AGENT, World, interface

from scale_airflow.errors import Conflict, Forbidden, InvalidDocument, InvalidRequest
from scale_airflow.execution.order import FailureReport, PhaseTimes, ReportedParse
from scale_airflow.services import claims, executions
from scale_airflow.services.events import user_event
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.services.queue_status import queue_status
from scale_airflow.services.reconcile import reconcile
from scale_airflow.store.models import (
    FileAncestry,
    Job,
    JobExecution,
    Node,
    QueueEntry,
    Recipe,
    ScaleFile,
    Scheduler,
    TriggerEvent,
    utcnow,
)


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


def data(world: World, *files: ScaleFile, name: str = "input", output: str = "output") -> dict[str, Any]:
    return {
        "version": "1.0",
        "input_data": [{"name": name, "file_id": file.id} for file in files],
        "output_data": [{"name": output, "workspace_id": world.workspace().id}],
    }


def queue(world: World, job_type: Any, document: dict[str, Any], **options: Any) -> Job:
    job = queue_job(
        world.session, job_type=job_type, data=document, event=user_event(world.session, "me"), **options
    )
    world.session.commit()
    return job


def chain() -> list[dict[str, Any]]:
    """a → b and c → d."""
    step = {"name": "step", "version": "1.0"}
    join = {"name": "join", "version": "1.0"}
    link = [{"output": "output", "input": "input"}]
    return [
        {"name": "a", "job_type": step, "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}]},
        {"name": "b", "job_type": step, "dependencies": [{"name": "a", "connections": link}]},
        {"name": "c", "job_type": step, "dependencies": [{"name": "a", "connections": link}]},
        {
            "name": "d",
            "job_type": join,
            "dependencies": [
                {"name": "b", "connections": [{"output": "output", "input": "left"}]},
                {"name": "c", "connections": [{"output": "output", "input": "right"}]},
            ],
        },
    ]


def queue_chain(world: World, **options: Any) -> tuple[Recipe, dict[str, Job]]:
    world.job_type("step")
    world.job_type("join", interface({"left": "file", "right": "file"}))
    recipe_type = world.recipe_type("chain", chain())
    document = {
        "version": "1.0",
        "input_data": [{"name": "scene", "file_id": world.source().id}],
        "workspace_id": world.workspace().id,
    }
    recipe = queue_recipe(
        world.session,
        recipe_type=recipe_type,
        data=document,
        event=user_event(world.session, "me"),
        **options,
    )
    world.session.commit()
    return recipe, {str(job.recipe_job_name): job for job in recipe.jobs}


def statuses(world: World, jobs: dict[str, Job]) -> dict[str, str]:
    return {name: world.reload(job).status for name, job in jobs.items()}


def test_a_lone_job_from_queue_to_product(world: World) -> None:
    source = world.source()
    job_type = world.job_type("one", priority=7)
    job = queue(world, job_type, data(world, source))
    assert (job.status, job.num_exes, job.priority, job.disk_in_required) == ("QUEUED", 1, 7, 10.0)
    assert [row.waiting for row in queue_status(world.session)] == [1]

    assert world.dispatch() == 1
    assert world.dispatch() == 0
    run = world.session.scalars(select(DagRun).where(DagRun.dag_id == job.dag_id)).one()
    assert run.run_id == f"scale-job-{job.id}"

    answer = world.claim(job)
    assert answer.answer == "go"
    order = answer.order
    assert order is not None
    assert [file.id for file in order.inputs[0].files] == [source.id]
    assert order.image == "image"
    assert world.reload(job).status == "RUNNING"

    assert world.complete(order).decision == "done"
    assert world.reload(job).status == "COMPLETED"
    product = world.session.scalars(select(ScaleFile).where(ScaleFile.kind == "PRODUCT")).one()
    assert (product.is_published, product.has_been_published, product.job_id) == (True, True, job.id)
    assert job.results == {"version": "1.0", "output_data": [{"name": "output", "file_id": product.id}]}
    link = world.session.scalars(select(FileAncestry)).one()
    assert (link.ancestor_id, link.descendant_id, link.ancestor_job_id) == (source.id, product.id, None)

    assert world.complete(order).decision == "done", "a repeated report changes nothing"
    assert world.session.execute(select(func.count()).select_from(ScaleFile)).scalar() == 2


def test_the_jobs_of_a_recipe_follow_their_parents(world: World) -> None:
    recipe, jobs = queue_chain(world)
    assert statuses(world, jobs) == {"a": "QUEUED", "b": "PENDING", "c": "PENDING", "d": "PENDING"}
    assert world.dispatch() == 1
    world.run(jobs["a"])
    assert statuses(world, jobs) == {"a": "COMPLETED", "b": "QUEUED", "c": "QUEUED", "d": "PENDING"}
    world.run(jobs["b"])
    assert statuses(world, jobs)["d"] == "PENDING"
    world.run(jobs["c"])
    world.run(jobs["d"])
    assert world.session.get_one(Recipe, recipe.id).completed is not None

    last = world.session.scalars(select(ScaleFile).where(ScaleFile.job_id == jobs["d"].id)).one()
    ancestors = world.session.scalars(
        select(FileAncestry.ancestor_id).where(FileAncestry.descendant_id == last.id)
    ).all()
    everything = world.session.scalars(select(ScaleFile.id).where(ScaleFile.id != last.id)).all()
    assert set(ancestors) == set(everything), "all generations are known"


def test_a_system_error_is_retried_up_to_max_tries_then_blocks_the_dependants(world: World) -> None:
    _, jobs = queue_chain(world)
    world.dispatch()
    for number in (1, 2):
        order = world.claim(jobs["a"]).order
        assert order is not None
        assert world.fail(order, exit_code=99).decision == "retry"
        assert world.reload(jobs["a"]).num_exes == number + 1
    order = world.claim(jobs["a"]).order
    assert order is not None
    assert world.fail(order, error="timeout").decision == "failed"
    assert statuses(world, jobs) == {"a": "FAILED", "b": "BLOCKED", "c": "BLOCKED", "d": "BLOCKED"}
    assert world.reload(jobs["a"]).error.name == "timeout"
    assert [exe.status for exe in world.reload(jobs["a"]).executions] == ["FAILED"] * 3


def test_an_algorithm_error_is_never_retried(world: World) -> None:
    from scale_airflow.services.errors import create_error

    create_error(
        world.session, {"name": "bad-data", "title": "Bad", "description": "It is bad.", "category": "DATA"}
    )
    job_type = world.job_type("one", error_mapping={"version": "1.0", "exit_codes": {"3": "bad-data"}})
    job = queue(world, job_type, data(world, world.source()))
    world.dispatch()
    order = world.claim(job).order
    assert order is not None
    assert world.fail(order, exit_code=3).decision == "failed"
    assert world.reload(job).error.name == "bad-data"
    assert world.claim(job).outcome == "failed"


def test_results_that_the_interface_forbids_fail_the_execution(world: World) -> None:
    job = queue(world, world.job_type("one"), data(world, world.source()))
    world.dispatch()
    order = world.claim(job).order
    assert order is not None
    answer = world.complete(order, {"other": ["x"]})
    assert answer.decision == "retry"
    failed = world.session.scalars(
        select(JobExecution).where(JobExecution.job_id == job.id, JobExecution.exe_num == 1)
    ).one()
    assert failed.status == "FAILED"
    assert "required output 'output' is missing" in str(failed.message)
    assert (
        world.session.execute(
            select(func.count()).select_from(ScaleFile).where(ScaleFile.kind == "PRODUCT")
        ).scalar()
        == 0
    )


def test_a_claim_needs_the_task_instance_that_runs_this_try(world: World) -> None:
    job = queue(world, world.job_type("one"), data(world, world.source()))
    world.dispatch()
    with pytest.raises(Forbidden):
        claims.claim(world.session, world.request(job), world.settings)
    world.session.rollback()
    world.set_task_state(job, "running")
    request = world.request(job)
    wrong = type(request).from_dict({**request.to_dict(), "try_number": request.try_number + 1})
    with pytest.raises(Forbidden):
        claims.claim(world.session, wrong, world.settings)


def test_a_second_claim_of_the_same_try_takes_the_first_token_away(world: World) -> None:
    job = queue(world, world.job_type("one"), data(world, world.source()))
    world.dispatch()
    first, second = world.claim(job).order, world.claim(job).order
    assert first is not None
    assert second is not None
    assert second.execution_id == first.execution_id
    assert second.continues
    with pytest.raises(Forbidden):
        executions.authenticate(world.session, first.execution_id, first.token)
    executions.authenticate(world.session, second.execution_id, second.token)


def test_what_a_node_can_not_take_waits_with_the_reason(world: World) -> None:
    world.beat(cpus=1.0)
    job_type = world.job_type("one", cpus_required=1.0)
    jobs = [queue(world, job_type, data(world, world.source())) for _ in range(2)]
    big = queue(world, world.job_type("big", cpus_required=4.0), data(world, world.source()))
    world.dispatch()
    order = world.claim(jobs[0]).order
    assert order is not None
    assert "0 of 1 free" in str(world.claim(jobs[1]).reason)
    assert "0 of 1 free" in str(world.reload(jobs[1]).why)
    assert "has 1 in all" in str(world.claim(big).reason)
    world.complete(order)
    assert claims.reserve(world.session, world.request(jobs[1]), world.settings).ready
    assert not claims.reserve(world.session, world.request(big), world.settings).ready


def test_pauses_hold_what_has_not_started(world: World) -> None:
    job = queue(world, world.job_type("one"), data(world, world.source()))
    world.session.get_one(Scheduler, 1).is_paused = True
    world.session.commit()
    assert world.dispatch() == 0
    world.session.get_one(Scheduler, 1).is_paused = False
    assert world.dispatch() == 1
    world.session.execute(update(Node).values(is_paused=True, pause_reason="maintenance"))
    world.session.commit()
    assert "maintenance" in str(world.claim(job).reason)
    world.session.execute(update(Node).values(is_paused=False, last_offer=None))
    world.session.commit()
    assert "offline" in str(world.claim(job).reason)


def test_a_paused_type_lets_the_others_pass(world: World) -> None:
    paused = world.job_type("paused", priority=1)
    other = world.job_type("other", priority=100)
    first = queue(world, paused, data(world, world.source()))
    paused.is_paused = True
    second = queue(world, other, data(world, world.source()))
    assert world.dispatch() == 1
    assert world.reload(second).dispatched is not None
    assert world.reload(first).dispatched is None


def test_urgent_work_is_dispatched_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SCALE__DISPATCH_WINDOW", "2")
    job_type = world.job_type("one")
    jobs = [
        queue(world, job_type, data(world, world.source()), priority=priority) for priority in (50, 50, 50, 1)
    ]
    assert world.dispatch() == 2
    assert [world.reload(job).dispatched is not None for job in jobs] == [True, False, False, True]
    world.run(jobs[3])
    assert world.dispatch() == 1


def test_cancel_in_every_state(world: World) -> None:
    _, jobs = queue_chain(world)
    world.dispatch()
    order = world.claim(jobs["a"]).order
    assert order is not None
    cancel_job(world.session, jobs["a"].id)
    world.session.commit()
    assert statuses(world, jobs) == {"a": "CANCELED", "b": "BLOCKED", "c": "BLOCKED", "d": "BLOCKED"}
    assert world.execution(jobs["a"]).status == "CANCELED"
    assert world.task(jobs["a"]).state == "failed"
    assert world.beat(order.execution_id).stop == (order.execution_id,)
    assert world.complete(order).decision == "ignored", "a late result is dropped"
    assert world.reload(jobs["a"]).status == "CANCELED"
    with pytest.raises(Conflict):
        cancel_job(world.session, jobs["a"].id)
    cancel_job(world.session, jobs["d"].id)
    assert statuses(world, jobs)["d"] == "CANCELED"


def test_a_job_canceled_before_dispatch_never_reaches_airflow(world: World) -> None:
    job = queue(world, world.job_type("one"), data(world, world.source()))
    cancel_job(world.session, job.id)
    world.session.commit()
    assert world.session.execute(select(func.count()).select_from(QueueEntry)).scalar() == 0
    assert world.dispatch() == 0


def test_a_try_whose_worker_died_goes_on_on_the_same_host(world: World) -> None:
    job = queue(world, world.job_type("one"), data(world, world.source()))
    world.dispatch()
    first = world.claim(job).order
    again = world.claim(job).order
    assert first is not None
    assert again is not None
    assert again.continues
    assert again.output_path == first.output_path


def test_a_try_elsewhere_waits_until_the_first_is_stopped(world: World) -> None:
    world.beat(agent="agent-2", host="worker-2")
    job = queue(world, world.job_type("one"), data(world, world.source()))
    world.dispatch()
    first = world.claim(job).order
    assert first is not None
    _new_try(world, job)
    waiting = world.claim(job, agent="agent-2", host="worker-2")
    assert waiting.answer == "wait"
    assert "worker-1" in str(waiting.reason)
    assert world.beat(first.execution_id).stop == (first.execution_id,)
    world.beat()
    second = world.claim(job, agent="agent-2", host="worker-2").order
    assert second is not None
    assert second.execution_id != first.execution_id
    lost = world.session.get_one(JobExecution, first.execution_id)
    assert (lost.status, lost.error.name) == ("FAILED", "mesos-lost")
    late = executions.fail(
        world.session, first.execution_id, FailureReport(None, 1, "late", PhaseTimes(), {}, None)
    )
    assert late.decision == "ignored"


def test_a_try_elsewhere_starts_when_the_first_node_is_lost(world: World) -> None:
    world.beat(agent="agent-2", host="worker-2")
    job = queue(world, world.job_type("one"), data(world, world.source()))
    world.dispatch()
    assert world.claim(job).order is not None
    _new_try(world, job)
    world.session.execute(update(Node).where(Node.slave_id == AGENT).values(last_offer=None))
    world.session.commit()
    second = world.claim(job, agent="agent-2", host="worker-2")
    assert second.answer == "go"
    assert world.reload(job).executions[1].error.name == "node-lost"


def _new_try(world: World, job: Job) -> None:
    """What Airflow does with a try whose worker is gone: the next one has an id of its own."""
    task = world.task(job)
    task.prepare_db_for_next_try(world.session)
    world.session.commit()


def test_what_a_user_ends_in_airflow_is_canceled_here(world: World) -> None:
    _, jobs = queue_chain(world)
    world.dispatch()
    assert world.claim(jobs["a"]).order is not None
    world.set_task_state(jobs["a"], "failed")
    _age(world)
    assert reconcile(world.session) == 1
    world.session.commit()
    assert statuses(world, jobs) == {"a": "CANCELED", "b": "BLOCKED", "c": "BLOCKED", "d": "BLOCKED"}
    _age(world)
    assert reconcile(world.session) == 0


def test_a_run_deleted_in_airflow_ends_its_jobs(world: World) -> None:
    job = queue(world, world.job_type("one"), data(world, world.source()))
    world.dispatch()
    run = world.session.scalars(select(DagRun).where(DagRun.dag_id == job.dag_id)).one()
    world.session.delete(run)
    world.session.commit()
    _age(world)
    assert reconcile(world.session) == 1
    assert world.reload(job).status == "CANCELED"


def _age(world: World) -> None:
    """Let the grace of the reconciler pass."""
    from datetime import timedelta

    past = utcnow() - timedelta(minutes=1)
    world.session.execute(update(Job).where(Job.dispatched.is_not(None)).values(dispatched=past))
    world.session.execute(update(JobExecution).values(last_modified=past))
    world.session.commit()


def test_the_same_work_done_again_supersedes_its_products(world: World) -> None:
    job_type, source = world.job_type("one"), world.source()
    jobs = [queue(world, job_type, data(world, source)) for _ in range(2)]
    other = queue(world, job_type, data(world, world.source("other.zip")))
    world.dispatch()
    for job in [*jobs, other]:
        world.run(job)
    rows = world.session.execute(
        select(ScaleFile.job_id, ScaleFile.is_published, ScaleFile.uuid).where(ScaleFile.kind == "PRODUCT")
    )
    published = {row.job_id: (row.is_published, row.uuid) for row in rows}
    assert [published[job.id][0] for job in [*jobs, other]] == [False, True, True]
    assert published[jobs[0].id][1] == published[jobs[1].id][1] != published[other.id][1]


def test_parse_results_reach_the_source_file(world: World) -> None:
    source = world.source()
    job = queue(world, world.job_type("one"), data(world, source))
    world.dispatch()
    order = world.claim(job).order
    assert order is not None
    geometry = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]}
    results = tuple(
        ReportedParse(name, None, ("terrain",), "2020-01-01T00:00:00Z", None, geometry, None)
        for name in ("scene.zip", "scene.zip", "elsewhere.zip")
    )
    world.complete(order, parse_results=results)
    world.session.refresh(source)
    assert (source.is_parsed, source.data_type, source.center_point) == (True, ["terrain"], "POINT (1 1)")
    assert len(world.execution(job).warnings) == 1


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"input_data": []}, "input"),
        ({"input_data": [{"name": "input", "file_id": 10**30}]}, "file_id"),
        ({"input_data": [{"name": "input", "file_id": 424242}]}, "file_id"),
        ([], ""),
    ],
)
def test_wrong_job_data_names_its_faults_and_leaves_nothing(world: World, document: Any, place: str) -> None:
    job_type = world.job_type("one")
    with pytest.raises(InvalidDocument) as raised:
        queue(world, job_type, document)
    assert any(place in fault.path or place in fault.message for fault in raised.value.faults)
    world.session.rollback()
    assert world.session.execute(select(func.count()).select_from(Job)).scalar() == 0


def test_a_type_that_can_not_run_is_refused_when_queued(world: World) -> None:
    job_type = world.job_type("none", docker_image=None)
    with pytest.raises(InvalidRequest, match="docker_image"):
        queue(world, job_type, data(world, world.source()))


def test_a_recipe_without_jobs_is_completed_at_once(world: World) -> None:
    recipe_type = world.recipe_type("empty", [])
    recipe = queue_recipe(
        world.session,
        recipe_type=recipe_type,
        data={"version": "1.0", "input_data": [{"name": "scene", "file_id": world.source().id}]},
        event=user_event(world.session, "me"),
    )
    assert recipe.completed is not None
    assert world.dispatch() == 0


def test_events_say_who_asked(world: World) -> None:
    queue(world, world.job_type("one"), data(world, world.source()))
    event = world.session.scalars(select(TriggerEvent)).one()
    assert (event.type, event.description) == ("USER", {"user": "me"})
