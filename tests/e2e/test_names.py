# SPDX-License-Identifier: Apache-2.0
"""Every name that the specification allows works everywhere: in both APIs, in folders, in logs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.compiler import names
from tests.e2e.small_jobs import SmallJobs, log_of, text_of
from tests.e2e.system import Scale

# Recipe-job names are made of letters, digits, spaces, "-" and "_"; these are as long as they may be, and
# differ in the last of 255 characters.
LONG = ("Find  points-in_the image 1 " * 10)[:254]
PAIR = ("two  words", f"{LONG}a")
TWINS = ("a b", "a_b", "a-b", f"{LONG}a", f"{LONG}b", " ")


@dataclass(frozen=True)
class Case:
    """The name and version of a job type and of a recipe type, and the names of the recipe's jobs."""

    name: str
    version: str
    jobs: tuple[str, ...] = PAIR


CASES = {
    "marks": Case(
        """say: "it's" 100% of \\n {{ ds }} ${gate} $(true) `x`; <b>&/../#?""", """1.0 'b'/"c"\\"""
    ),
    "letters": Case("Größe Ещё 名前 עברית é 🛰", "日本.1-β"),
    "dots": Case("..", "..", TWINS),
    "long": Case("ä" * 255, "9." * 127 + "9"),
    "spaces": Case(" . my.job type ", "/"),
    "underscores": Case("_my.job_type_", "_"),
}


@dataclass(frozen=True)
class Made:
    """What became of a case: a recipe and a lone job, both ended."""

    case: Case
    recipe: dict[str, Any]
    job: dict[str, Any]


@pytest.fixture(scope="module")
def around(scale: Scale) -> set[Path]:
    """What lay beside the workspaces before any job ran."""
    return set(scale.installation.data.parent.iterdir()) | set(scale.installation.data.iterdir())


@pytest.fixture(scope="module")
def everything(scale: Scale, around: set[Path]) -> dict[str, Made]:
    """All cases, created and queued over REST, and ended."""
    jobs = SmallJobs(scale.installation.folder / "names")
    around.add(jobs.folder)
    gate = str(jobs.gate("open").open().path)
    queued = {key: _queue(scale, jobs, key, case, gate) for key, case in CASES.items()}
    return {
        key: Made(CASES[key], scale.finished_recipe(recipe_id), scale.finished_job(job_id))
        for key, (recipe_id, job_id) in queued.items()
    }


def _queue(scale: Scale, jobs: SmallJobs, key: str, case: Case, gate: str) -> tuple[int, int]:
    """Create a job type and a recipe type of it, and queue one job and one recipe; return their ids."""
    own = (case.name, case.version)
    job_type = scale.client.post("job-types/", jobs.job_type(*own, jobs.interface(key)))
    recipe_type = scale.client.post(
        "recipe-types/",
        {
            "name": case.name,
            "version": case.version,
            "definition": {
                "version": "1.0",
                "input_data": [{"name": "gate", "type": "property"}],
                "jobs": [SmallJobs.job(name, own, "gate") for name in case.jobs],
            },
        },
    )
    assert (job_type["name"], job_type["version"]) == own
    assert (recipe_type["name"], recipe_type["version"]) == own
    inputs = {"version": "1.0", "input_data": [{"name": "gate", "value": gate}]}
    workspace = scale.workspace_id("products")
    recipe = scale.client.post(
        "queue/new-recipe/",
        {"recipe_type_id": recipe_type["id"], "recipe_data": {**inputs, "workspace_id": workspace}},
    )
    outputs = [{"name": "result", "workspace_id": workspace}]
    job = scale.client.post(
        "queue/new-job/", {"job_type_id": job_type["id"], "job_data": {**inputs, "output_data": outputs}}
    )
    return int(recipe["id"]), int(job["id"])


@pytest.fixture(params=CASES)
def made(request: pytest.FixtureRequest, everything: dict[str, Made]) -> tuple[str, Made]:
    """One case, by its key."""
    return request.param, everything[request.param]


def test_its_recipe_and_its_job_are_completed(scale: Scale, made: tuple[str, Made]) -> None:
    key, found = made
    assert [entry["job_name"] for entry in found.recipe["jobs"]] == list(found.case.jobs)
    jobs = [found.job, *(entry["job"] for entry in found.recipe["jobs"])]
    assert [(job["status"], job["num_exes"]) for job in jobs] == [("COMPLETED", 1)] * len(jobs)
    assert {text_of(scale, job["id"]) for job in jobs} == {f"{key}\n"}


