# SPDX-License-Identifier: Apache-2.0
"""Work stays on the revision that it was queued with: while its types are edited, and when it is cleared."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from scale_airflow.compiler.names import recipe_dag_id, recipe_run_id
from tests.e2e.small_jobs import SmallJobs, log_of, text_of
from tests.e2e.system import Scale, eventually

FIRST, LATER, RECIPE = ("says first", "1.0"), ("says later", "1.0"), ("revised", "1.0")
OLD_DAG = recipe_dag_id(*RECIPE, 1)
# What the tick of the API server does once a minute.
_HIDE_OLD_REVISIONS = """
from scale_airflow.services.housekeeping import hide_old_revisions
from scale_airflow.store.session import transaction
with transaction() as session:
    hide_old_revisions(session)
"""


@dataclass
class History:
    """Recipes by what they did when their types were edited: queued, running, failing; and a later one."""

    jobs: SmallJobs
    recipes: dict[str, int]


def definition(*, with_fourth: bool) -> dict[str, Any]:
    """Return the recipe: each job after the one before."""
    jobs = [
        SmallJobs.job("first", FIRST, "first_gate"),
        SmallJobs.job("second", LATER, "second_gate", after="first"),
        SmallJobs.job("third", LATER, "open_gate", after="second"),
    ]
    if with_fourth:
        jobs.append(SmallJobs.job("fourth", LATER, "open_gate", after="third"))
    inputs = [{"name": name, "type": "property"} for name in ("first_gate", "second_gate", "open_gate")]
    return {"version": "1.0", "input_data": inputs, "jobs": jobs}


@pytest.fixture(scope="module")
def history(scale: Scale) -> History:
    """Recipes that were queued before, and ran during, an edit of all their types; and one after it."""
    jobs = SmallJobs(scale.installation.folder / "revisions")
    jobs.gate("open").open()
    client = scale.client
    types = {
        name: client.post("job-types/", jobs.job_type(*name, jobs.interface("one", takes_file=name == LATER)))
        for name in (FIRST, LATER)
    }
    document = {"name": RECIPE[0], "version": RECIPE[1], "definition": definition(with_fourth=False)}
    recipe_type = client.post("recipe-types/", document)
    assert recipe_type["revision_num"] == 1

    def queue(first_gate: str, second_gate: str) -> int:
        gates = {"first_gate": first_gate, "second_gate": second_gate, "open_gate": "open"}
        data = {
            "version": "1.0",
            "input_data": [
                {"name": name, "value": str(jobs.gate(gate).path)} for name, gate in gates.items()
            ],
            "workspace_id": scale.workspace_id("products"),
        }
        made = client.post("queue/new-recipe/", {"recipe_type_id": recipe_type["id"], "recipe_data": data})
        return int(made["id"])

    running = {"running": queue("edit", "open"), "failing": queue("edit", "failing")}
    for recipe_id in running.values():
        eventually(
            lambda at=recipe_id: job_of(scale, at, "first")["status"] == "RUNNING",  # type: ignore[misc]
            f"running first job of recipe {recipe_id}",
        )
    client.patch(f"job-types/{types[FIRST]['id']}/", {"is_paused": True})
    queued = queue("open", "open")

    # Now all of it is edited: the arguments of both job types, and the recipe's jobs.
    for name, made in types.items():
        interface = jobs.interface("two", takes_file=name == LATER)
        edited = client.patch(f"job-types/{made['id']}/", {"interface": interface})
        assert edited["revision_num"] == 2
    edited = client.patch(f"recipe-types/{recipe_type['id']}/", {"definition": definition(with_fourth=True)})
    assert edited["revision_num"] == 2

    assert job_of(scale, queued, "first")["status"] == "QUEUED"
    with pytest.raises(requests.HTTPError, match="404"):
        run_of(scale, queued)  # Airflow has not heard of it yet
    for recipe_id in running.values():
        assert job_of(scale, recipe_id, "first")["status"] == "RUNNING"

    client.patch(f"job-types/{types[FIRST]['id']}/", {"is_paused": False})
    jobs.gate("edit").open()
    jobs.gate("failing").open("fail")
    later = queue("open", "open")
    recipes = {**running, "queued": queued, "later": later}
    for recipe_id in recipes.values():
        scale.finished_recipe(recipe_id)
    return History(jobs, recipes)


def job_of(scale: Scale, recipe_id: int, name: str) -> dict[str, Any]:
    """Return the details of a recipe's job."""
    jobs = {
        entry["job_name"]: entry["job"]["id"] for entry in scale.client.get(f"recipes/{recipe_id}/")["jobs"]
    }
    return dict(scale.client.get(f"jobs/{jobs[name]}/"))


def jobs_of(scale: Scale, recipe_id: int) -> dict[str, dict[str, Any]]:
    """Return the details of a recipe's jobs."""
    recipe = scale.client.get(f"recipes/{recipe_id}/")
    return {entry["job_name"]: scale.client.get(f"jobs/{entry['job']['id']}/") for entry in recipe["jobs"]}


def run_of(scale: Scale, recipe_id: int) -> dict[str, Any]:
    """Return a recipe's run of the old revision in Airflow."""
    return dict(scale.client.airflow("GET", f"dags/{OLD_DAG}/dagRuns/{recipe_run_id(recipe_id)}"))


def tasks_of(scale: Scale, recipe_id: int) -> dict[str, tuple[str, int]]:
    """Return the state and the number of tries of the tasks of a recipe's run of the old revision."""
    path = f"dags/{OLD_DAG}/dagRuns/{recipe_run_id(recipe_id)}/taskInstances"
    tasks = scale.client.airflow("GET", path)["task_instances"]
    return {task["task_id"]: (task["state"], task["try_number"]) for task in tasks}


