# SPDX-License-Identifier: Apache-2.0
"""Claims at the same moment as cancels and other claims, and tries that move to another host."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from concurrency import Aside, apart, at_once, no_errors
from contenders import cancels, claims_it, outcome, running
from sqlalchemy import func, select, text, update
from work import STEP, queued, started
from world import AGENT, HOST, World, interface

from scale_airflow.engine import runs
from scale_airflow.errors import Forbidden
from scale_airflow.execution.order import ClaimAnswer, ClaimRequest
from scale_airflow.services import claims, executions
from scale_airflow.services.locks import lock_job
from scale_airflow.store.models import Job, JobExecution, Node, Recipe, RecipeTypeRevision, utcnow


def test_claim_and_cancel_at_once(world: World) -> None:
    job_type = world.job_type("one")
    jobs = [queued(world, job_type) for _ in range(5)]
    world.dispatch()
    actions = [action for job in jobs for action in (claims_it(world, job), cancels(job))]
    results = no_errors(at_once(actions))
    for job, answer in zip(jobs, results[::2], strict=True):
        assert (answer.answer, answer.outcome) in (("go", None), ("over", "canceled"))
        assert outcome(world, job) == ("CANCELED", ["CANCELED"])
        assert world.task(job).state == "failed"


def test_a_claim_that_waited_while_its_task_moved_on_is_refused(world: World) -> None:
    job = queued(world, world.job_type("one"))
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
    job = queued(world, world.job_type("one"))
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
    jobs = [queued(world, job_type) for _ in hosts]
    job_type.max_scheduled = len(hosts)
    world.session.commit()
    assert world.dispatch() == len(hosts)
    world.session.refresh(job_type)
    job_type.max_scheduled = 2  # lowered by somebody: what is in Airflow already must keep to it
    world.session.commit()
    actions = [claims_it(world, job, **where) for job, where in zip(jobs, hosts, strict=True)]
    answers = no_errors(at_once(actions))
    assert sorted(answer.answer for answer in answers) == ["go"] * 2 + ["wait"] * 4


def test_claims_on_one_node_never_share_room(world: World) -> None:
    world.beat(cpus=3.0)
    job_type = world.job_type("one", cpus_required=1.0)
    jobs = [queued(world, job_type) for _ in range(6)]
    world.dispatch()
    answers = no_errors(at_once([claims_it(world, job) for job in jobs]))
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
