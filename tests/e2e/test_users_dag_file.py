# SPDX-License-Identifier: Apache-2.0
"""A DAG file in a user's repository: its run, started by hand in Airflow, becomes a recipe of Scale's."""

from __future__ import annotations

from demo import pipeline
from tests.e2e.system import Scale, eventually

DAG_ID = "terrain"


def test_a_run_started_in_airflow_makes_products(scale: Scale) -> None:
    # A scene of its own: what the run makes takes the place of what the scene's own recipe made.
    source = scale.drop("by-hand.zip", pipeline.scene_bytes() + b"by hand")["source_file"]
    scale.finished_recipe(scale.recipe_of(source["id"])["id"])
    known = {recipe["id"] for recipe in scale.client.everything("recipes/")}
    revisions = scale.client.get(f"recipe-types/{scale.recipe_type_id('terrain')}/")["revision_num"]
    eventually(lambda: DAG_ID in dag_ids(scale), f"DAG {DAG_ID}")
    scale.client.airflow("PATCH", f"dags/{DAG_ID}", json={"is_paused": False})
    answers = {"scene": source["id"], "workspace_id": scale.workspace_id("products")}
    run = scale.client.airflow("POST", f"dags/{DAG_ID}/dagRuns", json={"logical_date": None, "conf": answers})

    def adopted() -> int | None:
        new = {recipe["id"] for recipe in scale.client.everything("recipes/")} - known
        return next(iter(new), None)

    recipe = scale.finished_recipe(eventually(adopted, "recipe of the run"))
    assert {entry["job"]["status"] for entry in recipe["jobs"]} == {"COMPLETED"}
    assert recipe["recipe_type"]["name"] == "terrain"
    assert recipe["data"]["input_data"] == [{"name": "scene", "file_id": source["id"]}]
    # The file holds the same definition, so it is the same revision.
    assert scale.client.get(f"recipe-types/{scale.recipe_type_id('terrain')}/")["revision_num"] == revisions
    eventually(lambda: run_state(scale, run["dag_run_id"]) == "success", "success of the run", 60)
    made = [
        product
        for product in scale.client.everything("products/")
        if product["job"]["id"] in {entry["job"]["id"] for entry in recipe["jobs"]}
    ]
    assert len(made) == 6


def test_a_run_with_wrong_answers_says_what_is_wrong(scale: Scale) -> None:
    before = scale.client.get("recipes/")["count"]
    eventually(lambda: DAG_ID in dag_ids(scale), f"DAG {DAG_ID}")
    scale.client.airflow("PATCH", f"dags/{DAG_ID}", json={"is_paused": False})
    run = scale.client.airflow(
        "POST", f"dags/{DAG_ID}/dagRuns", json={"logical_date": None, "conf": {"scene": 987654}}
    )
    eventually(lambda: run_state(scale, run["dag_run_id"]) == "failed", "failure of the run")
    path = f"dags/{DAG_ID}/dagRuns/{run['dag_run_id']}/taskInstances/unpack-scene/logs/1"
    assert "987654" in str(scale.client.airflow("GET", path))
    assert scale.client.get("recipes/")["count"] == before


def dag_ids(scale: Scale) -> set[str]:
    """Return the DAGs that Airflow shows."""
    return {dag["dag_id"] for dag in scale.client.airflow("GET", "dags")["dags"]}


def run_state(scale: Scale, run_id: str) -> str:
    """Return the state of a run."""
    return str(scale.client.airflow("GET", f"dags/{DAG_ID}/dagRuns/{run_id}")["state"])
