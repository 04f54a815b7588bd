# SPDX-License-Identifier: Apache-2.0
"""Cancel and requeue on a running installation, by Scale's API and by a user's clicks in Airflow: what runs
is gone, though it ignores every polite signal; what waits never starts; what is requeued runs again."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.compiler.dags import weight_of
from scale_airflow.compiler.names import job_run_id, recipe_run_id, task_id
from tests.e2e.system import Scale, eventually

_PROGRAM = '''\
"""stubborn.py GATE: says who it is and goes on, with a child, whatever it is asked, until GATE is there."""
import os, pathlib, signal, sys, time

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
gate = pathlib.Path(sys.argv[1])
child = os.fork()
if child:
    note = gate.with_suffix(".new")
    note.write_text(f"{os.getpid()} {child}")
    os.replace(note, gate.with_suffix(".pid"))
while not gate.exists():
    time.sleep(0.05)
'''
STUBBORN, RECIPE = ("stubborn", "1.0"), ("stubborn pair", "1.0")


class Gate:
    """Keeps one program waiting, and knows its processes."""

    def __init__(self, path: Path):
        self.path = path

    def processes(self) -> list[int]:
        """Return the ids of the program and its child; nothing while it has not started."""
        note = self.path.with_suffix(".pid")
        return [int(word) for word in note.read_text().split()] if note.exists() else []

    def until_gone(self) -> float:
        """Wait until none of the processes is left; return the seconds that it took."""
        start = time.monotonic()
        processes = self.processes()
        assert processes
        eventually(lambda: not any(map(is_alive, processes)), f"end of the processes {processes}")
        self.path.with_suffix(".pid").unlink()
        return time.monotonic() - start


def is_alive(process: int) -> bool:
    """Say whether there is such a process; one that waits to be collected is none."""
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Stubborn:
    """Jobs of that program, alone and in recipes of two, one after the other."""

    def __init__(self, scale: Scale):
        self.scale = scale
        self.client = scale.client
        self.folder = scale.installation.folder / "stubborn"
        self.folder.mkdir()
        program = self.folder / "stubborn.py"
        program.write_text(_PROGRAM)
        interface = {
            "version": "1.0",
            "command": "python3",
            "command_arguments": f"{shlex.quote(str(program))} ${{gate}}",
            "input_data": [{"name": "gate", "type": "property"}],
        }
        document = {"name": STUBBORN[0], "version": STUBBORN[1], "interface": interface, "max_tries": 1}
        needs = {"docker_image": "none", "cpus_required": 0.25, "mem_required": 128.0}
        self.type_id = int(self.client.post("job-types/", {**document, **needs})["id"])
        jobs: list[dict[str, Any]] = [
            {
                "name": name,
                "job_type": {"name": STUBBORN[0], "version": STUBBORN[1]},
                "recipe_inputs": [{"recipe_input": name, "job_input": "gate"}],
            }
            for name in ("first", "second")
        ]
        jobs[1]["dependencies"] = [{"name": "first"}]
        inputs = [{"name": name, "type": "property"} for name in ("first", "second")]
        definition = {"version": "1.0", "input_data": inputs, "jobs": jobs}
        made = self.client.post(
            "recipe-types/", {"name": RECIPE[0], "version": RECIPE[1], "definition": definition}
        )
        self.recipe_type_id = made["id"]

    def gate(self, name: str) -> Gate:
        return Gate(self.folder / name)

    def job(self, name: str) -> tuple[Gate, int]:
        """Queue a job; return its gate and its id."""
        gate = self.gate(name)
        data = {"version": "1.0", "input_data": [{"name": "gate", "value": str(gate.path)}]}
        made = self.client.post("queue/new-job/", {"job_type_id": self.type_id, "job_data": data})
        return gate, int(made["id"])

    def recipe(self, name: str) -> tuple[dict[str, Gate], dict[str, int], int]:
        """Queue a recipe, and wait until its first job runs; return gates and ids of its jobs, and its id."""
        gates = {which: self.gate(f"{name}-{which}") for which in ("first", "second")}
        given = [{"name": which, "value": str(gate.path)} for which, gate in gates.items()]
        body = {
            "recipe_type_id": self.recipe_type_id,
            "recipe_data": {"version": "1.0", "input_data": given},
        }
        made = self.client.post("queue/new-recipe/", body)
        jobs = {entry["job_name"]: int(entry["job"]["id"]) for entry in made["jobs"]}
        eventually(gates["first"].processes, "running first job")
        return gates, jobs, int(made["id"])

    def details(self, job_id: int) -> dict[str, Any]:
        return dict(self.client.get(f"jobs/{job_id}/"))

    def until(self, job_id: int, status: str) -> dict[str, Any]:
        """Wait until a job is in a state, and return its details."""

        def look() -> dict[str, Any] | None:
            job = self.details(job_id)
            return job if job["status"] == status else None

        return eventually(look, f"{status} job {job_id}")


@pytest.fixture(scope="module")
def stubborn(scale: Scale) -> Stubborn:
    return Stubborn(scale)


@pytest.fixture
def task(scale: Scale) -> Any:
    """Finds and changes tasks through Airflow's own API."""

    def look(dag_id: str, run_id: str, name: str, **change: Any) -> dict[str, Any]:
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{name}"
        if change:
            scale.client.airflow("PATCH", path, json=change)
        return dict(scale.client.airflow("GET", path))

    return look


