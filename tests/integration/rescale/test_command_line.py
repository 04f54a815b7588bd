# SPDX-License-Identifier: Apache-2.0
"""``airflow rescale …`` against the emulator: real HTTP, real jobs, real files."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.rescale.clusters import cluster_name
from scale_airflow.rescale.emulator.process import EmulatorProcess

QUICK = ("--interval", "0.1")
OWN = ("--core-type", "granite", "--cores", "2", "--yes")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def rows(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    root = tmp_path_factory.mktemp("emulator") / "root"
    with EmulatorProcess(root, pace=0.005, gateway_timeout_every=0) as running:
        yield running


@pytest.fixture
def rescale(
    emulator: EmulatorProcess,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., Outcome]:
    """Run ``airflow rescale`` with these words, and the answer to its question; give what it wrote."""
    from airflow.cli import cli_parser

    connection = {"conn_type": "rescale", "host": emulator.base_url, "password": emulator.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_RESCALE_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.chdir(tmp_path)

    def run(*words: object, answer: str = "") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(answer.encode())))
        capsys.readouterr()
        code = 0
        try:
            arguments = cli_parser.get_parser().parse_args(["rescale", *map(str, words)])
            arguments.func(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        written = capsys.readouterr()
        return Outcome(code, written.out, written.err)

    return run


def test_a_job_from_options_to_its_results(rescale: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "numbers").write_text("1\n2\n3\n")
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "points.csv").write_text("0,0\n")
    command = "echo $GREETING; sort -r numbers > sorted.txt; cp points.csv copy.csv"
    words = ("--name", "numbers", "--command", command, "-i", "numbers", "-i", "mesh", "-e", "GREETING=hello")
    done = rescale("submit", *words, *OWN, *QUICK, "--follow", "--download", "results")
    assert done.code == 0, done.err
    assert "hello" in done.out
    assert "Estimate: " in done.err
    assert "succeeded" in done.err
    assert (tmp_path / "results" / "sorted.txt").read_text() == "3\n2\n1\n"
    assert (tmp_path / "results" / "copy.csv").read_text() == "0,0\n"
    (job,) = rescale("jobs", "--name", "NUMBERS", "-o", "json").rows
    assert job["status"] == "Completed"

    (status,) = rescale("status", job["id"], "-o", "json").rows
    assert status["outcome"] == "succeeded"
    assert [row["status"] for row in status["history"] if row["of"] == "job"][-1] == "Completed"
    assert "hello" in rescale("logs", job["id"]).out
    assert rescale("logs", job["id"], "--path", "sorted.txt", "-n", "2").out == "2\n1\n"
    listed = rescale("files", "--job", job["id"], "-o", "json").rows
    assert {"sorted.txt", "copy.csv"} <= {row["path"] for row in listed}

    again = rescale("download", job["id"], "-d", "results", "--match", "*.txt", "-o", "json").rows
    assert [(row["path"], row["was_there"]) for row in again] == [("results/sorted.txt", "yes")]
    none = rescale("download", job["id"], "--match", "*.png")
    assert none.code == 1
    assert "None of its" in none.err


def test_a_job_that_fails_says_so(rescale: Callable[..., Outcome]) -> None:
    done = rescale("submit", "--command", "echo broken; exit 3", *OWN, *QUICK, "--wait", "-o", "json")
    assert done.code == 1
    assert "failed" in done.err
    job_id = done.rows[0]["id"]
    status = rescale("status", job_id)
    assert status.code == 1
    assert "Completed" in status.out
    assert "broken" in rescale("logs", job_id).out
    assert rescale("logs", job_id, "-f", *QUICK).code == 1
    assert "has no run 7" in rescale("logs", job_id, "-f", "--run", "7", *QUICK).err


def test_a_file_or_a_saved_job_is_the_template(
    rescale: Callable[..., Outcome], emulator: EmulatorProcess, tmp_path: Path
) -> None:
    (tmp_path / "wing.yaml").write_text(
        "jobanalyses:\n"
        "- analysis: {code: user_included, version: '0'}\n"
        "  command: echo from a file\n"
        "  hardware: {coreType: granite, coresPerSlot: 2, walltime: 1}\n"
    )
    first = rescale("submit", "wing.yaml", "--yes", "--wait", *QUICK, "-o", "json")
    assert first.code == 0, first.err
    assert first.err.count("succeeded") == 1
    saved = emulator.admin.job(first.rows[0]["id"])
    assert saved["document"]["name"].startswith("wing ")
    words = ("--from-job", first.rows[0]["id"], "--command", "echo from a job", "--yes", "-o", "json")
    second = rescale("submit", *words, "--follow", "--download", "fetched", *QUICK)
    assert second.code == 0, second.err
    assert "from a job" in second.err
    # Of what Rescale itself has put into the saved job, nothing is taken for a slip.
    assert "Beware" not in second.err
    (row,) = second.rows
    assert row["outcome"] == "succeeded"
    assert [file["path"] for file in row["files"]] == ["fetched/process_output.log"]


def test_what_it_costs_is_told_before_it_costs(
    rescale: Callable[..., Outcome], emulator: EmulatorProcess
) -> None:
    before = len(emulator.admin.jobs())
    words = ("submit", "--command", "true", "--core-type", "cheapest", "--cores", "2", "--walltime", "10")
    refused = rescale(*words, "--max-cost", "0.01", "--yes")
    assert refused.code == 1
    assert "0.01" in refused.err
    declined = rescale(*words, answer="n\n")
    assert declined.code == 1
    assert "Start it?" in declined.err
    nobody = rescale(*words)
    assert "say --yes" in nobody.err
    looked = rescale(*words, "--dry-run")
    shown = looked.rows[0]
    assert shown["job"]["jobanalyses"][0]["hardware"]["coreType"] != "cheapest"
    assert "10 h" in shown["estimate"]
    assert len(emulator.admin.jobs()) == before


def test_a_lost_answer_costs_one_run(rescale: Callable[..., Outcome], emulator: EmulatorProcess) -> None:
    emulator.admin.add_fault("lost", method="POST", path="/submit/$", times=1)
    try:
        done = rescale("submit", "--command", "true", *OWN, *QUICK, "--wait", "-o", "json")
    finally:
        emulator.admin.clear_faults()
    assert done.code == 0, done.err
    assert "not known" in done.err
    assert emulator.admin.job(done.rows[0]["id"])["paid_runs"] == 1


def test_everything_wrong_is_told(rescale: Callable[..., Outcome], tmp_path: Path) -> None:
    assert "Say what to run" in rescale("submit").err
    missing = rescale("submit", "--command", "true", "-i", "nowhere", "-i", "neither", *OWN)
    assert "nowhere, no neither" in missing.err
    (tmp_path / "odd.json").write_text("[1]")
    assert "must hold an object" in rescale("submit", "odd.json").err
    assert "neither JSON nor YAML" in rescale("submit", "-", answer="{").err
    unknown = rescale("submit", "--command", "true", "--core-type", "granit", "--cores", "2", "--yes")
    assert unknown.code == 1
    assert "granite" in unknown.err
    assert rescale("status", "nojob").code == 1
    assert "either --conn-id or --profile" in rescale("jobs", "-c", "a", "--profile", "b").err
    assert "no connection 'other'" in rescale("jobs", "-c", "other").err


def test_the_key_of_the_environment_serves_without_a_connection(
    rescale: Callable[..., Outcome], emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_RESCALE_DEFAULT")
    monkeypatch.setenv("RESCALE_API_KEY", emulator.api_key)
    monkeypatch.setenv("RESCALE_API_BASE_URL", emulator.base_url)
    assert rescale("jobs", "-n", "1", "-o", "json").code == 0
    monkeypatch.setenv("RESCALE_API_KEY", emulator.expired_key)
    expired = rescale("jobs")
    assert expired.code == 1
    assert "no longer active" in expired.err
    assert emulator.expired_key not in expired.err


def test_hardware_and_software_are_listed(rescale: Callable[..., Outcome]) -> None:
    rows = rescale("coretypes", "--cores", "2", "-o", "json").rows
    prices = [row["on_demand"] for row in rows if row["on_demand"] is not None]
    assert prices == sorted(prices)
    assert "granite" in {row["code"] for row in rows}
    assert all(row["on_demand"] > 0 for row in rows if row["code"] == "granite")
    assert rescale("coretypes", "--cores", "999983").err.startswith("No core type fits")
    assert "user_included" in rescale("analyses", "user", "-o", "plain").out


def test_uploading_again_sends_nothing_again(
    rescale: Callable[..., Outcome], emulator: EmulatorProcess, tmp_path: Path
) -> None:
    (tmp_path / "input.dat").write_bytes(b"x" * 5000)
    first = rescale("upload", "input.dat", "-o", "json").rows
    second = rescale("upload", "input.dat", "-o", "json").rows
    assert first[0]["id"] == second[0]["id"]
    assert first[0]["sha512"]
    assert [row["id"] for row in rescale("files", "--search", "input.dat", "-o", "json").rows] == [
        first[0]["id"]
    ]


def executing(emulator: EmulatorProcess, job_id: str) -> None:
    """Wait until a job executes: one that is stopped before leaves it open for a minute how it ended."""
    deadline = time.monotonic() + 20
    while emulator.admin.job(job_id)["statuses"][-1]["status"] != "Executing":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_can_be_stopped(rescale: Callable[..., Outcome], emulator: EmulatorProcess) -> None:
    started = rescale("submit", "--command", "sleep 600", *OWN, "-o", "json").rows[0]["id"]
    executing(emulator, started)
    assert "is being stopped" in rescale("stop", started).out
    assert rescale("status", started, "--wait", *QUICK).code == 1
    assert "does not run" in rescale("stop", started).out


def test_a_name_cannot_paint_the_terminal(rescale: Callable[..., Outcome], emulator: EmulatorProcess) -> None:
    analysis = {
        "analysis": {"code": "user_included", "version": "0"},
        "command": "true",
        "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1},
    }
    emulator.admin.add_job({"name": "\x1b[2J[bold]evil", "jobanalyses": [analysis]})
    shown = rescale("jobs", "--name", "evil").out
    assert "[bold]evil" in shown
    assert "\x1b[2J" not in shown


def test_clusters_that_are_left_are_shown_and_stopped(
    rescale: Callable[..., Outcome], emulator: EmulatorProcess
) -> None:
    assert rescale("clusters").err == "No cluster is left.\n"
    name = cluster_name("solver")
    started = rescale("submit", "--name", name, "--command", "sleep 600", *OWN, "-o", "json").rows[0]["id"]
    executing(emulator, started)
    assert [row["id"] for row in rescale("clusters", "-o", "json").rows] == [started]
    assert rescale("clusters", "--stop", answer="n\n").code == 1
    assert "is being stopped" in rescale("clusters", "--stop", "--yes").out
    rescale("status", started, "--wait", *QUICK)
    assert rescale("clusters").err == "No cluster is left.\n"
