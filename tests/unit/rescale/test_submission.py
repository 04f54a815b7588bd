# SPDX-License-Identifier: Apache-2.0
"""One paid run: the submission against a model of the server, with crashes and lost answers at every step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scale_airflow.errors import (
    RescaleNotFound,
    RescaleRefused,
    RescaleUncertain,
    RescaleUnreachable,
)
from scale_airflow.rescale.submission import Marker, Outcome, Patience, failed, settle
from scale_airflow.rescale.submission_steps import Found, Memory, drive, drive_async
from scale_airflow.rescale.verdict import Succeeded, Waiting

MARKER = Marker.of("dag", "run", "task", -1, {"command": "true"})
PATIENCE = Patience(grace=15, settling=10, stopping=60, away=100)
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Killed(BaseException):
    """The process that ran the try is gone."""


class Fault(Enum):
    FINE = "fine"
    DIES_BEFORE = "dies before the request"
    DIES_AFTER = "dies after the effect"
    LOST_BEFORE = "the request is lost"
    LOST_AFTER = "the answer is lost"
    AWAY = "the server can't be reached"


@dataclass(frozen=True)
class Entry:
    status: str
    date: datetime | None
    reason: str = ""


@dataclass
class Job:
    id: str
    name: str
    submitted_at: float | None = None
    history: list[Entry] = field(default_factory=list)
    deleted: bool = False


@dataclass
class World:
    """The server and the store; ``lag`` is how long a submit takes to show in the statuses."""

    lag: float = 0.0
    now: float = 0.0
    jobs: dict[str, Job] = field(default_factory=dict)
    submits: list[str] = field(default_factory=list)
    double_submits: int = 0
    memory: Memory | None = None
    prepared: int = 0

    def job(self, job_id: str) -> Job:
        job = self.jobs.get(job_id)
        if job is None or job.deleted:
            raise RescaleNotFound("no such job", status=404)
        return job

    def create(self, name: str) -> str:
        job = Job(f"J{len(self.jobs) + 1}", name)
        self.jobs[job.id] = job
        return job.id

    def submit(self, job_id: str) -> None:
        job = self.job(job_id)
        if job.submitted_at is not None:
            self.double_submits += 1
            return
        job.submitted_at = self.now
        self.submits.append(job_id)
        self.reach(job_id, "Pending")

    def reach(self, job_id: str, status: str, reason: str = "") -> None:
        job = self.jobs[job_id]
        job.history.insert(0, Entry(status, NOON + timedelta(seconds=self.now + len(job.history)), reason))

    def statuses(self, job_id: str) -> list[Entry]:
        job = self.job(job_id)
        if job.submitted_at is None or self.now - job.submitted_at < self.lag:
            return []
        return job.history

    @property
    def drafts(self) -> list[str]:
        return [job.id for job in self.jobs.values() if job.submitted_at is None and not job.deleted]


class Try:
    """One try's port; ``faults`` are used up one a step that goes over the wire or into the store."""

    def __init__(self, world: World, faults: Sequence[Fault] = ()) -> None:
        self.world = world
        self.faults = list(faults)
        self.said: list[str] = []
        self.steps = 0

    def do(self, effect: Any, *, repeatable: bool) -> Any:
        self.steps += 1
        fault = self.faults.pop(0) if self.faults else Fault.FINE
        if fault is Fault.DIES_BEFORE:
            raise Killed
        if fault is Fault.AWAY or (repeatable and fault in (Fault.LOST_BEFORE, Fault.LOST_AFTER)):
            # What may be repeated has been, by the client, and still there was no answer.
            raise RescaleUnreachable("away")
        if fault is Fault.LOST_BEFORE:
            raise RescaleUncertain("no answer")
        result = effect()
        if fault is Fault.DIES_AFTER:
            raise Killed
        if fault is Fault.LOST_AFTER:
            raise RescaleUncertain("no answer")
        return result

    def recall(self) -> Memory | None:
        return self.world.memory

    def remember(self, memory: Memory) -> None:
        def store() -> None:
            self.world.memory = memory

        self.steps += 1
        fault = self.faults.pop(0) if self.faults else Fault.FINE
        if fault is not Fault.FINE and fault is not Fault.DIES_AFTER:
            raise Killed
        store()
        if fault is Fault.DIES_AFTER:
            raise Killed

    def read_statuses(self, job_id: str) -> Sequence[Entry]:
        return self.do(lambda: self.world.statuses(job_id), repeatable=True)

    def read_clusters(self, job_id: str) -> Sequence[Entry]:
        return []

    def find_marked(self, key: str) -> Sequence[Found]:
        jobs = [Found(job.id, job.name) for job in self.world.jobs.values() if not job.deleted]
        return self.do(lambda: jobs[::-1], repeatable=True)

    def prepare(self) -> dict[str, Any]:
        self.world.prepared += 1
        return {"name": MARKER.name("A job")}

    def create(self, body: dict[str, Any]) -> str:
        return self.do(lambda: self.world.create(body["name"]), repeatable=False)

    def equip(self, job_id: str) -> None:
        return None

    def submit(self, job_id: str) -> None:
        return self.do(lambda: self.world.submit(job_id), repeatable=False)

    def discard(self, job_id: str) -> None:
        self.world.jobs[job_id].deleted = True

    def pause(self, seconds: float) -> None:
        self.world.now += seconds

    def say(self, text: str) -> None:
        self.said.append(text)


