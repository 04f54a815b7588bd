# SPDX-License-Identifier: Apache-2.0
"""What becomes of jobs when the emulator is killed, ended, or never comes back."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scale_airflow.rescale.emulator.blobs import Blobs
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.emulator.processes import marked, reap
from scale_airflow.rescale.emulator.runner import Analysis, Patience, Runner
from scale_airflow.rescale.emulator.staging import Cargo, stage

DEADLINE = 60.0


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := true()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)
    return found


class Service:
    """An emulator and what a test wants of it."""

    def __init__(self, process: EmulatorProcess):
        self.process = process
        self.work = process.root.resolve() / "work"

    def post(self, path: str) -> int:
        connection = http.client.HTTPConnection(urlsplit(self.process.base_url).netloc, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request(
                "POST", f"/api/v2/{path}", headers={"Authorization": f"Token {self.process.api_key}"}
            )
            return connection.getresponse().status

    def submitted(self, command: str, scenario: str = "") -> str:
        job_id = self.process.admin.add_job(
            {
                "name": "survivor",
                "jobanalyses": [
                    {
                        "analysis": {"code": "user_included", "version": "0"},
                        "command": command,
                        "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1},
                    }
                ],
            }
        )
        self.process.admin.set_scenario(job_id, scenario)
        assert self.post(f"jobs/{job_id}/submit/") == 200
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        return self.process.admin.job(job_id)

    def phase(self, job_id: str) -> str:
        return str(self.job(job_id)["life"]["phase"])

    def statuses(self, job_id: str) -> list[tuple[str, str | None]]:
        return [(one["status"], one["reason"]) for one in self.job(job_id)["statuses"]]

    def files(self, job_id: str) -> list[str]:
        connection = http.client.HTTPConnection(urlsplit(self.process.base_url).netloc, timeout=DEADLINE)
        with contextlib.closing(connection):
            key = {"Authorization": f"Token {self.process.api_key}"}
            connection.request("GET", f"/api/v2/jobs/{job_id}/files/", headers=key)
            return sorted(one["relativePath"] for one in json.load(connection.getresponse())["results"])

    def over(self, job_id: str) -> tuple[str, str | None]:
        """Wait for the job's end; its last status and reason."""
        until(lambda: self.phase(job_id) == "over")
        return self.statuses(job_id)[-1]

    def place(self, job_id: str) -> Path:
        return self.work / job_id / "1" / "1"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with EmulatorProcess(tmp_path / "root", gateway_timeout_every=0) as process:
        yield Service(process)
    assert marked(tmp_path.resolve()) == []


def waiting(place: Path) -> str:
    """A command that notes each of its runs in ``place``, and waits for leave to end."""
    return f"echo ran >> {place}/runs; until [ -e {place}/go ]; do sleep 0.02; done; echo made > made"


def begun(service: Service, place: Path, **options: str) -> str:
    """Submit a job that waits, and return when it does."""
    place.mkdir()
    job_id = service.submitted(waiting(place), **options)
    until((place / "runs").exists)
    return job_id