def is_hidden(scale: Scale) -> bool:
    """Say whether Airflow's lists lack the DAG of the old revision."""
    return bool(scale.client.airflow("GET", f"dags/{OLD_DAG}")["is_stale"])


def clear(scale: Scale, recipe_id: int, *task_ids: str) -> None:
    """Clear tasks of a run as a user does; all of them if none is named."""
    wish: dict[str, Any] = {"dry_run": False, "only_failed": False, "dag_run_id": recipe_run_id(recipe_id)}
    if task_ids:
        wish["task_ids"] = list(task_ids)
    cleared = scale.client.airflow("POST", f"dags/{OLD_DAG}/clearTaskInstances", json=wish)
    assert cleared["total_entries"] == (len(task_ids) or 3)


@pytest.mark.parametrize(
    ("which", "revision", "said"),
    [
        ("queued", 1, {"first": ["one"], "second": ["one"] * 2, "third": ["one"] * 3}),
        ("running", 1, {"first": ["one"], "second": ["one"] * 2, "third": ["one"] * 3}),
        (
            "later",
            2,
            {"first": ["two"], "second": ["two"] * 2, "third": ["two"] * 3, "fourth": ["two"] * 4},
        ),
    ],
)
def test_a_recipe_ends_on_the_revision_that_it_was_queued_with(
    which: str, revision: int, said: dict[str, list[str]], scale: Scale, history: History
) -> None:
    recipe = scale.client.get(f"recipes/{history.recipes[which]}/")
    assert recipe["recipe_type_rev"]["revision_num"] == revision
    assert recipe["completed"] is not None
    jobs = jobs_of(scale, recipe["id"])
    assert {name: job["status"] for name, job in jobs.items()} == dict.fromkeys(said, "COMPLETED")
    assert {job["job_type_rev"]["revision_num"] for job in jobs.values()} == {revision}
    assert {name: text_of(scale, job["id"]).split() for name, job in jobs.items()} == said


@dataclass
class Cleared:
    """The recipes that were cleared, and how often each task of the completed one had been tried before."""

    completed: int
    failed: int
    tries: dict[str, int]


@pytest.fixture(scope="module")
def cleared(scale: Scale, history: History) -> Cleared:
    """Two of the recipes, cleared in Airflow when it had long hidden their DAG."""
    completed, failed = history.recipes["running"], history.recipes["failing"]
    before = {name: job["status"] for name, job in jobs_of(scale, failed).items()}
    assert before == {"first": "COMPLETED", "second": "FAILED", "third": "BLOCKED"}
    for recipe_id in set(history.recipes.values()) - {history.recipes["later"]}:
        eventually(
            lambda at=recipe_id: run_of(scale, at)["state"] in ("success", "failed"),  # type: ignore[misc]
            f"end of the run of recipe {recipe_id}",
            30,
        )
    subprocess.run(
        [sys.executable, "-c", _HIDE_OLD_REVISIONS],
        env=scale.installation.environment,
        cwd=scale.installation.folder,
        check=True,
        capture_output=True,
    )
    assert is_hidden(scale)
    history.jobs.gate("failing").open()
    tries = {name: number for name, (_, number) in tasks_of(scale, completed).items()}
    clear(scale, failed, "second")  # not those after it: Scale knows that they follow
    clear(scale, completed)
    return Cleared(completed, failed, tries)


def test_a_failed_recipe_that_is_cleared_runs_again_on_its_revision(scale: Scale, cleared: Cleared) -> None:
    failed = cleared.failed
    recipe = eventually(
        lambda: next(
            (found for found in [scale.client.get(f"recipes/{failed}/")] if found["completed"]), None
        ),
        "completion of the recipe that was cleared",
        60,
    )
    assert recipe["recipe_type_rev"]["revision_num"] == 1
    jobs = jobs_of(scale, failed)
    assert {name: (job["status"], job["num_exes"]) for name, job in jobs.items()} == {
        "first": ("COMPLETED", 1),
        "second": ("COMPLETED", 2),
        "third": ("COMPLETED", 1),
    }
    assert {job["job_type_rev"]["revision_num"] for job in jobs.values()} == {1}
    assert [exe["status"] for exe in jobs["second"]["job_exes"]] == ["COMPLETED", "FAILED"]
    assert text_of(scale, jobs["third"]["id"]).split() == ["one"] * 3
    eventually(lambda: run_of(scale, failed)["state"] == "success", "success of the cleared run", 30)
    assert {name: state for name, (state, _) in tasks_of(scale, failed).items()} == dict.fromkeys(
        jobs, "success"
    )
    assert "says one" in log_of(scale, OLD_DAG, recipe_run_id(failed), "second")


def test_a_completed_recipe_that_is_cleared_is_over_at_once(scale: Scale, cleared: Cleared) -> None:
    recipe_id = cleared.completed

    def is_over() -> bool:
        tasks = tasks_of(scale, recipe_id)
        return run_of(scale, recipe_id)["state"] == "success" and all(
            state == "success" and number > cleared.tries[name] for name, (state, number) in tasks.items()
        )

    eventually(is_over, "success of the second look at a completed recipe", 60)
    jobs = jobs_of(scale, recipe_id)
    assert {(job["status"], job["num_exes"]) for job in jobs.values()} == {("COMPLETED", 1)}
    assert text_of(scale, jobs["third"]["id"]).split() == ["one"] * 3
    assert "COMPLETED already" in log_of(scale, OLD_DAG, recipe_run_id(recipe_id), "third")