def one_try(world: World, *faults: Fault, marker: Marker = MARKER, again: Any = None) -> Outcome | None:
    """Run a try; None when it was killed or failed."""
    port = Try(world, faults)
    try:
        return drive(settle(marker, again=again or (lambda memory: False), patience=PATIENCE), port)
    except (Killed, RescaleUncertain, RescaleUnreachable):
        return None


FAULTS = st.lists(st.sampled_from(list(Fault)), max_size=14)


@settings(max_examples=400, deadline=None)
@given(st.lists(FAULTS, max_size=5), st.sampled_from([0.0, 1.0, 10.0, 14.9]))
@example([[Fault.FINE, Fault.DIES_AFTER]], 0.0)
@example([[Fault.FINE] * 4 + [Fault.LOST_AFTER]], 14.9)
def test_there_is_one_paid_run_whatever_happens(tries, lag):
    world = World(lag=lag)
    for faults in tries:
        one_try(world, *faults)
        assert len(world.submits) <= 1
    outcome = one_try(world)
    assert outcome is not None
    assert world.submits == [outcome.job_id]
    assert world.double_submits == 0
    assert world.memory == Memory(outcome.job_id)


def wire_steps() -> int:
    port = Try(World())
    drive(settle(MARKER, patience=PATIENCE), port)
    return port.steps


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.FINE])
@pytest.mark.parametrize("step", range(wire_steps()))
@pytest.mark.parametrize("lag", [0.0, 14.9])
def test_one_fault_at_each_step_leaves_one_run_and_no_draft(step, fault, lag):
    world = World(lag=lag)
    outcome = one_try(world, *[Fault.FINE] * step, fault) or one_try(world)
    assert outcome is not None
    assert world.submits == [outcome.job_id]
    assert world.double_submits == 0
    assert world.drafts == []


def test_a_lost_answer_to_create_is_cleared_up_in_the_same_try():
    world = World()
    outcome = one_try(world, Fault.FINE, Fault.LOST_AFTER)
    assert outcome == Outcome("J1", created=True, verdict=Waiting("Pending"))
    assert list(world.jobs) == ["J1"]


def test_a_draft_is_used_without_uploading_again():
    world = World()
    assert one_try(world, Fault.FINE, Fault.DIES_AFTER) is None
    assert world.drafts == ["J1"]
    outcome = one_try(world)
    assert outcome is not None
    assert (outcome.job_id, outcome.created, world.prepared) == ("J1", False, 1)


def test_a_draft_of_an_older_version_of_the_task_is_deleted():
    world = World()
    old = Marker.of("dag", "run", "task", -1, {"command": "false"})
    assert old.key == MARKER.key
    world.create(old.name("A job"))
    other = world.create(Marker.of("dag", "run", "other", -1, {"command": "true"}).name("A job"))
    outcome = one_try(world)
    assert outcome is not None
    assert world.submits == [outcome.job_id] == ["J3"]
    assert world.drafts == [other]


