# SPDX-License-Identifier: Apache-2.0
"""The example's DAGs run as shown, on a whole Airflow, against the emulator."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import psutil
import pytest

from demo import processes
from tests.e2e.rescale.conftest import Rescale
from tests.e2e.system import eventually

EXAMPLES = ("rescale_cluster", "rescale_job", "rescale_function", "rescale_study", "rescale_steps")
CLUSTERS = ("rescale_broken_cluster", "rescale_foreign_cluster", "rescale_held_cluster")


@pytest.fixture(scope="module")
def runs(rescale: Rescale) -> dict[str, str]:
    """A run of each of the example's DAGs, all at once, and one whose job waits to be let go; their ids."""
    held = rescale.start("rescale_held", go=str(go(rescale)))
    return {"rescale_held": held, **{dag_id: rescale.start(dag_id) for dag_id in (*EXAMPLES, *CLUSTERS)}}


def go(rescale: Rescale) -> Path:
    """The file that lets the held job go."""
    return rescale.results.parent / "go"


def triggerer(rescale: Rescale) -> psutil.Process:
    """The triggerer that runs now."""

    def look() -> psutil.Process | None:
        pids = rescale.installation.folder / "pids"
        return next(filter(None, map(processes.find, pids.glob("triggerer.*.json"))), None)

    return eventually(look, "triggerer")


def kill(process: psutil.Process) -> None:
    for each in [*process.children(recursive=True), process]:
        each.send_signal(signal.SIGKILL)
    process.wait(10)


def test_a_job(rescale: Rescale, runs: dict[str, str]) -> None:
    run_id = runs["rescale_job"]
    tasks = rescale.ended("rescale_job", run_id)
    log = rescale.log("rescale_job", run_id, "estimate_pi")
    assert tasks["estimate_pi"]["state"] == "success", log
    told = rescale.xcom("rescale_job", run_id, "estimate_pi")
    assert rescale.paid("Estimate pi [")[told["job_id"]] == 1
    (estimate,) = (rescale.results / run_id).glob("estimate-*.json")
    assert json.loads(estimate.read_text())["samples"] == 200_000
    assert rescale.emulator.api_key not in log
    links = rescale.scale.client.airflow(
        "GET", f"dags/rescale_job/dagRuns/{run_id}/taskInstances/estimate_pi/links"
    )
    assert links["extra_links"]["Rescale job"] == f"{rescale.emulator.base_url}/jobs/{told['job_id']}/"


def test_a_function(rescale: Rescale, runs: dict[str, str]) -> None:
    run_id = runs["rescale_function"]
    rescale.ended("rescale_function", run_id)
    assert rescale.states("rescale_function", run_id) == {"estimate_pi": "success"}
    assert rescale.xcom("rescale_function", run_id, "estimate_pi") == pytest.approx(3.14, abs=0.1)


def test_a_study(rescale: Rescale, runs: dict[str, str]) -> None:
    run_id = runs["rescale_study"]
    tasks = rescale.ended("rescale_study", run_id)
    assert {name: each["state"] for name, each in tasks.items()} == {
        **{f"estimate_pi[{index}]": "success" for index in range(3)},
        "average": "success",
    }
    assert rescale.xcom("rescale_study", run_id, "average") == pytest.approx(3.14, abs=0.05)
    assert sorted(rescale.paid("Estimate pi with seed ").values()) == [1, 1, 1]


def test_single_steps(rescale: Rescale, runs: dict[str, str]) -> None:
    run_id = runs["rescale_steps"]
    tasks = rescale.ended("rescale_steps", run_id)
    assert {each["state"] for each in tasks.values()} == {"success"}, rescale.states("rescale_steps", run_id)
    job_id = rescale.xcom("rescale_steps", run_id, "start", "job_id")
    assert job_id not in {job["id"] for job in rescale.admin.jobs()}
    assert list((rescale.results / run_id).glob("estimate-*.json"))


def test_a_cluster(rescale: Rescale, runs: dict[str, str]) -> None:
    run_id = runs["rescale_cluster"]
    tasks = rescale.ended("rescale_cluster", run_id)
    assert {each["state"] for each in tasks.values()} == {"success"}, rescale.states(
        "rescale_cluster", run_id
    )
    assert rescale.xcom("rescale_cluster", run_id, "many").startswith("pi is about 3.")
    assert json.loads((rescale.results / run_id / "estimate-2.json").read_text())["samples"] == 50_000
    cluster = rescale.xcom("rescale_cluster", run_id, "solver_start")
    assert cluster["host_key"].startswith("ssh-")
    assert not rescale.admin.job(cluster["job_id"])["cluster_up"]
    assert rescale.paid("solver (cluster") == {cluster["job_id"]: 1}


def test_no_cluster_is_left_when_a_command_fails(rescale: Rescale, runs: dict[str, str]) -> None:
    run_id = runs["rescale_broken_cluster"]
    rescale.ended("rescale_broken_cluster", run_id)
    states = rescale.states("rescale_broken_cluster", run_id)
    assert states == {"broken_start": "success", "fails": "failed", "broken_stop": "success"}
    assert "exit code 4" in rescale.log("rescale_broken_cluster", run_id, "fails")
    assert not any(job["cluster_up"] for job in rescale.admin.jobs() if "broken" in job["document"]["name"])


def test_no_cluster_is_left_when_it_can_not_be_reached(rescale: Rescale, runs: dict[str, str]) -> None:
    run_id = runs["rescale_foreign_cluster"]
    rescale.ended("rescale_foreign_cluster", run_id)
    states = rescale.states("rescale_foreign_cluster", run_id)
    assert states == {"foreign_start": "failed", "never": "upstream_failed", "foreign_stop": "success"}
    assert "Job Settings" in rescale.log("rescale_foreign_cluster", run_id, "foreign_start")
    assert not any(job["cluster_up"] for job in rescale.admin.jobs() if "foreign" in job["document"]["name"])


def test_no_cluster_is_left_when_the_run_is_given_up(rescale: Rescale, runs: dict[str, str]) -> None:
    run_id = runs["rescale_held_cluster"]
    rescale.reached("rescale_held_cluster", run_id, "sleeps", "deferred")
    rescale.scale.client.airflow(
        "PATCH", f"dags/rescale_held_cluster/dagRuns/{run_id}", json={"state": "failed"}
    )
    rescale.ended("rescale_held_cluster", run_id)
    assert rescale.states("rescale_held_cluster", run_id)["held_stop"] == "success"
    cluster = rescale.xcom("rescale_held_cluster", run_id, "held_start")
    assert not rescale.admin.job(cluster["job_id"])["cluster_up"]


def test_a_killed_triggerer_costs_no_second_run(rescale: Rescale, runs: dict[str, str]) -> None:
    run_id = runs["rescale_held"]
    rescale.reached("rescale_held", run_id, "held", "deferred")
    job_id = rescale.xcom("rescale_held", run_id, "held", "job_id")
    eventually(lambda: executes(rescale, job_id), "running job")
    kill(triggerer(rescale))
    assert triggerer(rescale).is_running()
    (row,) = json.loads(rescale.installation.airflow(["rescale", "status", job_id, "-o", "json"]))
    assert row["outcome"] == "waiting"
    go(rescale).touch()
    rescale.ended("rescale_held", run_id)
    assert rescale.states("rescale_held", run_id) == {"held": "success"}
    assert rescale.paid("held [") == {job_id: 1}
    assert rescale.admin.job(job_id)["submissions"] == 1


def executes(rescale: Rescale, job_id: str) -> bool:
    return rescale.admin.job(job_id)["statuses"][-1]["status"] == "Executing"
