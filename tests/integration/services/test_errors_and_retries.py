# SPDX-License-Identifier: Apache-2.0
"""Which error a failure has, and whether it is tried again (specification: Error Interface, Job Execution).

Each row of the table is a way to fail, what the execution's error is, and how often it happens before the job
is FAILED. In Airflow it is the same within one look of the reconciler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from airflow_hand import AirflowHand
from sqlalchemy import text, update
from sqlalchemy.orm import Session
from world import AGENT, World

from scale_airflow.execution.order import ExecutionOrder
from scale_airflow.services.errors import create_error
from scale_airflow.services.events import user_event
from scale_airflow.services.installation import BUILT_IN_ERRORS
from scale_airflow.services.queue import queue_job
from scale_airflow.services.reconcile import reconcile, reconcile_outcomes
from scale_airflow.services.requeue import requeue_jobs
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import ErrorModel, Job, JobExecution, Node

OTHER = {"agent": "agent-2", "host": "worker-2"}

Failure = Callable[[World, AirflowHand, Job, ExecutionOrder], str]


def exits(code: int | None) -> Failure:
    return lambda world, hand, job, order: world.fail(order, exit_code=code).decision


def names(error: str) -> Failure:
    return lambda world, hand, job, order: world.fail(order, error=error).decision


def sends(files: dict[str, list[str]]) -> Failure:
    """Results that the interface does not allow."""
    return lambda world, hand, job, order: world.complete(order, files).decision


def loses_worker(world: World, hand: AirflowHand, job: Job, order: ExecutionOrder) -> str:
    """Its worker dies; the next try begins elsewhere, and the host's agent removes what was left."""
    waits_elsewhere(world, hand, job)
    world.beat(order.execution_id)
    world.beat()
    return end_elsewhere(world, job)


def loses_node(world: World, hand: AirflowHand, job: Job, order: ExecutionOrder) -> str:
    """Its host is never heard of again; the next try begins elsewhere."""
    waits_elsewhere(world, hand, job)
    world.session.execute(update(Node).where(Node.slave_id == AGENT).values(last_offer=None))
    world.session.commit()
    decision = end_elsewhere(world, job)
    world.beat()
    return decision


def waits_elsewhere(world: World, hand: AirflowHand, job: Job) -> None:
    world.beat(**OTHER)
    hand.worker_dies(world.task(job))
    hand.scheduler_looks()
    assert world.claim(job, **OTHER).answer == "wait"


def end_elsewhere(world: World, job: Job) -> str:
    """What the next try is told."""
    answer = world.claim(job, **OTHER)
    if answer.answer == "over":
        return "failed"
    assert answer.order is not None
    assert not answer.order.continues
    # So that the table's next failure begins with a claim of its own.
    world.session.execute(
        update(JobExecution)
        .where(JobExecution.id == answer.order.execution_id)
        .values(status="QUEUED", node_id=None, started=None)
    )
    world.session.execute(update(Job).where(Job.id == job.id).values(status="QUEUED"))
    world.session.commit()
    return "retry"


@dataclass(frozen=True)
class Row:
    """:param tries: how often it fails so until the job is FAILED; 0 is for ever."""

    name: str
    failure: Failure
    error: str
    tries: int
    max_tries: int = 3
    long_running: bool = False


