# SPDX-License-Identifier: Apache-2.0
"""Job types that run on Rescale: what their jobs need here, who goes on with them, who ends them there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from work import lone_job, queued, started
from world import World

from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration
from scale_airflow.errors import InvalidRequest, RescaleUnreachable
from scale_airflow.execution.order import ExecutionOrder
from scale_airflow.services import remote_jobs
from scale_airflow.services.job_types import edit_job_type
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.remote_checks import check_remote
from scale_airflow.services.remote_jobs import Leftover, State
from scale_airflow.services.room import needs_of
from scale_airflow.store.models import Job, JobExecution, RemoteJob, utcnow

REMOTE = {"remote": {"type": "rescale", "connection": "rescale_eu"}}
ELSEWHERE = {"agent": "agent-2", "host": "worker-2"}


def remote_job(world: World, name: str = "far", **fields: Any) -> Job:
    return lone_job(world, name, **{"configuration": REMOTE, "docker_image": None, **fields})


def marker(order: ExecutionOrder) -> str:
    assert order.remote is not None
    return order.remote.marker


class Looks:
    """Takes the place of Rescale: answers as told, and keeps what it was asked."""

    def __init__(self, *answers: State | Exception):
        self.answers = list(answers)
        self.asked: list[Leftover] = []

    def __call__(self, leftover: Leftover) -> State:
        self.asked.append(leftover)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def ended(world: World, job: Job, ago: timedelta) -> None:
    """Let the job's execution have ended so long ago, and what is due be due now."""
    world.session.execute(
        update(JobExecution).where(JobExecution.job_id == job.id).values(ended=utcnow() - ago)
    )
    world.session.execute(update(RemoteJob).values(not_before=utcnow()))
    world.session.commit()


def kept(world: World) -> list[RemoteJob]:
    world.session.expire_all()
    return list(world.session.scalars(select(RemoteJob)))


def look(world: World, looks: Looks) -> int:
    world.session.commit()
    return remote_jobs.end_leftovers(looks)


def test_it_needs_no_image_and_only_disk(world: World) -> None:
    world.beat(cpus=1.0)
    jobs = [remote_job(world, f"far {number}", cpus_required=500.0, mem_required=1e6) for number in range(3)]
    for job in jobs:
        order = started(world, job)
        assert (order.backend, order.image) == ("rescale", None)
        assert order.cpus == 500.0
        assert JobTypeConfiguration.parse(order.configuration).remote is not None
        execution = world.execution(job)
        assert (execution.cpus_scheduled, execution.mem_scheduled, execution.gpus_scheduled) == (0, 0, 0)
        assert execution.disk_total_scheduled == needs_of(job)[2] > 0


def test_its_disk_is_counted(world: World) -> None:
    job = remote_job(world, disk_out_const_required=200_000.0)
    answer = world.claim(job)
    assert answer.order is None
    assert answer.reason is not None
    assert "MiB of disk" in answer.reason


def test_one_that_nothing_would_end_is_not_queued(world: World) -> None:
    job_type = world.job_type("endless", configuration=REMOTE, timeout=0)
    with pytest.raises(InvalidRequest, match=r"nothing ends its jobs there: give it a timeout, or a "):
        queued(world, job_type)
    remote = {"remote": {"type": "rescale", "hardware": {"walltime": 2}}}
    queued(world, world.job_type("not endless", configuration=remote, timeout=0))


def test_a_new_try_goes_on_with_it_from_any_host(world: World) -> None:
    world.beat(**ELSEWHERE)
    job = remote_job(world)
    first = started(world, job)
    world.set_task_state(job, "up_for_retry")
    second = started(world, job, **ELSEWHERE)
    assert second.continues
    assert (second.execution_id, second.remote) == (first.execution_id, first.remote)
    assert second.token != first.token
    assert world.execution(job).node.hostname == "worker-2"
    (row,) = kept(world)
    assert (row.connection, row.marker) == ("rescale_eu", marker(first))


def test_each_execution_has_a_marker_of_its_own(world: World) -> None:
    orders = [started(world, remote_job(world, name)) for name in ("one", "two")]
    assert len({marker(order) for order in orders}) == 2
    assert started(world, lone_job(world, "near")).remote is None