class TestLaterTries:
    def settled(self) -> World:
        world = World()
        assert one_try(world) is not None
        return world

    def test_a_running_job_is_taken_up(self):
        world = self.settled()
        world.reach("J1", "Executing")
        outcome = one_try(world)
        assert outcome == Outcome("J1", created=False, verdict=Waiting("Executing"))

    def test_a_job_that_succeeded_is_not_run_again(self):
        world = self.settled()
        world.reach("J1", "Completed", "Completed successfully")
        outcome = one_try(world)
        assert outcome == Outcome("J1", created=False, verdict=Succeeded())

    def test_a_finished_task_that_is_cleared_runs_again(self):
        world = self.settled()
        world.reach("J1", "Completed", "Completed successfully")
        outcome = one_try(world, again=lambda memory: True)
        assert outcome is not None
        assert world.submits == ["J1", "J2"]
        assert world.memory == Memory("J2")

    def test_a_failed_job_is_replaced_once(self):
        world = self.settled()
        world.reach("J1", "Completed", "A run failed")
        for _ in range(2):
            outcome = one_try(world)
            assert outcome is not None
            assert outcome.job_id == "J2"
        assert world.submits == ["J1", "J2"]

    def test_a_replacement_that_crashes_at_any_step_stays_one(self):
        for step in range(12):
            for fault in (Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.LOST_AFTER):
                world = self.settled()
                world.reach("J1", "Completed", "A run failed")
                one_try(world, *[Fault.FINE] * step, fault)
                outcome = one_try(world)
                assert outcome is not None
                assert len(world.submits) == 2
                assert world.submits[-1] == outcome.job_id
                assert world.drafts == []

    def test_what_was_remembered_as_failed_needs_no_look(self):
        world = self.settled()
        assert world.memory is not None
        world.memory = failed(world.memory, "the cluster was stopped")
        assert one_try(world) is not None
        assert world.submits == ["J1", "J2"]

    def test_a_job_that_is_being_stopped_is_waited_for_and_replaced(self):
        world = self.settled()
        world.reach("J1", "Stopping", "by hand")
        begun = world.now
        assert one_try(world) is not None
        assert world.submits == ["J1", "J2"]
        assert world.now - begun >= PATIENCE.stopping

    def test_a_stop_that_shows_only_after_a_moment_is_seen(self):
        world = self.settled()
        world.reach("J1", "Executing")
        port = Try(world)
        looks = 0

        def pause(seconds: float) -> None:
            nonlocal looks
            world.now += seconds
            looks += 1
            world.reach("J1", "Stopping" if looks == 1 else "Completed", "by the kill of the last try")

        port.pause = pause  # type: ignore[method-assign]
        outcome = drive(settle(MARKER, patience=PATIENCE), port)
        assert outcome.job_id == "J2"

    def test_a_deleted_job_is_replaced(self):
        world = self.settled()
        world.jobs["J1"].deleted = True
        assert one_try(world) is not None
        assert world.submits == ["J1", "J2"]

    def test_a_running_job_is_found_when_the_memory_is_lost(self):
        world = self.settled()
        world.memory = None
        outcome = one_try(world)
        assert outcome is not None
        assert (outcome.job_id, world.memory) == ("J1", Memory("J1"))
        assert world.submits == ["J1"]

    def test_an_ended_job_is_not_found_when_the_memory_was_wiped(self):
        world = self.settled()
        world.reach("J1", "Completed", "Completed successfully")
        world.memory = None
        assert one_try(world) is not None
        assert world.submits == ["J1", "J2"]


def test_a_draft_that_is_refused_is_deleted_and_the_refusal_told():
    world = World()
    port = Try(world)

    def submit(job_id: str) -> None:
        raise RescaleRefused("input file abc was deleted", status=400)

    port.submit = submit  # type: ignore[method-assign]
    with pytest.raises(RescaleRefused, match="abc"):
        drive(settle(MARKER, patience=PATIENCE), port)
    assert world.drafts == []
    assert one_try(world) is not None


def test_a_server_that_stays_away_after_submit_is_given_up_with_the_jobs_id():
    world = World()
    port = Try(world, [Fault.FINE] * 4 + [Fault.LOST_AFTER] + [Fault.AWAY] * 500)
    with pytest.raises(RescaleUncertain, match="J1") as caught:
        drive(settle(MARKER, patience=PATIENCE), port)
    assert caught.value.job_id == "J1"
    assert world.now >= PATIENCE.away


def test_asynchronous_ports_take_the_same_steps():
    world = World()
    inner = Try(world)

    class AsyncTry:
        def __getattr__(self, name: str) -> Any:
            method = getattr(inner, name)

            async def call(*arguments: Any) -> Any:
                await asyncio.sleep(0)
                return method(*arguments)

            return call

    outcome = asyncio.run(drive_async(settle(MARKER, patience=PATIENCE), AsyncTry()))
    assert world.submits == [outcome.job_id]


class TestMarker:
    def test_names(self):
        name = MARKER.name("Airfoil")
        assert name.startswith("Airfoil [airflow-")
        assert MARKER.payload_of(name) == MARKER.payload
        assert MARKER.payload_of(f"Copy of {name}") == MARKER.payload
        assert MARKER.payload_of(f"{name} (copy)") is None
        assert MARKER.payload_of("Airfoil") is None
        assert MARKER.payload_of(MARKER.name("")) == MARKER.payload
        assert len(MARKER.name("x" * 500)) == 200

    def test_no_two_task_instances_share_one(self):
        keys = {
            Marker.of(*identity, {}).key
            for identity in [
                ("a", "b", "c", -1),
                ("a", "b", "c", 0),
                ("a", "bc", "", -1),
                ("ab", "c", "", -1),
                ("a", "b", "c-1", 1),
            ]
        }
        assert len(keys) == 5

    def test_the_payload_does_not_depend_on_the_order_of_keys(self):
        one = Marker.of("d", "r", "t", -1, {"a": 1, "b": 2})
        assert one == Marker.of("d", "r", "t", -1, {"b": 2, "a": 1})


def test_memory_survives_storing():
    memory = Memory("J1", failed="so", finished=3, result={"files": []})
    assert Memory.from_document(memory.to_document()) == memory
    assert Memory.from_document(None) is None
    assert Memory.from_document("J1") is None
    assert Memory.from_document({"job_id": 3}) is None