def dag_of(scale: Scale, prefix: str) -> str:
    """Return the id of the only DAG whose id begins so."""
    (found,) = (
        dag["dag_id"]
        for dag in scale.client.airflow("GET", "dags", params={"dag_id_pattern": prefix})["dags"]
        if dag["dag_id"].startswith(prefix)
    )
    return str(found)


def test_a_whole_recipe_is_canceled_and_requeued(
    scale: Scale, stubborn: Stubborn, task: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    gates, jobs, recipe_id = stubborn.recipe("whole")
    dag_id, run_id = dag_of(scale, "scale_recipe.stubborn_pair"), recipe_run_id(recipe_id)
    page = scale.client.post("jobs/cancel/", {"job_ids": list(jobs.values())})
    seconds = gates["first"].until_gone()
    with capsys.disabled():
        print(f"\nA job that ignores SIGTERM, and its child, were gone {seconds:.1f} s after their cancel.")
    assert {each["status"] for each in page["results"]} == {"CANCELED"}
    assert [exe["status"] for exe in stubborn.details(jobs["first"])["job_exes"]] == ["CANCELED"]
    assert stubborn.details(jobs["second"])["job_exes"] == []

    def run_state() -> str:
        return str(scale.client.airflow("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    eventually(lambda: run_state() == "failed", "failed run of the recipe")
    assert task(dag_id, run_id, task_id("second"))["state"] == "failed"
    assert gates["second"].processes() == []

    page = scale.client.post("queue/requeue-jobs/", {"job_ids": list(jobs.values()), "priority": 3})
    found = {each["id"]: each["status"] for each in page["results"]}
    assert found == {jobs["first"]: "QUEUED", jobs["second"]: "PENDING"}
    eventually(gates["first"].processes, "first job's next try")
    assert task(dag_id, run_id, task_id("first"))["priority_weight"] == weight_of(3)
    gates["first"].path.touch()
    gates["second"].path.touch()
    recipe = scale.finished_recipe(recipe_id)
    assert {entry["job"]["status"] for entry in recipe["jobs"]} == {"COMPLETED"}
    assert recipe["completed"] is not None
    assert stubborn.details(jobs["first"])["num_exes"] == 2


def test_a_deferred_job_that_is_canceled_never_starts(scale: Scale, stubborn: Stubborn, task: Any) -> None:
    (node,) = scale.client.get("nodes/")["results"]
    scale.client.patch(f"nodes/{node['id']}/", {"is_paused": True, "pause_reason": "a test"})
    try:
        gate, job_id = stubborn.job("deferred")
        dag_id = eventually(lambda: dag_of(scale, "scale_job.stubborn"), "DAG of the job type")
        run_id = job_run_id(job_id)

        def is_deferred() -> bool:
            runs = scale.client.airflow("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]
            if run_id not in {run["dag_run_id"] for run in runs}:
                return False
            return bool(task(dag_id, run_id, "job")["state"] == "deferred")

        eventually(is_deferred, "deferred task")
        scale.client.patch(f"jobs/{job_id}/", {"status": "CANCELED"})
        assert task(dag_id, run_id, "job")["state"] == "failed"
    finally:
        scale.client.patch(f"nodes/{node['id']}/", {"is_paused": False})
    # What is queued later runs to its end.
    other, other_id = stubborn.job("after")
    other.path.touch()
    assert scale.finished_job(other_id)["status"] == "COMPLETED"
    assert gate.processes() == []
    assert stubborn.details(job_id)["status"] == "CANCELED"
    assert task(dag_id, run_id, "job")["state"] == "failed"


def test_what_a_user_does_in_airflow_happens_in_scale(scale: Scale, stubborn: Stubborn, task: Any) -> None:
    gates, jobs, recipe_id = stubborn.recipe("clicked")
    dag_id, run_id = dag_of(scale, "scale_recipe.stubborn_pair"), recipe_run_id(recipe_id)
    first = task_id("first")
    priority = stubborn.details(jobs["first"])["priority"]

    task(dag_id, run_id, first, new_state="failed")
    gates["first"].until_gone()
    over = stubborn.until(jobs["first"], "CANCELED")
    assert [exe["status"] for exe in over["job_exes"]] == ["CANCELED"]
    assert stubborn.until(jobs["second"], "BLOCKED")["job_exes"] == []

    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [first], "only_failed": False}
    scale.client.airflow("POST", f"dags/{dag_id}/clearTaskInstances", json=body)
    again = stubborn.until(jobs["first"], "RUNNING")
    assert (again["num_exes"], again["priority"]) == (2, priority)
    eventually(gates["first"].processes, "first job's next try")
    assert stubborn.details(jobs["second"])["status"] == "PENDING"

    scale.client.airflow("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})
    gates["first"].until_gone()
    stubborn.until(jobs["first"], "CANCELED")
    assert gates["second"].processes() == []

    scale.client.post("queue/requeue-jobs/", {"job_ids": [jobs["first"]]})
    for gate in gates.values():
        gate.path.touch()
    recipe = scale.finished_recipe(recipe_id)
    assert {entry["job"]["status"] for entry in recipe["jobs"]} == {"COMPLETED"}


def test_nothing_of_it_is_left(stubborn: Stubborn) -> None:
    assert not any(
        is_alive(int(process))
        for process in os.listdir("/proc")
        if process.isdigit() and _runs(int(process), stubborn.folder)
    )


def _runs(process: int, folder: Path) -> bool:
    try:
        return os.fsencode(folder) in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