def test_a_job_type_that_moves_meanwhile_ends_the_job(world: World) -> None:
    job = remote_job(world)
    order = started(world, job)
    moved = {"remote": {"type": "rescale", "connection": "another"}}
    edit_job_type(world.session, job.job_type_id, {"configuration": moved})
    world.session.commit()
    world.set_task_state(job, "up_for_retry")
    answer = world.claim(job)
    assert (answer.answer, answer.outcome) == ("over", "failed")
    assert "was edited while this job ran on another system (connection rescale_eu)" in str(answer.reason)
    assert world.reload(job).status == "FAILED"
    ended(world, job, timedelta(minutes=1))
    looks = Looks("stopping")
    assert look(world, looks) == 1
    assert looks.asked[0].marker == marker(order)


@pytest.mark.parametrize("how", ["completed", "failed"])
def test_what_ended_by_itself_is_forgotten_without_a_look(world: World, how: str) -> None:
    job = remote_job(world)
    order = started(world, job)
    assert look(world, Looks()) == 0
    assert len(kept(world)) == 1
    if how == "completed":
        world.complete(order)
    else:
        world.fail(order, exit_code=3)
    assert look(world, Looks()) == 0
    assert kept(world) == []


def test_what_a_canceled_job_left_is_stopped_until_nothing_runs(world: World) -> None:
    job = remote_job(world)
    order = started(world, job)
    cancel_job(world.session, job.id)
    world.session.commit()
    looks = Looks(RescaleUnreachable("away"), "stopping", "none", "none")
    assert look(world, looks) == 0
    assert looks.asked == []  # its worker has a moment to do it

    ended(world, job, timedelta(minutes=1))
    assert look(world, looks) == 0
    (row,) = kept(world)
    assert (row.tries, row.message) == (1, "RescaleUnreachable: away")
    assert look(world, looks) == 0  # not at once again
    ended(world, job, timedelta(minutes=1))
    assert look(world, looks) == 1
    assert kept(world)[0].tries == 2
    ended(world, job, timedelta(minutes=1))
    assert look(world, looks) == 1
    (row,) = kept(world)
    # A worker that was given up may go on for a while: one more look, when that is certainly over.
    assert (row.tries, row.message) == (0, None)
    assert row.not_before > utcnow() + timedelta(minutes=8)
    ended(world, job, timedelta(minutes=11))
    assert look(world, looks) == 1
    assert kept(world) == []
    (asked,) = set(looks.asked)
    assert (asked.connection, asked.marker, asked.force) == ("rescale_eu", marker(order), False)
    assert asked.execution_id == order.execution_id


def test_what_does_not_stop_is_forced_to(world: World) -> None:
    job = remote_job(world)
    started(world, job)
    cancel_job(world.session, job.id)
    world.session.execute(update(RemoteJob).values(tries=10))
    ended(world, job, timedelta(minutes=1))
    looks = Looks("stopping")
    look(world, looks)
    assert looks.asked[0].force


def test_a_look_that_fails_keeps_no_other_from_its_own(world: World) -> None:
    for name in ("one", "two"):
        job = remote_job(world, name)
        started(world, job)
        cancel_job(world.session, job.id)
        ended(world, job, timedelta(minutes=1))
    looks = Looks(RuntimeError("broken"), "none")
    assert look(world, looks) == 1
    assert len(looks.asked) == 2


def test_what_can_not_be_stopped_is_among_the_findings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_remote(world.session, has_secrets_backend=False) == []
    job = remote_job(world)
    (finding,) = check_remote(world.session, has_secrets_backend=False)
    assert "'rescale_eu', which is not there" in finding.problem
    assert check_remote(world.session, has_secrets_backend=True) == []
    monkeypatch.setenv("AIRFLOW_CONN_RESCALE_EU", "{}")
    assert check_remote(world.session, has_secrets_backend=False) == []

    order = started(world, job)
    cancel_job(world.session, job.id)
    ended(world, job, timedelta(minutes=1))
    look(world, Looks(RescaleUnreachable("it is away")))
    (finding,) = check_remote(world.session, has_secrets_backend=False)
    assert f"execution {order.execution_id} is one) may still run" in finding.problem
    assert finding.problem.endswith("RescaleUnreachable: it is away")
