# SPDX-License-Identifier: Apache-2.0
"""One paid run, no orphan, and the task ends right: what runs it, and the connection, killed at each step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.rescale.task_processes import (
    Outcome,
    Task,
    gated,
    job,
    kill_by_user,
    paid,
    start_trigger,
    wait_for,
)

from scale_airflow.rescale.emulator.process import EmulatorProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root") as running:
        yield running


@pytest.fixture
def emulator(server: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """The emulator without faults; jobs of other tests are told apart by their ids."""
    server.admin.clear_faults()
    server.admin.reset_counters()
    yield server
    server.admin.clear_faults()


@pytest.fixture
def known(emulator: EmulatorProcess) -> set[str]:
    return {one["id"] for one in emulator.admin.jobs()}


@pytest.fixture
def task(emulator: EmulatorProcess, tmp_path: Path) -> Task:
    return Task(emulator.base_url, emulator.api_key, tmp_path, job("echo hello > result.txt"))


def settled(emulator: EmulatorProcess, known: set[str]) -> str:
    """The id of the only job that there is, after looking that it was paid for once."""
    fresh = [one["id"] for one in emulator.admin.jobs() if one["id"] not in known]
    assert len(fresh) == 1, fresh
    assert {job_id: times for job_id, times in paid(emulator).items() if job_id in fresh} == {fresh[0]: 1}
    return fresh[0]


def through(task: Task) -> Outcome:
    """Run a task that defers itself through a triggerer to its end."""
    first = task.run()
    if first.trigger is None:
        return first
    event = start_trigger(task, first.trigger).outcome().event
    return task.run(event, first.next_kwargs)


BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
STEPS = [f"{step}.{side}" for step in ("create", "remember", "submit") for side in ("before", "after")]


@BOTH
def test_nothing_goes_wrong(emulator: EmulatorProcess, known: set[str], task: Task, deferrable: bool) -> None:
    task.arguments.update(deferrable=deferrable, download_to=str(task.folder / "results"))
    ended = through(task)
    assert not ended.error, ended
    job_id = settled(emulator, known)
    assert ended.result["job_id"] == job_id
    assert ended.result["job_url"] == f"{emulator.base_url}/jobs/{job_id}/"
    assert {file["path"] for file in ended.result["files"]} == {"result.txt", "process_output.log"}
    assert (task.folder / "results" / "result.txt").read_text() == "hello\n"
    assert task.memory is not None
    assert task.memory["finished"] == 1
    assert emulator.api_key not in task.log + (task.folder / "xcoms").read_text()


@pytest.mark.parametrize("step", STEPS)
def test_the_worker_is_killed(emulator: EmulatorProcess, known: set[str], task: Task, step: str) -> None:
    # To submit is the worker's part in both ways.
    task.arguments.update(deferrable=step.startswith("remember"))
    assert Task(**{**vars(task), "kill_at": step}).run().killed
    ended = through(task.next_try())
    assert not ended.error, ended
    assert ended.result["job_id"] == settled(emulator, known)


@pytest.mark.parametrize("path", ["/jobs/$", "/submit/$"])
@pytest.mark.parametrize("kind", ["lost", "cut", "status"])
def test_the_connection_breaks(
    emulator: EmulatorProcess, known: set[str], task: Task, path: str, kind: str
) -> None:
    emulator.admin.add_fault(kind, method="POST", path=path)
    ended = task.run()
    assert not ended.error, ended
    assert ended.result["job_id"] == settled(emulator, known)


def test_the_answer_to_submit_is_lost_and_the_worker_with_it(
    emulator: EmulatorProcess, known: set[str], task: Task
) -> None:
    emulator.admin.add_fault("hang", method="POST", path="/submit/$", effect=True)
    worker = task.start()
    wait_for(lambda: emulator.admin.counters()["submits"], what="for the submit")
    worker.kill()
    ended = task.next_try().run()
    assert ended.result["job_id"] == settled(emulator, known)


def test_the_worker_is_killed_while_it_waits(emulator: EmulatorProcess, known: set[str], task: Task) -> None:
    with gated(task.folder) as (command, let):
        task.arguments.update(command=command)
        assert Task(**{**vars(task), "kill_at": "follow.after"}).run().killed
        worker = task.next_try().start()
        wait_for(lambda: "goes on" in task.log, what="for the next try")
        let()
        ended = worker.outcome()
    assert ended.result["job_id"] == settled(emulator, known)


@BOTH
def test_rescale_itself_is_away_for_a_while(
    emulator: EmulatorProcess, known: set[str], task: Task, deferrable: bool
) -> None:
    with gated(task.folder) as (command, let):
        task.arguments.update(command=command, deferrable=deferrable)
        first = Outcome()
        watcher = task.start()
        if deferrable:
            first = watcher.outcome()
            assert first.trigger is not None
            watcher = start_trigger(task, first.trigger)
        wait_for(lambda: "Executing" in task.log, what="for the job to run")
        emulator.kill()
        let()
        emulator.restart()
        ended = watcher.outcome()
        if deferrable:
            ended = task.run(ended.event, first.next_kwargs)
    assert not ended.error, ended
    assert ended.result["job_id"] == settled(emulator, known)


@BOTH
def test_the_worker_is_killed_while_it_downloads(
    emulator: EmulatorProcess, known: set[str], task: Task, deferrable: bool
) -> None:
    task.arguments.update(
        deferrable=deferrable,
        command="head -c 3000000 /dev/zero > big.bin",
        download_to=str(task.folder / "results"),
        output_filters=["*.bin"],
    )
    emulator.admin.add_fault("stall", method="GET", path="/contents/", after_bytes=100_000, times=None)
    if deferrable:
        first = task.run()
        assert first.trigger is not None
        event = start_trigger(task, first.trigger).outcome().event
        worker = task.start(event, first.next_kwargs)
    else:
        worker = task.start()
    wait_for(lambda: sum(emulator.admin.counters()["bytes_sent"].values()) >= 100_000, what="for bytes")
    worker.kill()
    emulator.admin.clear_faults()
    assert not (task.folder / "results" / "big.bin").exists()
    ended = through(task.next_try())
    assert ended.result["job_id"] == settled(emulator, known)
    assert (task.folder / "results" / "big.bin").read_bytes() == bytes(3_000_000)


def test_a_finished_task_whose_end_was_not_heard_is_not_done_again(
    emulator: EmulatorProcess, known: set[str], task: Task
) -> None:
    first = task.run()
    emulator.admin.reset_counters()
    again = task.next_try().run()
    assert again.result == first.result
    assert emulator.admin.counters()["requests"] == 0
    settled(emulator, known)


def test_a_cleared_task_that_had_succeeded_runs_anew(
    emulator: EmulatorProcess, known: set[str], task: Task
) -> None:
    first = task.run()
    # Airflow's clear gives as many further tries as there are retries.
    cleared = task.next_try(max_tries=1 + task.retries).run()
    assert cleared.result["job_id"] != first.result["job_id"]
    fresh = {one["id"] for one in emulator.admin.jobs()} - known
    assert fresh == {first.result["job_id"], cleared.result["job_id"]}


class TestTriggerer:
    def deferred(self, task: Task) -> Outcome:
        task.arguments.update(deferrable=True)
        first = task.run()
        assert first.trigger is not None, first
        return first

    def test_it_is_killed_and_another_goes_on(
        self, emulator: EmulatorProcess, known: set[str], task: Task
    ) -> None:
        with gated(task.folder) as (command, let):
            task.arguments.update(command=command)
            first = self.deferred(task)
            assert first.trigger is not None
            triggerer = start_trigger(task, first.trigger)
            wait_for(lambda: "Executing" in task.log, what="for the job to run")
            triggerer.kill()
            let()
            event = start_trigger(task, first.trigger).outcome().event
        ended = task.run(event, first.next_kwargs)
        assert ended.result["job_id"] == settled(emulator, known)

    def test_it_is_stopped_in_order_and_the_job_runs_on(
        self, emulator: EmulatorProcess, known: set[str], task: Task
    ) -> None:
        with gated(task.folder) as (command, let):
            task.arguments.update(command=command)
            first = self.deferred(task)
            assert first.trigger is not None
            triggerer = start_trigger(task, first.trigger)
            wait_for(lambda: "Executing" in task.log, what="for the job to run")
            # asyncio.run cancels its tasks: what a triggerer that shuts down does.
            triggerer.kill(signal.SIGINT)
            triggerer.process.join(20)
            job_id = settled(emulator, known)
            statuses = [one["status"] for one in emulator.admin.job(job_id)["statuses"]]
            assert "Stopping" not in statuses
            let()
            event = start_trigger(task, first.trigger).outcome().event
        assert event is not None
        assert event["outcome"] == "succeeded"

    def test_a_user_clears_the_task(self, emulator: EmulatorProcess, known: set[str], task: Task) -> None:
        with gated(task.folder) as (command, _):
            task.arguments.update(command=command)
            first = self.deferred(task)
            assert first.trigger is not None
            kill_by_user(task, first.trigger)
            job_id = settled(emulator, known)
            wait_for(
                lambda: "Stopping" in [one["status"] for one in emulator.admin.job(job_id)["statuses"]],
                what="for the stop",
            )
            # Twice is no error.
            kill_by_user(task, first.trigger)
        task.arguments.update(command="true", deferrable=False)
        ended = task.next_try(max_tries=1 + task.retries).run()
        assert not ended.error, ended
        assert ended.result["job_id"] != job_id

    def test_the_emulator_is_away_for_a_while(
        self, emulator: EmulatorProcess, known: set[str], task: Task
    ) -> None:
        with gated(task.folder) as (command, let):
            task.arguments.update(command=command)
            first = self.deferred(task)
            assert first.trigger is not None
            triggerer = start_trigger(task, first.trigger)
            wait_for(lambda: "Executing" in task.log, what="for the job to run")
            emulator.admin.add_fault("status", method="GET", path="statuses", status=502, times=1)
            emulator.admin.add_fault("cut", method="GET", path="statuses", times=1)
            wait_for(lambda: not any(rule["fired"] < 1 for rule in emulator.admin.faults()))
            let()
            event: Any = triggerer.outcome().event
        assert event["outcome"] == "succeeded"
        settled(emulator, known)


class TestKill:
    def test_a_killed_worker_stops_its_job(
        self, emulator: EmulatorProcess, known: set[str], task: Task
    ) -> None:
        with gated(task.folder) as (command, _):
            task.arguments.update(command=command)
            worker = task.start()
            wait_for(lambda: "Executing" in task.log, what="for the job to run")
            worker.kill(signal.SIGTERM)
            ended = worker.outcome()
        assert ended.error_kind == "TaskKilledError"
        job_id = settled(emulator, known)
        assert "Stopping" in [one["status"] for one in emulator.admin.job(job_id)["statuses"]]

    def test_unless_it_shall_not(self, emulator: EmulatorProcess, known: set[str], task: Task) -> None:
        with gated(task.folder) as (command, _):
            task.arguments.update(command=command, cancel_on_kill=False)
            worker = task.start()
            wait_for(lambda: "Executing" in task.log, what="for the job to run")
            worker.kill(signal.SIGTERM)
            assert worker.outcome().error_kind == "TaskKilledError"
            job_id = settled(emulator, known)
            assert "Stopping" not in [one["status"] for one in emulator.admin.job(job_id)["statuses"]]

    def test_a_kill_while_the_submit_is_under_way_leaves_nothing_running(
        self, emulator: EmulatorProcess, known: set[str], task: Task
    ) -> None:
        task.arguments.update(command="sleep 60")
        emulator.admin.add_fault("delay", method="POST", path="/submit/$", seconds=1.5)
        worker = task.start()
        wait_for(
            lambda: emulator.admin.requests("/submit/$"),
            what="for the submit",
        )
        worker.kill(signal.SIGTERM)
        assert worker.outcome().error_kind == "TaskKilledError"
        fresh = [one for one in emulator.admin.jobs() if one["id"] not in known]
        assert len(fresh) == 1
        wait_for(
            lambda: (
                "Stopped" in [one["status"] for one in emulator.admin.job(fresh[0]["id"])["cluster_statuses"]]
            ),
            what="for the stop",
        )
        # The next try does not take it for one that goes on.
        task.arguments.update(command="true")
        ended = task.next_try().run()
        assert not ended.error, ended
        assert set(paid(emulator)) - known == {ended.result["job_id"]}
