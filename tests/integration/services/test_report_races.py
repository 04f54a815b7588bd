# SPDX-License-Identifier: Apache-2.0
"""Claims, reports, cancels, beats and the reconciler at the same moment: one of them counts, once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from concurrency import Aside, at_once
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session
from world import AGENT, HOST, World, interface

from scale_airflow.engine import runs
from scale_airflow.errors import Conflict, Forbidden
from scale_airflow.execution.order import (
    ClaimAnswer,
    ClaimRequest,
    CompletionReport,
    ExecutionOrder,
    FailureReport,
    NodeBeat,
    PhaseTimes,
    ReportedFile,
    ReportedOutput,
    ReportedParse,
)
from scale_airflow.services import claims, executions, jobs, nodes
from scale_airflow.services import reconcile as reconciler
from scale_airflow.services.events import user_event
from scale_airflow.services.locks import lock_job, try_lock_job
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.services.reconcile import reconcile
from scale_airflow.store.models import (
    Job,
    JobExecution,
    Node,
    Recipe,
    RecipeTypeRevision,
    ScaleFile,
    Scheduler,
    utcnow,
)
from scale_airflow.store.session import transaction

LONG_AGO = "now() - interval '1 minute'"
LINK = {"output": "output", "input": "input"}
STEP = {"name": "step", "version": "1.0"}


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


def queue(world: World, job_type: Any, *sources: ScaleFile, **options: Any) -> Job:
    files = sources or (world.source(),)
    many = len(files) > 1
    given: dict[str, Any] = {"file_ids": [file.id for file in files]} if many else {"file_id": files[0].id}
    data = {
        "input_data": [{"name": "input", **given}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(
        world.session, job_type=job_type, data=data, event=user_event(world.session, "me"), **options
    )
    world.session.commit()
    return job


def running(world: World, job_type: Any, *sources: ScaleFile) -> tuple[Job, ExecutionOrder]:
    job = queue(world, job_type, *sources)
    assert world.dispatch() == 1
    return job, started(world, job)


def started(world: World, job: Job, **where: str) -> ExecutionOrder:
    order = world.claim(job, **where).order
    assert order is not None
    return order


def report(order: ExecutionOrder, **fields: Any) -> CompletionReport:
    outputs = tuple(
        ReportedOutput(
            output.name,
            False,
            (
                ReportedFile(
                    f"{output.name}.dat",
                    output.workspace_id,
                    f"{order.output_path}/{output.name}.dat",
                    3,
                    "0" * 64,
                    "application/octet-stream",
                    None,
                    None,
                    None,
                ),
            ),
        )
        for output in order.outputs
    )
    given = {"exit_code": 0, "times": PhaseTimes(), "outputs": outputs, "parse_results": ()}
    return CompletionReport(**{**given, "manifest": {}, "environment": {}, "warnings": (), **fields})


def failure(error: str | None = None, exit_code: int | None = 1) -> FailureReport:
    return FailureReport(error, exit_code, "it failed", PhaseTimes(), {}, None)


def apart(action: Callable[[Session], Any]) -> Callable[[], Any]:
    """The action in a transaction of its own, as an API server does it."""

    def run() -> Any:
        with transaction() as session:
            return action(session)

    return run


def completes(order: ExecutionOrder, **fields: Any) -> Callable[[], Any]:
    made = report(order, **fields)
    return apart(lambda session: executions.complete(session, order.execution_id, made).decision)


def cancels(job: Job) -> Callable[[], Any]:
    number = job.id
    return apart(lambda session: jobs.cancel_job(session, number).status)


def claims_it(world: World, job: Job, **where: str) -> Callable[[], Any]:
    world.set_task_state(job, "running")
    request = world.request(job, **where)
    return apart(lambda session: claims.claim(session, request, world.settings))


def beats(world: World, *seen: int) -> Callable[[], Any]:
    made = NodeBeat(AGENT, HOST, 8793, 8.0, 16384.0, 100000.0, seen, ())
    return apart(lambda session: nodes.beat(session, made, world.settings))


def age(world: World) -> None:
    """Let the grace of the reconciler pass."""
    world.session.execute(text(f"UPDATE scale_job SET dispatched = {LONG_AGO} WHERE dispatched IS NOT NULL"))
    world.session.execute(text(f"UPDATE scale_job_execution SET last_modified = {LONG_AGO}"))
    world.session.commit()


def outcome(world: World, job: Job) -> tuple[str, list[str]]:
    found = world.reload(job)
    return found.status, [execution.status for execution in reversed(found.executions)]


def products(world: World) -> int:
    query = select(func.count()).select_from(ScaleFile).where(ScaleFile.kind == "PRODUCT")
    world.session.rollback()
    return world.session.execute(query).scalar_one()


def no_errors(results: list[Any]) -> list[Any]:
    assert not [result for result in results if isinstance(result, Exception)], results
    return results


def fan_in(world: World, width: int) -> tuple[Recipe, list[Job], Job]:
    """Queue and dispatch a recipe of so many jobs and one that waits for all of them."""
    world.job_type("step")
    world.job_type("join", interface({f"p{number}": "file" for number in range(width)}))
    root = {"job_type": STEP, "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}]}
    waits = [
        {"name": f"p{number}", "connections": [{"output": "output", "input": f"p{number}"}]}
        for number in range(width)
    ]
    last = {"name": "join", "job_type": {"name": "join", "version": "1.0"}, "dependencies": waits}
    recipe_type = world.recipe_type("fan-in", [*({"name": f"p{n}", **root} for n in range(width)), last])
    data = {
        "input_data": [{"name": "scene", "file_id": world.source().id}],
        "workspace_id": world.workspace().id,
    }
    recipe = queue_recipe(
        world.session, recipe_type=recipe_type, data=data, event=user_event(world.session, "me")
    )
    world.session.commit()
    assert world.dispatch() == 1
    by_name = {str(job.recipe_job_name): job for job in recipe.jobs}
    return recipe, [by_name[f"p{number}"] for number in range(width)], by_name["join"]


# -- reports -----------------------------------------------------------------------------------------------


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


# -- claims ------------------------------------------------------------------------------------------------


def test_claim_and_cancel_at_once(world: World) -> None:
    job_type = world.job_type("one")
    queued = [queue(world, job_type) for _ in range(5)]
    world.dispatch()
    actions = [action for job in queued for action in (claims_it(world, job), cancels(job))]
    results = no_errors(at_once(actions))
    for job, answer in zip(queued, results[::2], strict=True):
        assert (answer.answer, answer.outcome) in (("go", None), ("over", "canceled"))
        assert outcome(world, job) == ("CANCELED", ["CANCELED"])
        assert world.task(job).state == "failed"


def test_a_claim_that_waited_while_its_task_moved_on_is_refused(world: World) -> None:
    job = queue(world, world.job_type("one"))
    world.dispatch()
    claim = claims_it(world, job)
    lock_job(world.session, job.id)
    with Aside(world.session, claim) as aside:
        assert aside.until_stuck()
        world.session.execute(
            text("UPDATE task_instance SET id = :new, try_number = try_number + 1 WHERE run_id = :run"),
            {"new": str(uuid.uuid4()), "run": job.run_id},
        )
        world.session.commit()
    with pytest.raises(Forbidden):
        aside.result()
    assert outcome(world, job) == ("QUEUED", ["QUEUED"])


def test_one_claim_that_comes_several_times_at_once_has_one_live_token(world: World) -> None:
    job = queue(world, world.job_type("one"))
    world.dispatch()
    answers = no_errors(at_once([claims_it(world, job)] * 4))
    assert [answer.answer for answer in answers] == ["go"] * 4
    valid = []
    for answer in answers:
        try:
            executions.authenticate(world.session, answer.order.execution_id, answer.order.token)
        except Forbidden:
            continue
        valid.append(answer)
    assert len(valid) == 1
    assert outcome(world, job) == ("RUNNING", ["RUNNING"])


def test_claims_on_several_nodes_keep_max_scheduled_together(world: World) -> None:
    job_type = world.job_type("limited", max_scheduled=2)
    hosts = [{"agent": f"agent-{number}", "host": f"worker-{number}"} for number in range(6)]
    for where in hosts:
        world.beat(**where)
    queued = [queue(world, job_type) for _ in hosts]
    job_type.max_scheduled = len(hosts)
    world.session.commit()
    assert world.dispatch() == len(hosts)
    world.session.refresh(job_type)
    job_type.max_scheduled = 2  # lowered by somebody: what is in Airflow already must keep to it
    world.session.commit()
    actions = [claims_it(world, job, **where) for job, where in zip(queued, hosts, strict=True)]
    answers = no_errors(at_once(actions))
    assert sorted(answer.answer for answer in answers) == ["go"] * 2 + ["wait"] * 4


def test_claims_on_one_node_never_share_room(world: World) -> None:
    world.beat(cpus=3.0)
    job_type = world.job_type("one", cpus_required=1.0)
    queued = [queue(world, job_type) for _ in range(6)]
    world.dispatch()
    answers = no_errors(at_once([claims_it(world, job) for job in queued]))
    assert sorted(answer.answer for answer in answers) == ["go"] * 3 + ["wait"] * 3


@pytest.mark.parametrize("kind", ["job", "recipe"])
def test_two_servers_adopt_a_run_once(world: World, kind: str) -> None:
    step = world.job_type("step", interface({"input": "file"}))
    source = world.source()
    roots = [
        {"name": name, "job_type": STEP, "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}]}
        for name in ("a", "b")
    ]
    recipe_type = world.recipe_type("pair", roots)
    if kind == "job":
        dag_id = world.session.execute(
            text("SELECT dag_id FROM scale_job_type_revision WHERE job_type_id = :id"), {"id": step.id}
        ).scalar_one()
        conf: dict[str, Any] = {"input": source.id, "workspace_id": world.workspace().id}
    else:
        dag_id = world.session.scalars(
            select(RecipeTypeRevision.dag_id).where(RecipeTypeRevision.recipe_type_id == recipe_type.id)
        ).one()
        conf = {"scene": source.id, "workspace_id": world.workspace().id}
    runs.create_run(world.session, dag_id=dag_id, run_id="by-hand", conf=conf, priority=100)
    world.session.execute(text("UPDATE task_instance SET state = 'running', try_number = 1"))
    world.session.commit()
    tasks = world.session.execute(text("SELECT id, task_id FROM task_instance ORDER BY task_id")).all()

    def adopts(identifier: object, task_id: str) -> Callable[[], ClaimAnswer]:
        request = ClaimRequest(dag_id, "by-hand", task_id, -1, 1, str(identifier), HOST, AGENT, None)
        return apart(lambda session: claims.claim(session, request, world.settings))

    answers = no_errors(at_once([adopts(row.id, row.task_id) for row in tasks for _ in range(3)]))
    assert {answer.answer for answer in answers} == {"go"}
    counted = {"job": (1, 0), "recipe": (2, 1)}[kind]
    found = [
        world.session.execute(select(func.count()).select_from(model)).scalar_one() for model in (Job, Recipe)
    ]
    assert tuple(found) == counted
    assert world.session.execute(select(func.count()).select_from(DagRun)).scalar_one() == 1


# -- the node's beat and the reconciler --------------------------------------------------------------------


def test_a_beat_waits_for_no_job(world: World) -> None:
    job_type = world.job_type("one")
    (held, _), (other, _) = running(world, job_type), running(world, job_type)
    world.session.execute(update(JobExecution).values(stop_requested=utcnow()))
    world.session.commit()
    lock_job(world.session, held.id)
    with Aside(world.session, beats(world)) as aside:
        assert not aside.until_stuck()
    world.session.rollback()
    aside.result()
    assert outcome(world, other) == ("QUEUED", ["FAILED", "QUEUED"])
    assert outcome(world, held) == ("RUNNING", ["RUNNING"])
    world.beat()
    assert outcome(world, held) == ("QUEUED", ["FAILED", "QUEUED"])


def test_the_reconciler_waits_for_no_job(world: World) -> None:
    job_type = world.job_type("one")
    (held, _), (other, _) = running(world, job_type), running(world, job_type)
    for job in (held, other):
        world.set_task_state(job, "failed")
    age(world)
    lock_job(world.session, held.id)
    with Aside(world.session, apart(reconcile)) as aside:
        assert not aside.until_stuck()
    world.session.rollback()
    assert aside.result() == 1
    assert (world.reload(held).status, world.reload(other).status) == ("RUNNING", "CANCELED")
    assert reconcile(world.session) == 1


def test_one_job_that_can_not_be_repaired_keeps_no_other_from_it(world: World) -> None:
    recipe, parents, _ = fan_in(world, 2)
    other, _ = running(world, world.job_type("other"))
    # As after damage to the database: the definition can't be read any more.
    world.session.execute(
        update(RecipeTypeRevision)
        .where(RecipeTypeRevision.id == recipe.recipe_type_rev_id)
        .values(definition={"version": "1.0"}, created=utcnow())
    )
    for job in (parents[0], other):
        world.set_task_state(job, "failed")
    age(world)
    assert reconcile(world.session) == 1
    world.session.commit()
    assert (world.reload(parents[0]).status, world.reload(other).status) == ("QUEUED", "CANCELED")


def test_a_task_that_is_cleared_while_the_reconciler_looks_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = running(world, world.job_type("one"))
    world.set_task_state(job, "failed")
    age(world)

    def cleared_first(session: Session, job_id: int) -> Job | None:
        with transaction() as other:
            other.execute(text("UPDATE task_instance SET state = NULL"))
        return try_lock_job(session, job_id)

    monkeypatch.setattr(reconciler, "try_lock_job", cleared_first)
    assert reconcile(world.session) == 0
    world.session.commit()
    assert world.reload(job).status == "RUNNING"


def test_a_look_is_no_change_of_the_scheduler(world: World) -> None:
    before = world.session.get_one(Scheduler, 1).last_modified
    reconcile(world.session)
    world.session.commit()
    found = world.session.get_one(Scheduler, 1, populate_existing=True)
    assert found.last_reconcile is not None
    assert found.last_modified == before


def test_a_second_agent_of_a_host_is_refused_while_the_first_lives(world: World) -> None:
    with pytest.raises(Conflict, match="one agent a host"):
        world.beat(agent="agent-2")
    world.session.rollback()
    world.session.execute(update(Node).values(last_offer=None))
    world.session.commit()
    world.beat(agent="agent-2")
    assert world.session.scalars(select(Node.slave_id)).all() == ["agent-2"], "it is the same host"


def test_a_host_that_takes_the_name_of_one_that_is_gone(world: World) -> None:
    world.beat(agent="agent-2", host="worker-2")
    world.session.execute(update(Node).where(Node.slave_id == AGENT).values(last_offer=None))
    world.session.commit()
    world.beat(agent="agent-2", host=HOST)
    world.session.expire_all()
    rows = world.session.execute(select(Node.slave_id, Node.hostname, Node.is_active).order_by(Node.slave_id))
    assert rows.all() == [(AGENT, HOST, False), ("agent-2", HOST, True)]


def test_the_first_beats_of_a_host_at_once_make_one_node(world: World) -> None:
    made = NodeBeat("agent-2", "worker-2", 8793, 8.0, 16384.0, 100000.0, (), ())
    beat = apart(lambda session: nodes.beat(session, made, world.settings).node_id)
    assert len(set(no_errors(at_once([beat] * 6)))) == 1


# -- tries that move to another host -----------------------------------------------------------------------


def next_try(world: World, job: Job) -> None:
    world.task(job).prepare_db_for_next_try(world.session)
    world.session.commit()


def test_a_try_that_waits_for_another_host_is_not_woken_in_vain(world: World) -> None:
    world.beat(agent="agent-2", host="worker-2")
    job, order = running(world, world.job_type("one"))
    next_try(world, job)
    elsewhere = {"agent": "agent-2", "host": "worker-2"}
    assert world.claim(job, **elsewhere).answer == "wait"
    asked = claims.reserve(world.session, world.request(job, **elsewhere), world.settings)
    assert (asked.ready, "being stopped" in str(asked.reason)) == (False, True)
    world.session.commit()
    assert world.beat(order.execution_id).stop == (order.execution_id,)
    world.beat()
    assert claims.reserve(world.session, world.request(job, **elsewhere), world.settings).ready


def test_what_is_being_stopped_is_not_gone_on_with(world: World) -> None:
    job, _ = running(world, world.job_type("one"))
    world.session.execute(update(JobExecution).values(stop_requested=utcnow()))
    world.session.commit()
    next_try(world, job)
    assert world.claim(job).answer == "wait"
    world.beat()
    again = started(world, job)
    assert not again.continues
    assert outcome(world, job) == ("RUNNING", ["FAILED", "RUNNING"])


def test_a_node_that_was_retired_but_lives_gives_its_execution_up(world: World) -> None:
    world.beat(agent="agent-2", host="worker-2")
    job, order = running(world, world.job_type("one"))
    world.session.execute(update(Node).where(Node.slave_id == AGENT).values(is_active=False))
    world.session.commit()
    next_try(world, job)
    assert world.claim(job, agent="agent-2", host="worker-2").answer == "wait"
    assert world.beat(order.execution_id).stop == (order.execution_id,)
    world.beat()
    assert world.claim(job, agent="agent-2", host="worker-2").answer == "go"
