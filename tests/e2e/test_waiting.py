# SPDX-License-Identifier: Apache-2.0
"""A job that waits for room: it says why, holds no worker slot, and its task is started once in vain."""

from __future__ import annotations

import pytest

from scale_airflow.compiler.names import JOB_TASK_ID, job_dag_id, job_run_id
from tests.e2e.small_jobs import SmallJobs, log_of
from tests.e2e.system import Scale, eventually


@pytest.fixture(scope="module")
def memory(scale: Scale) -> float:
    """The memory of the only node, in MiB."""
    (node,) = scale.client.everything("nodes/")
    return float(scale.client.get(f"nodes/{node['id']}/")["resources"]["total"]["mem"])


@pytest.fixture(scope="module")
def jobs(scale: Scale) -> SmallJobs:
    made = SmallJobs(scale.installation.folder / "waiting")
    made.gate("open").open()
    return made


def queue(scale: Scale, jobs: SmallJobs, name: str, mem: float, gate: str) -> int:
    """Make a type that needs so much memory, and queue a job of it."""
    document = {**jobs.job_type(name, "1.0", jobs.interface(name)), "mem_required": mem}
    job_type = scale.client.post("job-types/", document)
    data = {
        "version": "1.0",
        "input_data": [{"name": "gate", "value": str(jobs.gate(gate).path)}],
        "output_data": [{"name": "result", "workspace_id": scale.workspace_id("products")}],
    }
    job = scale.client.post("queue/new-job/", {"job_type_id": job_type["id"], "job_data": data})
    return int(job["id"])


def task_path(name: str, job_id: int) -> str:
    """Return the path of a job's task in Airflow's API."""
    dag_id = job_dag_id(name, "1.0", 1)
    return f"dags/{dag_id}/dagRuns/{job_run_id(job_id)}/taskInstances/{JOB_TASK_ID}"


def test_a_job_that_waits_for_room(scale: Scale, jobs: SmallJobs, memory: float) -> None:
    def why(job_id: int) -> str:
        return str(scale.client.get(f"jobs/{job_id}/")["why"])

    def state(name: str, job_id: int) -> str:
        return str(scale.client.airflow("GET", task_path(name, job_id))["state"])

    def log(name: str, job_id: int) -> str:
        return log_of(scale, job_dag_id(name, "1.0", 1), job_run_id(job_id), JOB_TASK_ID)

    holder = queue(scale, jobs, "holder", memory * 0.6, "held")
    eventually(lambda: scale.client.get(f"jobs/{holder}/")["status"] == "RUNNING", "running holder")
    waiting = queue(scale, jobs, "waiting", memory * 0.6, "open")
    huge = queue(scale, jobs, "huge", memory * 10, "open")
    eventually(lambda: "free now" in why(waiting), "reason of the waiting job")
    eventually(lambda: "no other node has enough" in why(huge), "reason of the huge job")
    for name, job_id in (("waiting", waiting), ("huge", huge)):
        # It holds no worker: its task sleeps in the triggerer, and its log says why.
        eventually(lambda name=name, job_id=job_id: state(name, job_id) == "deferred", "deferred task")
        eventually(lambda name=name, job_id=job_id: "The job waits: It needs" in log(name, job_id), "reason")
    assert scale.client.get("queue/status/")["queue_status"]
    passes = queue(scale, jobs, "passes", memory * 0.1, "open")
    assert scale.finished_job(passes)["status"] == "COMPLETED", "they hold up nobody else"
    jobs.gate("held").open()
    assert scale.finished_job(holder)["status"] == "COMPLETED"
    done = scale.finished_job(waiting)
    assert (done["status"], done["num_exes"], done["why"]) == ("COMPLETED", 1, None)
    tries = scale.client.airflow("GET", f"{task_path('waiting', waiting)}/tries")
    assert tries["total_entries"] == 1, "one start in vain, and it went on as the same try"
    assert "no other node has enough" in why(huge)
    scale.client.request("PATCH", f"/scale/api/jobs/{huge}/", json={"status": "CANCELED"}).raise_for_status()
    assert scale.finished_job(huge)["status"] == "CANCELED"
