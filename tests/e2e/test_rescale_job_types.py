# SPDX-License-Identifier: Apache-2.0
"""Job types that run on Rescale, in a whole Airflow: queued by the REST API, run there, canceled there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.rescale.emulator.process import EmulatorProcess
from tests.e2e.small_jobs import Gate, SmallJobs, text_of
from tests.e2e.system import Scale, eventually

CONNECTION = "rescale_of_the_tests"
REMOTE = {"remote": {"type": "rescale", "connection": CONNECTION, "hardware": {"coreType": "emerald_max"}}}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, scale: Scale) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "rescale", pace=0.002) as running:
        connection = {
            "connection_id": CONNECTION,
            "conn_type": "rescale",
            "host": running.base_url,
            "password": running.api_key,
        }
        scale.client.airflow("POST", "connections", json=connection)
        yield running
        scale.client.airflow("DELETE", f"connections/{CONNECTION}")


def queued(scale: Scale, name: str, gate: Gate) -> int:
    """Queue a job that waits for its gate; return its id."""
    data = {
        "input_data": [{"name": "gate", "value": str(gate.path)}],
        "output_data": [{"name": "result", "workspace_id": scale.workspace_id("products")}],
    }
    body = {"job_type_id": scale.job_type_id(name), "job_data": data}
    return int(scale.client.post("queue/new-job/", body)["id"])


def executing(emulator: EmulatorProcess, count: int) -> list[dict[str, Any]]:
    """Return the emulator's jobs once so many of them execute."""

    def look() -> list[dict[str, Any]] | None:
        jobs = [job for job in emulator.admin.jobs() if "Executing" in history(job)]
        return jobs if len(jobs) == count else None

    return eventually(look, f"{count} jobs at the emulator")


def history(job: dict[str, Any]) -> list[str]:
    return [entry["status"] for entry in job["statuses"]]


def test_jobs_run_there_and_a_canceled_one_ends_there(
    scale: Scale, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    small = SmallJobs(tmp_path / "small")
    document = small.job_type("far away", "1.0", small.interface("hello"))
    scale.client.post("job-types/", {**document, "configuration": REMOTE})
    gates = [small.gate("one"), small.gate("two")]
    jobs = [queued(scale, "far away", gate) for gate in gates]
    executing(emulator, 2)
    for job_id in jobs:
        (execution,) = scale.client.get(f"jobs/{job_id}/")["job_exes"]
        details = scale.client.get(f"job-executions/{execution['id']}/")
        assert (details["cpus_scheduled"], details["mem_scheduled"]) == (0, 0)

    scale.client.patch(f"jobs/{jobs[1]}/", {"status": "CANCELED"})
    eventually(lambda: any("Stopping" in history(job) for job in emulator.admin.jobs()), "stopped job", 60)
    gates[0].open()
    done = scale.finished_job(jobs[0])
    assert done["status"] == "COMPLETED", done["error"]
    assert text_of(scale, jobs[0]) == "hello\n"
    logs = scale.client.get(f"job-executions/{done['job_exes'][0]['id']}/logs/")
    assert logs["stdout"] == "says hello\n"
    paid = emulator.admin.counters()["paid_runs"]
    assert sorted(paid.values()) == [1, 1]
    eventually(lambda: all("Completed" in history(job) for job in emulator.admin.jobs()), "end of all jobs")
