# SPDX-License-Identifier: Apache-2.0
"""Beats of agents and looks of the reconciler at the same moment as all else: they wait for no job."""

from __future__ import annotations

import pytest
from concurrency import Aside, apart, at_once, no_errors
from contenders import age, beats, fan_in, outcome, running
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session
from world import AGENT, HOST, World

from scale_airflow.errors import Conflict
from scale_airflow.execution.order import NodeBeat
from scale_airflow.services import nodes
from scale_airflow.services import reconcile as reconciler
from scale_airflow.services.locks import lock_job, try_lock_job
from scale_airflow.services.reconcile import reconcile
from scale_airflow.store.models import Job, JobExecution, Node, RecipeTypeRevision, Scheduler, utcnow
from scale_airflow.store.session import transaction


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
