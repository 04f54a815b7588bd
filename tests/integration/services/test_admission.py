# SPDX-License-Identifier: Apache-2.0
"""Admission: a node never holds more than it has, nobody starves, and what is too large says so."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from concurrency import Aside, at_once
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session
from world import World, interface

from scale_airflow.execution.order import ClaimAnswer, ExecutionOrder, ReserveAnswer
from scale_airflow.services import claims
from scale_airflow.services.events import user_event
from scale_airflow.services.job_types import edit_job_type
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.node_control import change_node
from scale_airflow.services.queue import queue_job
from scale_airflow.services.scheduler import pause_scheduler
from scale_airflow.store.models import Job, JobExecution, JobType, Node, utcnow
from scale_airflow.store.session import transaction

HOSTS = [{"agent": "agent-1", "host": "worker-1"}, {"agent": "agent-2", "host": "worker-2"}]

OVERBOOKED = text(
    """
    SELECT node.hostname FROM scale_node node
    JOIN scale_job_execution execution ON execution.node_id = node.id
    WHERE execution.status = 'RUNNING' OR (execution.status = 'QUEUED' AND execution.reserved IS NOT NULL)
    GROUP BY node.id HAVING sum(cpus_scheduled) > cpus OR sum(mem_scheduled) > mem_mib
    OR sum(disk_total_scheduled) > disk_mib OR sum(gpus_scheduled) > gpus
    """
)


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # However slow the machine is, nobody falls silent while a test goes on.
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "60")
    for name in ("room._ASKS_AGAIN", "room.RESERVATION", "admission._SENT_AGAIN"):
        monkeypatch.setattr(f"scale_airflow.services.{name}", timedelta(hours=1))
    made = World(session)
    made.install(tmp_path)
    return made


def plain(world: World, name: str, **fields: Any) -> JobType:
    return world.job_type(name, interface({}, {}), **fields)


def queue(world: World, job_type: JobType, **options: Any) -> Job:
    event = user_event(world.session, "me")
    job = queue_job(world.session, job_type=job_type, data={}, event=event, **options)
    world.session.commit()
    return job


def dispatched(world: World, job_type: JobType, count: int, **options: Any) -> list[Job]:
    made = [queue(world, job_type, **options) for _ in range(count)]
    while world.dispatch():
        pass
    return made


def asks(world: World, job: Job, **where: str) -> ReserveAnswer:
    """What the trigger of a deferred task does."""
    answer = claims.reserve(world.session, world.request(job, **where), world.settings)
    world.session.commit()
    return answer


def go(answer: ClaimAnswer) -> ExecutionOrder:
    assert answer.order is not None, answer
    return answer.order


def overbooked(session: Session) -> list[str]:
    return list(session.scalars(OVERBOOKED))


def node_of(world: World, host: str = "worker-1") -> Node:
    world.session.expire_all()
    return world.session.scalars(select(Node).where(Node.hostname == host)).one()


# -- never more than there is --------------------------------------------------------------------------------


def sizes(world: World, chance: random.Random) -> list[JobType]:
    """Job types that need one thing or the other, up to all that a node has."""
    return [
        plain(
            world,
            f"size {number}",
            cpus_required=chance.choice([0.25, 0.5, 1.0, 1.75, 3.5]),
            mem_required=chance.choice([128.0, 512.0, 4000.0, 12000.0]),
            disk_out_const_required=chance.choice([0.0, 64.0, 30_000.0, 90_000.0]),
            max_scheduled=chance.choice([None, None, 2]),
        )
        for number in range(8)
    ]


def test_whatever_comes_no_node_holds_more_than_it_has(world: World) -> None:
    """Random jobs, nodes, priorities, claims, reservations, ends and cancels, one after the other."""
    chance = random.Random(1)
    for number, where in enumerate(HOSTS):
        world.beat(**where, cpus=4.0 - number)
    types = sizes(world, chance)
    waiting = [
        queue(world, chance.choice(types), priority=chance.choice([1, 50, 50, 100])) for _ in range(25)
    ]
    running: dict[Job, ExecutionOrder] = {}
    started = 0
    for _ in range(120):
        world.dispatch()
        step = chance.random()
        in_airflow = [job for job in waiting if world.reload(job).dispatched is not None]
        if step < 0.65 and in_airflow:
            job, where = chance.choice(in_airflow), chance.choice(HOSTS)
            if step < 0.3:
                world.set_task_state(job, "running")
                asks(world, job, **where)
            else:
                answer = world.claim(job, **where)
                if answer.order is not None:
                    running[job] = answer.order
                    waiting.remove(job)
                    started += 1
        elif step < 0.9 and running:
            job = chance.choice(list(running))
            world.complete(running.pop(job))
            world.set_task_state(job, "success")
        elif step < 0.93 and in_airflow:
            job = chance.choice(in_airflow)
            cancel_job(world.session, job.id)
            world.session.commit()
            waiting.remove(job)
        assert overbooked(world.session) == []
    assert started > 10


def test_claims_of_many_at_once_leave_no_node_overbooked(world: World) -> None:
    chance = random.Random(3)
    for where in HOSTS:
        world.beat(**where, cpus=4.0)
    types = sizes(world, chance)
    jobs = [queue(world, chance.choice(types), priority=chance.choice([1, 50])) for _ in range(24)]
    while world.dispatch():
        pass
    jobs = [job for job in jobs if world.reload(job).dispatched is not None]
    orders: list[ExecutionOrder] = []
    for _ in range(4):
        actions = []
        for job in jobs:
            if world.reload(job).status == "QUEUED":
                world.set_task_state(job, "running")
                request = world.request(job, **chance.choice(HOSTS))
                ask = chance.choice([claims.claim, claims.claim, claims.reserve])
                actions.append(apart(ask, request, world))
        if not actions:
            break
        answers = at_once(actions)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert overbooked(world.session) == []
        orders += [each.order for each in answers if isinstance(each, ClaimAnswer) and each.order is not None]
        for order in orders[::2]:
            world.complete(order)
        orders = orders[1::2]
    assert any(world.reload(job).status in ("RUNNING", "COMPLETED") for job in jobs)


def apart(ask: Any, request: Any, world: World) -> Any:
    def run() -> Any:
        with transaction() as session:
            return ask(session, request, world.settings)

    return run


# -- nobody starves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [1, 2])
def test_a_large_job_starts_once_what_runs_now_has_ended(world: World, hosts: int) -> None:
    """An endless stream of small jobs of the same priority: the large one is not passed for ever."""
    places = HOSTS[:hosts]
    for where in places:
        world.beat(**where, cpus=10.0)
    small, large = plain(world, "small", cpus_required=2.0), plain(world, "large", cpus_required=9.0)
    running: dict[Job, ExecutionOrder] = {}
    for where in places:
        for job in dispatched(world, small, 5):
            running[job] = go(world.claim(job, **where))
    at_first = set(running)
    (waiting,) = dispatched(world, large, 1)
    assert world.claim(waiting, **HOSTS[0]).answer == "wait"
    mine = {job for job in at_first if world.execution(job).node_id == node_of(world).id}
    passed = 0
    while mine & running.keys():
        for ending in [job for job in running if job in mine][:1] + [
            job for job in running if job not in mine
        ][:1]:
            world.complete(running.pop(ending))
        # Two more come for each that ends, on every node, before the large one asks again.
        for where in places:
            for job in dispatched(world, small, 2):
                answer = world.claim(job, **where)
                if answer.order is not None:
                    running[job] = answer.order
                    passed += 1
                elif where is HOSTS[0]:
                    assert f"keeps room for job {waiting.id}" in str(answer.reason)
        assert asks(world, waiting, **HOSTS[0]).ready is not bool(mine & running.keys())
    on_its_node = {job for job in running if world.execution(job).node_id == node_of(world).id}
    assert on_its_node == set(), "nothing that it would miss was given away"
    assert bool(passed) is (hosts == 2), "what waits takes the other node meanwhile"
    assert world.claim(waiting, **HOSTS[0]).answer == "go"
    assert overbooked(world.session) == []


def test_what_a_large_job_will_not_miss_is_not_kept_for_it(world: World) -> None:
    world.beat(cpus=10.0)
    small, large = plain(world, "small", cpus_required=1.0), plain(world, "large", cpus_required=9.0)
    first = dispatched(world, small, 2)
    for job in first:
        assert world.claim(job).answer == "go"
    (waiting,) = dispatched(world, large, 1)
    assert world.claim(waiting).answer == "wait"
    beside, other = dispatched(world, small, 2)
    assert world.claim(beside).answer == "go", "one fits beside it"
    assert world.claim(other).answer == "wait"


def test_two_large_jobs_do_not_wait_for_each_other(world: World) -> None:
    world.beat(cpus=10.0)
    large, small = plain(world, "large", cpus_required=9.0), plain(world, "small", cpus_required=2.0)
    (first,) = dispatched(world, small, 1)
    order = go(world.claim(first))
    pair = dispatched(world, large, 2)
    for job in reversed(pair):
        assert world.claim(job).answer == "wait"
    world.complete(order)
    assert asks(world, pair[1]).ready is not asks(world, pair[0]).ready
    job, other = pair if world.execution(pair[0]).reserved else reversed(pair)
    order = go(world.claim(job))
    assert world.claim(other).answer == "wait"
    world.complete(order)
    assert world.claim(other).answer == "go"


# -- larger than a node, or than all ------------------------------------------------------------------------


def test_a_job_larger_than_every_node_says_so_and_starts_when_there_is_one(world: World) -> None:
    world.beat(cpus=4.0)
    (huge,) = dispatched(world, plain(world, "huge", cpus_required=16.0), 1, priority=1)
    (small,) = dispatched(world, plain(world, "small", cpus_required=4.0), 1)
    answer = world.claim(huge)
    reason = "It needs 16 CPUs; node worker-1 has 4 in all, and no other node has enough."
    assert (answer.answer, answer.reason, world.reload(huge).why) == ("wait", reason, reason)
    assert asks(world, huge).reason == reason
    assert world.claim(small).answer == "go", "it keeps nobody from the node"
    world.beat(agent="agent-2", host="worker-2", cpus=16.0)
    assert asks(world, huge).ready, "its task is woken up"
    assert (
        world.reload(huge).why
        == "It needs 16 CPUs; node worker-1 has 4 in all. It waits for room on worker-2."
    )
    assert overbooked(world.session) == []
    assert world.claim(huge, **HOSTS[1]).answer == "go"
    assert world.reload(huge).why is None


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"mem_required": 20000.0}, "It needs 20000 MiB of memory; node worker-1 has 16384 in all"),
        ({"disk_out_const_required": 2e5}, "It needs 200000 MiB of disk; node worker-1 has 100000 in all"),
        ({"configuration": {"gpus_required": 1}}, "It needs 1 GPUs; node worker-1 has 0 in all"),
    ],
)
def test_everything_that_a_node_has_is_counted(world: World, fields: dict[str, Any], what: str) -> None:
    (job,) = dispatched(world, plain(world, "one", **fields), 1)
    assert str(world.claim(job).reason).startswith(what)


def test_the_disk_for_inputs_is_counted(world: World) -> None:
    reads = world.job_type("reads", interface({"input": "file"}, {}), disk_out_const_required=85.0)
    data = {"input_data": [{"name": "input", "file_id": world.source().id}]}  # of 10 MiB
    event = user_event(world.session, "me")
    jobs = [queue_job(world.session, job_type=reads, data=data, event=event) for _ in range(2)]
    world.session.commit()
    world.dispatch()
    world.session.execute(update(Node).values(disk_mib=94.0))
    world.session.commit()
    assert "It needs 95 MiB of disk" in str(world.claim(jobs[0]).reason)
    world.session.execute(update(Node).values(disk_mib=100.0))
    world.session.commit()
    assert world.claim(jobs[0]).answer == "go"
    assert world.claim(jobs[1]).reason == "It needs 95 MiB of disk; node worker-1 has 5 of 100 free now."


def test_gpus_are_given_out_once(world: World) -> None:
    world.session.execute(update(Node).values(gpus=2))
    world.session.commit()
    job_type = plain(world, "learns", cpus_required=0.25, configuration={"gpus_required": 1})
    first, second, third = dispatched(world, job_type, 3)
    order = go(world.claim(first))
    assert world.claim(second).answer == "go"
    assert world.claim(third).reason == "It needs 1 GPUs; node worker-1 has 0 of 2 free now."
    world.complete(order)
    assert asks(world, third).ready
    assert overbooked(world.session) == []


def test_a_job_on_a_node_that_takes_nothing_moves_to_another(world: World) -> None:
    world.beat(**HOSTS[1])
    (job,) = dispatched(world, plain(world, "one"), 1)
    change_node(world.session, node_of(world).id, {"is_paused": True})
    world.session.commit()
    assert "paused" in str(world.claim(job).reason)
    assert asks(world, job).ready, "there is room on the other"
    assert world.execution(job).node_id == node_of(world, "worker-2").id
    # Airflow picked the same host again.
    assert "paused" in str(world.claim(job).reason)
    assert not asks(world, job).ready, "not at once again"
    assert overbooked(world.session) == []
    world.session.execute(update(JobExecution).values(asked=JobExecution.asked - timedelta(minutes=61)))
    world.session.commit()
    assert asks(world, job).ready
    assert world.claim(job, **HOSTS[1]).answer == "go"


def test_room_that_is_reserved_elsewhere_is_given_back(world: World) -> None:
    world.beat(**HOSTS[1], cpus=8.0)
    job_type = plain(world, "one", cpus_required=8.0)
    job, other = dispatched(world, job_type, 2)
    change_node(world.session, node_of(world).id, {"is_paused": True})
    world.session.commit()
    assert world.claim(job).answer == "wait"
    assert asks(world, job).ready
    assert world.claim(other, **HOSTS[1]).answer == "wait"
    assert world.claim(job).answer == "wait", "it came to the paused node again"
    assert world.claim(other, **HOSTS[1]).answer == "go"


def test_a_task_that_waited_finds_its_node_though_the_agent_has_a_new_id(world: World) -> None:
    (job,) = dispatched(world, plain(world, "one"), 1)
    world.session.execute(update(Node).values(last_offer=utcnow() - timedelta(hours=1)))
    world.session.commit()
    assert "offline" in str(world.claim(job).reason)
    world.beat(agent="agent-new")
    assert asks(world, job, agent="agent-1").ready


# -- a pause counts from its answer ------------------------------------------------------------------------


def pauses_scheduler(session: Session, _job: Job, is_paused: bool) -> Any:
    return pause_scheduler(session, is_paused=is_paused)


def pauses_type(session: Session, job: Job, is_paused: bool) -> Any:
    return edit_job_type(session, job.job_type_id, {"is_paused": is_paused})


def pauses_node(session: Session, _job: Job, is_paused: bool) -> Any:
    return change_node(session, session.scalars(select(Node.id)).one(), {"is_paused": is_paused})


@pytest.mark.parametrize("pauses", [pauses_scheduler, pauses_type, pauses_node])
def test_nothing_starts_once_a_pause_is_answered(world: World, pauses: Any) -> None:
    first, second = dispatched(world, plain(world, "one"), 2)
    for job in (first, second):
        world.set_task_state(job, "running")
    # The claim comes while the pause is being decided: it waits, and is refused.
    request = world.request(first)
    pauses(world.session, first, True)
    with Aside(world.session, apart(claims.claim, request, world)) as aside:
        assert aside.until_stuck()
        world.session.commit()
    assert aside.result().answer == "wait"
    assert "paused" in str(world.reload(first).why)
    pauses(world.session, first, False)
    world.session.commit()

    # The pause comes while a claim is being decided: it waits, so that what it is answered is true.
    def pause() -> None:
        with transaction() as session:
            pauses(session, second, True)

    answer = claims.claim(world.session, world.request(second), world.settings)
    with Aside(world.session, pause) as aside:
        assert aside.until_stuck()
        assert answer.answer == "go"
        world.session.commit()
    aside.result()
    assert world.reload(second).status == "RUNNING"
    assert world.claim(first).answer == "wait"


def test_a_reservation_does_not_outlast_a_pause(world: World) -> None:
    (job,) = dispatched(world, plain(world, "one"), 1)
    assert asks(world, job).ready
    pause_scheduler(world.session, is_paused=True)
    world.session.commit()
    assert world.claim(job).reason == "The scheduler is paused."
    assert world.execution(job).reserved is None
    pause_scheduler(world.session, is_paused=False)
    world.session.commit()
    assert world.claim(job).answer == "go"
    assert world.reload(job).why is None


def test_the_reason_is_fresh_and_gone_once_it_runs(world: World) -> None:
    world.beat(cpus=1.0)
    first, second = dispatched(world, plain(world, "one", cpus_required=1.0), 2)
    order = go(world.claim(first))
    assert world.claim(second).reason == world.reload(second).why
    assert "0 of 1 free" in str(second.why)
    change_node(world.session, node_of(world).id, {"is_paused": True, "pause_reason": "dust"})
    world.session.commit()
    assert not asks(world, second).ready
    assert world.reload(second).why == "Node worker-1 is paused: dust."
    change_node(world.session, node_of(world).id, {"is_paused": False})
    world.session.commit()
    world.complete(order)
    assert asks(world, second).ready
    assert world.claim(second).answer == "go"
    assert world.reload(second).why is None
    assert world.claim(second).answer == "go", "another try on the same host"
    assert world.reload(second).why is None