def test_the_lists_find_it_by_its_name(scale: Scale, made: tuple[str, Made]) -> None:
    found = made[1]
    own = (found.case.name, found.case.version)
    assert (found.recipe["recipe_type"]["name"], found.recipe["recipe_type"]["version"]) == own
    rows = scale.client.get("job-types/", name=found.case.name)["results"]
    assert [(row["name"], row["version"]) for row in rows] == [own]
    jobs = scale.client.get("jobs/", job_type_name=found.case.name)["results"]
    assert len(jobs) == 1 + len(found.case.jobs)
    recipes = scale.client.get("recipes/", type_name=found.case.name)["results"]
    assert [row["id"] for row in recipes] == [found.recipe["id"]]


def test_its_products_lie_at_safe_paths(scale: Scale, made: tuple[str, Made], around: set[Path]) -> None:
    key, found = made
    root = scale.installation.data / "products"
    for job in [found.job, *(entry["job"] for entry in found.recipe["jobs"])]:
        (execution,) = scale.client.get(f"jobs/{job['id']}/")["job_exes"]
        (path,) = root.rglob(f"job_exe_{execution['id']}/**/said.txt")
        assert path.read_text() == f"{key}\n"
        for part in path.relative_to(root).parts:
            assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,149}", part), part
            assert part == part.strip()
    data = scale.installation.data
    assert set(data.parent.iterdir()) | set(data.iterdir()) == around


def test_airflow_shows_it_with_its_names(scale: Scale, made: tuple[str, Made]) -> None:
    case = made[1].case
    recipe_dag = names.recipe_dag_id(case.name, case.version, 1)
    job_dag = names.job_dag_id(case.name, case.version, 1)
    for dag_id, tasks in ((recipe_dag, list(case.jobs)), (job_dag, [f"{case.name} {case.version}"])):
        dag = scale.client.airflow("GET", f"dags/{dag_id}")
        assert dag["dag_display_name"] == f"{case.name} {case.version} (revision 1)"
        assert not dag["is_stale"]
        assert not dag["has_import_errors"]
        shown = scale.client.airflow("GET", f"dags/{dag_id}/tasks")["tasks"]
        assert sorted(task["task_display_name"] for task in shown) == sorted(tasks)
    assert {recipe_dag, job_dag} <= listed_dags(scale)


def test_what_it_wrote_is_read_through_both_apis(scale: Scale, made: tuple[str, Made]) -> None:
    key, found = made
    case = found.case
    recipe_dag = names.recipe_dag_id(case.name, case.version, 1)
    runs = [
        (found.job, names.job_dag_id(case.name, case.version, 1), names.job_run_id(found.job["id"]), "job")
    ]
    for entry in found.recipe["jobs"]:
        run_id = names.recipe_run_id(found.recipe["id"])
        runs.append((entry["job"], recipe_dag, run_id, names.task_id(entry["job_name"])))
    for job, dag_id, run_id, task_id in runs:
        (execution,) = scale.client.get(f"jobs/{job['id']}/")["job_exes"]
        logs = scale.client.get(f"job-executions/{execution['id']}/logs/")
        assert (logs["stdout"], logs["is_finished"]) == (f"says {key}\n", True)
        assert f"says {key}" in log_of(scale, dag_id, run_id, task_id)


def test_all_are_apart_from_each_other(scale: Scale, everything: dict[str, Made]) -> None:
    assert everything
    assert scale.client.airflow("GET", "importErrors")["total_entries"] == 0
    wanted = {
        made(case.name, case.version, 1)
        for case in CASES.values()
        for made in (names.recipe_dag_id, names.job_dag_id)
    }
    assert len(wanted) == 2 * len(CASES)
    assert wanted <= listed_dags(scale)
    pools = {pool["name"] for pool in scale.client.airflow("GET", "pools", params={"limit": 100})["pools"]}
    assert {names.pool_name(case.name, case.version) for case in CASES.values()} <= pools


def listed_dags(scale: Scale) -> set[str]:
    """Return the DAGs that Airflow's list has."""
    page = scale.client.airflow("GET", "dags", params={"limit": 100, "tags": "scale"})
    assert page["total_entries"] == len(page["dags"])
    return {dag["dag_id"] for dag in page["dags"]}