TABLE = [
    Row("a code that is mapped to a DATA error", exits(1), "bad-data", 1),
    Row("a code that is mapped to an ALGORITHM error", exits(2), "bad-code", 1),
    Row("a code that is mapped to a SYSTEM error", exits(3), "nfs", 3),
    Row("a code whose error is not there (any more)", exits(4), "unknown", 3),
    Row("a code that is not mapped", exits(99), "unknown", 3),
    Row("a code that is not mapped, with one try", exits(99), "unknown", 1, max_tries=1),
    Row("a negative code", exits(-9), "unknown", 3),
    Row("no code at all", exits(None), "unknown", 3),
    Row("no tries allowed is one", names("timeout"), "timeout", 1, max_tries=0),
    Row("a time-out", names("timeout"), "timeout", 3),
    Row("a disk that fails", names("filesystem-io"), "filesystem-io", 3),
    Row("a database that fails", names("database"), "database", 3),
    Row("a user's error that the worker names", names("bad-data"), "bad-data", 1),
    Row("an error that nobody knows", names("no-such-error"), "unknown", 3),
    Row("no output where one is required", sends({}), "unknown", 3),
    Row("a file too many", sends({"output": ["a", "b"]}), "unknown", 2, max_tries=2),
    Row("a worker that is lost", loses_worker, "mesos-lost", 2, max_tries=2),
    Row("a node that is lost", loses_node, "node-lost", 2, max_tries=2),
    Row("a long-running job that ends", exits(99), "unknown", 0, max_tries=1, long_running=True),
    Row("a long-running job with an error of its own", exits(1), "bad-data", 0, long_running=True),
    Row("a long-running job that is lost", loses_worker, "mesos-lost", 0, long_running=True),
]


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # However slow the machine is, the node counts as heard of.
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "600")
    monkeypatch.setenv("AIRFLOW__SCALE__MAX_NODE_ERRORS", "1000")
    made = World(session)
    made.install(tmp_path)
    for name, category in (("bad-data", "DATA"), ("bad-code", "ALGORITHM"), ("gone", "DATA")):
        create_error(session, {"name": name, "title": name, "description": name, "category": category})
    codes = {"1": "bad-data", "2": "bad-code", "3": "nfs", "4": "gone"}
    mapping = {"version": "1.0", "exit_codes": codes}
    made.job_type("short", error_mapping=mapping)
    made.job_type("long", error_mapping=mapping, is_long_running=True, timeout=0)
    # As only a hand at the database could.
    session.execute(text("DELETE FROM scale_error WHERE name = 'gone'"))
    session.commit()
    return made


def queued(world: World, row: Row) -> Job:
    document = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    name = "long" if row.long_running else "short"
    job_type = world.session.execute(
        text("SELECT id FROM scale_job_type WHERE name = :name"), {"name": name}
    ).scalar_one()
    from scale_airflow.store.models import JobType

    job = queue_job(
        world.session,
        job_type=world.session.get_one(JobType, job_type),
        data=document,
        event=user_event(world.session, "me"),
    )
    job.max_tries = row.max_tries
    world.session.commit()
    assert world.dispatch() == 1
    return job


def fails(world: World, hand: AirflowHand, row: Row, job: Job) -> str:
    """Let the next try fail as the row says, and its task end as it is told; Airflow and Scale agree."""
    hand.scheduler_looks()
    order = world.claim(job).order
    assert order is not None, row.name
    decision = row.failure(world, hand, job, order)
    execution = world.session.get_one(JobExecution, order.execution_id, populate_existing=True)
    assert (execution.status, execution.error.name) == ("FAILED", row.error), row.name
    if decision == "retry":
        hand.worker_dies(world.task(job))
    else:
        world.set_task_state(job, "failed")
    hand.time_passes()
    repaired = reconcile(world.session) + reconcile_outcomes(world.session)
    world.session.commit()
    found, task = world.reload(job), world.task(job)
    wanted = ("QUEUED", "up_for_retry") if decision == "retry" else ("FAILED", "failed")
    assert (repaired, found.status, task.state) == (0, *wanted), row.name
    return decision


def test_every_way_to_fail(world: World) -> None:
    hand = AirflowHand(world.session)
    for row in TABLE:
        job = queued(world, row)
        tries = row.tries or row.max_tries + 2
        decisions = [fails(world, hand, row, job) for _ in range(tries)]
        last = "failed" if row.tries else "retry"
        assert decisions == ["retry"] * (tries - 1) + [last], row.name
        found = world.reload(job)
        assert found.num_exes == (tries if row.tries else tries + 1), row.name
        if not row.tries:
            continue
        assert found.error.name == row.error, row.name
        requeue_jobs(world.session, JobFilter(job_ids=[job.id]))
        world.session.commit()
        assert world.dispatch() == 1
        assert world.reload(job).max_tries == tries + 1, row.name
        assert fails(world, hand, row, job) == "failed", f"{row.name}: a requeue is exactly one more try"


def test_the_built_in_errors_are_the_specifications(world: World) -> None:
    """Specification: the errors that Scale itself reports are of the category SYSTEM."""
    names = {"unknown", "database", "filesystem-io", "nfs", "node-lost", "timeout", "scheduler-lost"}
    assert names | {"mesos-lost"} <= {name for name, _, _ in BUILT_IN_ERRORS}
    rows = world.session.query(ErrorModel.category).filter(ErrorModel.name.in_(names))
    assert {row.category for row in rows} == {"SYSTEM"}
