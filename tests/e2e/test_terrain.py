# SPDX-License-Identifier: Apache-2.0
"""A file lands, jobs run, products appear: compared with the elevation model and the configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demo import pipeline, verification
from tests.e2e import elevation_model
from tests.e2e.system import Scale, eventually

RECIPE_JOBS = ["detect-points", "hillshade", "make-geotiff", "statistics", "unpack-scene"]


@pytest.fixture(scope="module")
def products(scale: Scale, terrain: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The products by job type and media type."""
    rows = [row for row in scale.client.everything("products/") if row["job"]["id"] in terrain["jobs"]]
    assert len(rows) == 7
    return {(row["job_type"]["name"], row["media_type"]): row for row in rows}


@pytest.fixture(scope="module")
def model() -> elevation_model.Model:
    """The elevation model."""
    return elevation_model.Model()


def test_the_file_is_ingested_as_the_strike_process_says(scale: Scale, terrain: dict[str, Any]) -> None:
    source = terrain["source"]
    ingest = scale.client.get(f"ingests/{terrain['ingest']['id']}/")
    assert ingest["status"] == "INGESTED"
    assert ingest["data_type"] == ["dem"]
    assert source["workspace"]["name"] == "raw"
    stored = scale.installation.data / "raw" / ingest["file_path"]
    assert stored.read_bytes() == pipeline.scene_bytes()
    assert ingest["file_path"].startswith("terrain/")
    assert source["uuid"] == elevation_model.source_uuid("raw", ingest["file_path"])
    assert not (scale.installation.incoming / pipeline.SCENE).exists()
    assert list((scale.installation.incoming / "ingesting").rglob(pipeline.SCENE)) == []


def test_the_source_is_parsed(scale: Scale, terrain: dict[str, Any], model: elevation_model.Model) -> None:
    (source,) = scale.client.get("sources/", file_name=pipeline.SCENE)["results"]
    assert source["is_parsed"]
    assert sorted(source["data_type"]) == ["dem", "terrain"]
    assert elevation_model.corners_of(source["geometry"]) == model.corners
    assert (source["data_started"], source["data_ended"]) == ("2000-02-11T00:00:00Z", "2000-02-22T23:59:59Z")


def test_the_recipe_is_complete(terrain: dict[str, Any]) -> None:
    recipe = terrain["recipe"]
    assert sorted(entry["job_name"] for entry in recipe["jobs"]) == RECIPE_JOBS
    assert {entry["job"]["status"] for entry in recipe["jobs"]} == {"COMPLETED"}
    assert {entry["job"]["num_exes"] for entry in recipe["jobs"]} == {1}
    assert recipe["completed"] is not None


def test_every_product_is_right(scale: Scale, terrain: dict[str, Any]) -> None:
    assert verification.faults(scale.installation, terrain["jobs"]) == []


def test_the_highest_summit_is_the_models(
    scale: Scale, products: dict[tuple[str, str], dict[str, Any]], model: elevation_model.Model
) -> None:
    url = products["detect-points", "application/vnd.geo+json"]["url"]
    answer = scale.client.request("GET", url.removeprefix(scale.installation.url))
    highest = max(answer.json()["features"], key=lambda feature: feature["geometry"]["coordinates"][2])
    longitude, latitude, elevation = highest["geometry"]["coordinates"]
    assert elevation == model.highest[2]
    assert abs(longitude - model.highest[0]) <= model.cell[0]
    assert abs(latitude - model.highest[1]) <= model.cell[1]


def test_geometry_is_the_models(
    products: dict[tuple[str, str], dict[str, Any]], model: elevation_model.Model
) -> None:
    for (job_type, _), product in products.items():
        if job_type == "statistics":
            # Registered by an ARTIFACT line, which can't carry a footprint.
            assert product["geometry"] is None
            continue
        assert elevation_model.corners_of(product["geometry"]) == model.corners, job_type
        middle = elevation_model.point_of(product["center_point"])
        wanted = ((model.west + model.east) / 2, (model.south + model.north) / 2)
        assert middle == pytest.approx(wanted, abs=1e-6), job_type


def test_uuids_follow_from_what_made_them(
    terrain: dict[str, Any], products: dict[tuple[str, str], dict[str, Any]]
) -> None:
    uuids: dict[str, list[str]] = {}
    for (job_type, _), product in products.items():
        uuids.setdefault(job_type, []).append(product["uuid"])
    for (job_type, _), product in products.items():
        before = elevation_model.parents().get(job_type) or set()
        inputs = [uuid for name in before for uuid in uuids[name]] or [terrain["source"]["uuid"]]
        wanted = elevation_model.product_uuid(product["job_type"]["id"], product["file_name"], inputs)
        assert product["uuid"] == wanted, job_type