def kill_run(service: Service, job_id: str) -> None:
    for pid in marked(service.place(job_id)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_killed_emulator_goes_on_with_every_job_where_it_was(service, tmp_path):
    ended, running, lost = (tmp_path / name for name in ("ended", "running", "lost"))
    ended_id, running_id, lost_id = (begun(service, place) for place in (ended, running, lost))
    service.process.admin.settings(pace=0.3)
    asking = service.submitted(
        'python3 -c "import os, urllib.request as r; '
        "q = r.Request(os.environ['RESCALE_API_BASE_URL'] + '/api/v2/users/me/'); "
        "q.add_header('Authorization', 'Token ' + os.environ['RESCALE_API_KEY']); "
        'print(r.urlopen(q).status)" > answer; grep -q 200 answer'
    )
    under_way = [asking]
    for _ in range(5):
        until(lambda: service.phase(under_way[-1]) != "pending")  # so that they are in different phases
        under_way.append(service.submitted("echo ran"))
    phases = {service.phase(job_id) for job_id in under_way}
    service.process.kill()
    (ended / "go").touch()
    until((service.place(ended_id) / "result.json").exists)
    kill_run(service, lost_id)
    assert len(marked(service.place(running_id))) >= 2

    service.process.start()
    assert len(phases) > 2
    assert service.over(ended_id) == ("Completed", "Completed successfully")
    assert service.files(ended_id) == ["made", "process_output.log"]
    assert service.over(lost_id) == ("Completed", "A run failed")
    assert service.phase(running_id) == "executing"
    assert service.post(f"jobs/{running_id}/stop/") == 202
    assert service.over(running_id) == ("Completed", "Stopped by user")
    for place in (ended, running, lost):
        assert (place / "runs").read_text() == "ran\n"
    for job_id in under_way:
        assert service.over(job_id) == ("Completed", "Completed successfully")
        names = [status for status, _ in service.statuses(job_id)]
        assert names == ["Pending", "Queued", "Started", "Validated", "Executing", "Completed"]
        assert service.job(job_id)["paid_runs"] == 1


def test_nothing_stays_behind_when_an_emulator_ends_or_is_killed_for_good(service, tmp_path):
    job_id = begun(service, tmp_path / "first")
    service.process.stop()
    assert marked(service.work) == []
    service.process.start()
    assert service.over(job_id) == ("Completed", "A run failed")
    begun(service, tmp_path / "second")
    service.process.kill()
    assert reap(service.process.root) > 0
    assert marked(service.work) == []


def test_runs_end_by_themselves_when_no_emulator_comes_back(tmp_path):
    blobs = Blobs(tmp_path)
    runner = Runner(tmp_path, blobs, Patience(stop_grace=0.2, force_grace=0.1, abandon_after=0.3))
    runner.root.mkdir()
    place = runner.place("job", "1", 1)
    stage(place, Cargo(), blobs)
    # None has said that it is here: the file that names the emulator is missing. It had an SSH session.
    visitor = subprocess.Popen(["sleep", "1000"], env=runner.environment(place), start_new_session=True)
    result = asyncio.run(
        runner.run(place, Cargo(), [Analysis(["env -i setsid sleep 1000 & sleep 1000"], {})])
    )
    assert result.ended_by == "abandoned"
    assert visitor.wait(DEADLINE) == -signal.SIGKILL
    assert b"Run ended (abandoned)" in place.log.read_bytes()
    assert marked(tmp_path) == []


@pytest.mark.parametrize("scenario", ["", "preempted:1"])
async def test_a_job_gets_over_a_crash_after_every_single_event(make_bench, tmp_path, scenario):
    job_id, crashes = "", 0
    while True:
        bench = await make_bench()
        job_id = job_id or bench.create(f"echo ran >> {tmp_path}/runs; echo made > made", scenario=scenario)
        if bench.phase(job_id) == "over":
            break
        bench.crash_after_next_event()
        if bench.state.jobs[job_id].submitted is None:
            with contextlib.suppress(bench.Crash):
                bench.life.submit(job_id)
        await bench.until(lambda bench=bench: bench.crashed)
        await bench.vanish()
        crashes += 1
    assert crashes > 10
    assert bench.reason(job_id) == "Completed successfully"
    statuses = bench.statuses(job_id)
    again = ["Waiting for Cluster", "Executing"] if scenario else []
    assert statuses == ["Pending", "Queued", "Started", "Validated", "Executing", *again, "Completed"]
    assert sorted(bench.outputs(job_id)) == ["made", "process_output.log"]
    # The command of a run whose cluster was taken away may have begun or not.
    assert (tmp_path / "runs").read_text() in (["ran\n", "ran\nran\n"] if scenario else ["ran\n"])
    assert bench.state.jobs[job_id].paid_runs == (2 if scenario else 1)
