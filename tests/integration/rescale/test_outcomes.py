# SPDX-License-Identifier: Apache-2.0
"""Failure is seen, whatever its way: the task fails with the reason and the end of the log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.rescale.task_processes import Outcome, Task, gated, job, paid, start_trigger, wait_for

from scale_airflow.rescale.emulator.process import EmulatorProcess

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root") as running:
        yield running


@pytest.fixture
def task(emulator: EmulatorProcess, tmp_path: Path) -> Task:
    return Task(emulator.base_url, emulator.api_key, tmp_path, job("echo hello > result.txt"))


def through(task: Task) -> Outcome:
    """Run a task, through a triggerer if it defers itself, to its end."""
    first = task.run()
    if first.trigger is None:
        return first
    return task.run(start_trigger(task, first.trigger).outcome().event, first.next_kwargs)


@BOTH
def test_a_command_that_fails(task: Task, deferrable: bool) -> None:
    task.arguments.update(command="echo first; sleep 0.3; echo a clue; exit 3", deferrable=deferrable)
    ended = through(task)
    # The task's log has the whole of the job's, the lines of its last moment too, each once.
    assert [task.log.count(word) for word in ("first", "a clue")] == [1, 1]
    assert ended.error_kind == "RescaleJobFailed"
    assert "Rescale says: A run failed" in ended.error
    assert re.search(r"The end of process_output.log:\n(.*\n)*.*a clue", ended.error)
    assert "/jobs/" in ended.error
    assert task.memory is not None
    assert "A run failed" in task.memory["failed"]
    # The next try makes a new job.
    task.arguments.update(command="true")
    again = through(task.next_try())
    assert not again.error, again
    assert again.result["job_id"] != task.memory["job_id"] or task.memory["finished"] == 2


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("allocation-failure", "Could not allocate"),
        ("preempted:4", "Exceeded max number of restarts"),
        ("cluster-error", ""),
    ],
)
def test_the_cluster_is_the_trouble(
    emulator: EmulatorProcess, task: Task, scenario: str, reason: str
) -> None:
    emulator.admin.next_scenario(scenario)
    task.arguments.update(command="sleep 0.2")
    ended = through(task)
    assert ended.error_kind == "RescaleJobFailed"
    assert reason in ended.error


def test_a_preempted_job_that_ends_well(emulator: EmulatorProcess, task: Task) -> None:
    emulator.admin.next_scenario("preempted:1")
    task.arguments.update(command="sleep 0.2; echo hello > result.txt")
    ended = through(task)
    assert not ended.error, ended


@pytest.mark.parametrize("scenario", ["waiting-for-queue:100000", "waiting-for-cluster:100000"])
def test_waiting_is_no_failure(emulator: EmulatorProcess, task: Task, scenario: str) -> None:
    emulator.admin.next_scenario(scenario)
    worker = task.start()
    wait_for(lambda: "Waiting for" in task.log, what="for the job to wait")
    emulator.admin.advance(200_000)
    assert not worker.outcome().error


@BOTH
def test_stuck_before_validation(emulator: EmulatorProcess, task: Task, deferrable: bool) -> None:
    emulator.admin.next_scenario("stuck")
    task.arguments.update(deferrable=deferrable)
    task = Task(**{**vars(task), "cluster_grace": 0.5})
    ended = through(task)
    assert ended.error_kind == "RescaleJobFailed"
    assert "its cluster is Stopped" in ended.error


@BOTH
def test_someone_else_stops_it(emulator: EmulatorProcess, task: Task, deferrable: bool) -> None:
    with gated(task.folder) as (command, _):
        task.arguments.update(command=command, deferrable=deferrable)
        worker = task.start()
        if deferrable:
            first = worker.outcome()
            assert first.trigger is not None
            worker = start_trigger(task, first.trigger)
        wait_for(lambda: "Executing" in task.log, what="for the job to run")
        # Live lines come while the job runs.
        wait_for(lambda: "begun" in task.log, what="for its first line")
        assert task.memory is not None
        _stop(emulator, task.memory["job_id"])
        ended = worker.outcome()
        if deferrable:
            ended = task.run(ended.event, first.next_kwargs)
    assert ended.error_kind == "RescaleJobFailed"
    assert "stopped before it had finished" in ended.error


def _stop(emulator: EmulatorProcess, job_id: str) -> None:
    from scale_airflow.rescale.client import RescaleClient
    from scale_airflow.rescale.credentials import Credentials
    from scale_airflow.rescale.endpoints import stop_job

    with RescaleClient(Credentials.of(emulator.base_url, emulator.api_key)) as client:
        client.send(stop_job(job_id))


@BOTH
def test_timeout_stops_the_job(emulator: EmulatorProcess, task: Task, deferrable: bool) -> None:
    with gated(task.folder) as (command, _):
        task.arguments.update(command=command, deferrable=deferrable, timeout=1.0)
        ended = through(task)
        assert ended.error_kind == "RescaleJobFailed"
        assert "was stopped after" in ended.error
        assert task.memory is not None
        job_id = task.memory["job_id"]
        wait_for(lambda: "Completed" in [one["status"] for one in emulator.admin.job(job_id)["statuses"]])


def test_timeout_leaves_the_job_to_the_next_try_where_wanted(emulator: EmulatorProcess, task: Task) -> None:
    with gated(task.folder) as (command, let):
        task.arguments.update(command=command, timeout=1.0, stop_on_timeout=False)
        ended = through(task)
        assert "the next try takes it up" in ended.error
        assert task.memory is not None
        job_id = task.memory["job_id"]
        let()
    task.arguments.update(timeout=30)
    again = through(task.next_try())
    assert again.result["job_id"] == job_id


def test_execution_timeout_in_the_triggerer_stops_the_job(emulator: EmulatorProcess, task: Task) -> None:
    with gated(task.folder) as (command, _):
        task.arguments.update(command=command, deferrable=True, execution_timeout=_seconds(1.5))
        ended = through(task)
        assert ended.error_kind == "AirflowTaskTimeout"
        assert task.memory is not None
        job_id = task.memory["job_id"]
        wait_for(lambda: "Completed" in [one["status"] for one in emulator.admin.job(job_id)["statuses"]])


def _seconds(seconds: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=seconds)


class TestExitCodes:
    def test_all_well(self, task: Task) -> None:
        task.arguments.update(failure_detection="exit_code")
        assert not through(task).error

    def test_what_rescale_calls_a_success_is_looked_at(self, task: Task) -> None:
        # A command that kills the shell around it leaves no exit code.
        task.arguments.update(failure_detection="exit_code", command="rm -f .airflow*; (sleep 0.1) & exit 4")
        ended = through(task)
        assert ended.error_kind == "RescaleJobFailed"


def test_costs(emulator: EmulatorProcess, task: Task) -> None:
    known = {one["id"] for one in emulator.admin.jobs()}
    task.arguments.update(max_cost="0.01")
    ended = through(task)
    assert ended.error_kind == "RescaleCostRefused"
    assert "0.01" in ended.error
    assert "0.08" in ended.error
    assert {one["id"] for one in emulator.admin.jobs()} == known
    task.arguments.update(max_cost=5, core_type="cheapest", cores_per_slot=1, memory_mb=1000)
    ended = through(task.next_try())
    assert not ended.error, ended
    chosen = emulator.admin.job(ended.result["job_id"])["document"]["jobanalyses"][0]["hardware"]["coreType"]
    assert chosen in task.log


def test_every_fault_of_a_job_is_told_before_anything_is_sent(emulator: EmulatorProcess, task: Task) -> None:
    known = {one["id"] for one in emulator.admin.jobs()}
    task.arguments.update(
        command="", analysis=None, core_type=None, inputs=["/nowhere", 3, {"path": "a", "x": 1}]
    )
    ended = through(task)
    assert ended.error_kind == "InvalidDocument"
    assert "/inputs/1" in ended.error
    assert "/inputs/2" in ended.error
    task.arguments.update(inputs=["/nowhere"])
    ended = through(task)
    assert "/jobanalyses/0/analysis/code" in ended.error
    assert "/jobanalyses/0/command" in ended.error
    task.arguments.update(job("true"), inputs=["/nowhere"])
    ended = through(task)
    assert ended.error_kind == "TransferError"
    assert "/nowhere" in ended.error
    assert {one["id"] for one in emulator.admin.jobs()} == known


@BOTH
def test_inputs_and_results(emulator: EmulatorProcess, task: Task, deferrable: bool) -> None:
    folder = task.folder / "case"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("A")
    (task.folder / "b.txt").write_text("B")
    (task.folder / "large.txt").write_text("large\n" * 100_000)
    (task.folder / "plain.zip").write_bytes(b"no archive")
    task.arguments.update(
        deferrable=deferrable,
        command="cat sub/a.txt b.txt c.txt > all.txt; cp plain.zip kept.txt; "
        "wc -l < large.txt > count.txt; mkdir deep; echo x > deep/x.log",
        inputs=[
            str(folder),
            (task.folder / "b.txt").as_uri(),
            {"name": "c.txt", "content": "C"},
            {"path": str(task.folder / "large.txt"), "volumes": True},
            {"path": str(task.folder / "plain.zip"), "decompress": False},
        ],
        download_to=(task.folder / "results").as_uri() if deferrable else str(task.folder / "results"),
        output_filters=["*.txt", "deep/*", "!kept.txt", "!large.txt"],
        delete_on_success=True,
    )
    ended = through(task)
    assert not ended.error, ended
    results = task.folder / "results"
    assert (results / "all.txt").read_text() == "ABC"
    assert (results / "count.txt").read_text().strip() == "100000"
    assert (results / "deep" / "x.log").read_text() == "x\n"
    fetched = sorted(Path(path).relative_to(results).as_posix() for path in ended.result["downloaded"])
    assert fetched == ["all.txt", "count.txt", "deep/x.log"]
    assert ended.result["job_id"] not in {one["id"] for one in emulator.admin.jobs()}
    # A try that comes after all takes the result over, though the job is gone.
    assert task.next_try().run().result == ended.result
    pushed = [json.loads(line) for line in (task.folder / "xcoms").read_text().splitlines()]
    links = {key: value for _, key, value in pushed}
    assert links["_link_RescaleJobLink"] == ended.result["job_url"]
    assert links["_link_RescaleResultsLink"] == f"{ended.result['job_url']}runs/1/results/"


def test_a_saved_job_is_a_template(emulator: EmulatorProcess, task: Task) -> None:
    saved = emulator.admin.add_job(
        {
            "name": "Saved",
            "jobanalyses": [
                {
                    "analysis": {"code": "user_included", "version": "0"},
                    "command": "false",
                    "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1},
                    "envVars": {"WORD": "hello"},
                }
            ],
        }
    )
    task.arguments.clear()
    task.arguments.update(
        template_from_job=saved,
        job="jobanalyses:\n- envVars: {END: '!'}\n",
        command='echo "$WORD${END}" > out.txt',
        polling_interval=0.1,
        download_to=str(task.folder),
    )
    ended = through(task)
    assert not ended.error, ended
    assert (task.folder / "out.txt").read_text() == "hello!\n"
    assert emulator.admin.job(ended.result["job_id"])["document"]["name"].startswith("Saved [airflow-")


def test_a_study_leaves_a_folder_a_run(emulator: EmulatorProcess, task: Task) -> None:
    from scale_airflow.rescale.client import RescaleClient
    from scale_airflow.rescale.credentials import Credentials
    from scale_airflow.rescale.transfers.upload import Uploader

    (task.folder / "cases.csv").write_text("x\n1\n2\n3\n")
    credentials = Credentials.of(emulator.base_url, emulator.api_key)
    with Uploader(credentials) as uploader, RescaleClient(credentials):
        cases = uploader.upload([task.folder / "cases.csv"])[0]
        (task.folder / "in.tpl").write_text("${x}")
        template = uploader.upload([task.folder / "in.tpl"])[0]
    task.arguments.update(
        job={
            "paramFile": {"id": cases.id},
            "jobanalyses": [
                {"templateTasks": [{"processedFilename": "in.txt", "templateFile": {"id": template.id}}]}
            ],
        },
        command="cp in.txt out.txt",
        download_to=str(task.folder / "results"),
        output_filters=["out.txt"],
    )
    ended = through(task)
    assert not ended.error, ended
    found = sorted((task.folder / "results").glob("run*/out.txt"))
    assert sorted(path.read_text().strip() for path in found) == ["1", "2", "3"]


def test_without_waiting(emulator: EmulatorProcess, task: Task) -> None:
    task.arguments.update(wait_for_termination=False)
    ended = through(task)
    assert set(ended.result) == {"job_id", "job_url"}
    assert task.next_try().run().result == ended.result
    wait_for(lambda: paid(emulator).get(ended.result["job_id"]) == 1, what="for the run")