def test_every_product_stems_from_the_source(scale: Scale, terrain: dict[str, Any]) -> None:
    updates = [
        update
        for update in scale.client.everything("products/updates/")
        if update["job"]["id"] in terrain["jobs"]
    ]
    assert len(updates) == 7
    for update in updates:
        assert update["update"]["action"] == "PUBLISHED"
        assert [source["id"] for source in update["source_files"]] == [terrain["source"]["id"]]


def test_inputs_are_the_products_of_the_jobs_before(scale: Scale, terrain: dict[str, Any]) -> None:
    jobs = {entry["job_name"]: entry["job"]["id"] for entry in terrain["recipe"]["jobs"]}
    details = {name: scale.client.get(f"jobs/{number}/") for name, number in jobs.items()}
    for name, before in elevation_model.parents().items():
        made = {file["id"] for parent in before for file in details[parent]["products"]}
        wanted = made or {terrain["source"]["id"]}
        assert {file["id"] for file in details[name]["input_files"]} == wanted, name


def test_logs_hold_what_the_programs_wrote(scale: Scale, terrain: dict[str, Any]) -> None:
    said = {
        "unpack-scene": "unpacked jacksboro.zip: 403 x 344 cells",
        "detect-points": "found ",
        "statistics": "ARTIFACT:statistics:",
    }
    for entry in terrain["recipe"]["jobs"]:
        job = scale.client.get(f"jobs/{entry['job']['id']}/")
        (execution,) = job["job_exes"]
        logs = scale.client.get(f"job-executions/{execution['id']}/logs/")
        assert logs["is_finished"]
        assert said.get(entry["job_name"], "") in logs["stdout"]


def test_executions_say_how_and_where(scale: Scale, terrain: dict[str, Any]) -> None:
    job = scale.client.get(f"jobs/{terrain['recipe']['jobs'][0]['job']['id']}/")
    execution = scale.client.get(f"job-executions/{job['job_exes'][0]['id']}/")
    assert execution["status"] == "COMPLETED"
    assert execution["node"]["hostname"]
    moments = [
        execution[name]
        for name in (
            "queued",
            "started",
            "pre_started",
            "job_started",
            "job_completed",
            "post_completed",
            "ended",
        )
    ]
    assert None not in moments
    assert moments == sorted(moments)


def test_airflow_shows_the_recipes_run(scale: Scale, terrain: dict[str, Any]) -> None:
    from scale_airflow.compiler.names import recipe_dag_id, recipe_run_id

    dag_id = recipe_dag_id(*pipeline.RECIPE, 1)
    run_id = recipe_run_id(terrain["recipe"]["id"])
    run = eventually(
        lambda: next(
            (
                run
                for run in scale.client.airflow("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]
                if run["dag_run_id"] == run_id and run["state"] == "success"
            ),
            None,
        ),
        "successful run in Airflow",
        30,
    )
    tasks = scale.client.airflow("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
    assert sorted(task["task_display_name"] for task in tasks) == RECIPE_JOBS
    assert {task["state"] for task in tasks} == {"success"}
    source = scale.client.airflow("GET", f"dagSources/{dag_id}", headers={"Accept": "application/json"})
    assert '"recipe_input": "scene"' in source["content"]
    log = json.dumps(
        scale.client.airflow(
            "GET", f"dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances/unpack-scene/logs/1"
        )
    )
    assert "unpacked jacksboro.zip: 403 x 344 cells" in log


def test_nothing_is_left_in_the_queue_or_on_the_node(scale: Scale, terrain: dict[str, Any]) -> None:
    assert terrain
    assert scale.client.get("queue/status/")["queue_status"] == []
    work = scale.installation.folder / "work"
    eventually(lambda: not list(work.glob("**/job_exe_*")), "empty scratch folder", 60)


def test_the_same_file_again_is_a_duplicate(scale: Scale, terrain: dict[str, Any]) -> None:
    before = scale.client.get("recipes/")["count"]
    pipeline.drop(scale.installation, pipeline.SCENE)
    eventually(lambda: scale.client.get("ingests/", status="DUPLICATE")["results"], "duplicate")
    assert scale.client.get("recipes/")["count"] == before
