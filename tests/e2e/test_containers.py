# SPDX-License-Identifier: Apache-2.0
"""The same file, the same configuration, the same products: with every job in a container."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from docker_engine import Engine, docker_engine

from demo import engine as demo_engine
from demo import pipeline, verification
from demo.installation import Installation
from tests.e2e.system import Scale, eventually, first_scene, running_installation

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """A Docker engine."""
    with docker_engine() as running:
        yield running


@pytest.fixture(scope="module")
def containers(engine: Engine) -> Iterator[Installation]:
    """An installation whose jobs run in containers of an image that is made from what the machine has."""
    options = demo_engine.scale_options(engine.url, from_host_only=True)
    yield from running_installation(options)


@pytest.fixture(scope="module")
def scene(containers: Installation) -> dict[str, Any]:
    """The example's recipe, finished, and its source file."""
    return first_scene(Scale(containers))


def test_every_product_is_right(containers: Installation, scene: dict[str, Any]) -> None:
    assert {entry["job"]["status"] for entry in scene["recipe"]["jobs"]} == {"COMPLETED"}
    assert verification.faults(containers, scene["jobs"]) == []


def test_the_jobs_ran_in_containers(containers: Installation, scene: dict[str, Any]) -> None:
    for job_id in scene["jobs"]:
        job = containers.client.get(f"jobs/{job_id}/")
        execution = containers.client.get(f"job-executions/{job['job_exes'][0]['id']}/")
        assert "scale-airflow/terrain:1.0.0" in str(execution["environment"])
        assert execution["job_exit_code"] == 0


def test_the_container_s_output_is_in_the_logs(containers: Installation, scene: dict[str, Any]) -> None:
    first = next(e["job"] for e in scene["recipe"]["jobs"] if e["job_name"] == "unpack-scene")
    job = containers.client.get(f"jobs/{first['id']}/")
    logs = containers.client.get(f"job-executions/{job['job_exes'][0]['id']}/logs/")
    assert "unpacked jacksboro.zip: 403 x 344 cells" in logs["stdout"]


def test_bad_data_fails_in_a_container_as_it_does_outside(containers: Installation) -> None:
    scale = Scale(containers)
    ingest = scale.drop("broken.zip", pipeline.scene_bytes(broken=True))
    recipe = scale.finished_recipe(scale.recipe_of(ingest["source_file"]["id"])["id"])
    failed = next(e["job"] for e in recipe["jobs"] if e["job_name"] == "unpack-scene")
    job = scale.client.get(f"jobs/{failed['id']}/")
    assert (job["status"], job["error"]["name"]) == ("FAILED", "terrain-bad-archive")


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
    "time.sleep(3600)"
)


def test_a_container_that_ignores_sigterm_is_gone_after_its_cancel(
    engine: Engine, containers: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = Scale(containers)
    interface = {"version": "1.0", "command": "python3", "command_arguments": f'-c "{STUBBORN}"'}
    made = scale.client.post(
        "job-types/",
        {
            **{"name": "stubborn", "version": "1.0", "interface": interface, "max_tries": 1},
            "docker_image": "scale-airflow/terrain:1.0.0",
        },
    )
    job = scale.client.post("queue/new-job/", {"job_type_id": made["id"], "job_data": {"version": "1.0"}})
    (execution,) = job["job_exes"]
    client = engine.client()

    def mine() -> list[Any]:
        return list(client.containers(all=True, filters={"label": f"scale.execution={execution['id']}"}))

    def is_up() -> bool:
        return "up" in scale.client.get(f"job-executions/{execution['id']}/logs/")["stdout"]

    try:
        eventually(is_up, "output of the container")
        assert mine()
        start = time.monotonic()
        canceled = scale.client.patch(f"jobs/{job['id']}/", {"status": "CANCELED"})
        eventually(lambda: not mine(), "end of the container")
        seconds = time.monotonic() - start
    finally:
        client.close()
    with capsys.disabled():
        print(f"\nA container that ignores SIGTERM was gone {seconds:.1f} s after its cancel.")
    assert [each["status"] for each in canceled["job_exes"]] == ["CANCELED"]
    assert scale.client.get(f"jobs/{job['id']}/")["status"] == "CANCELED"


def test_no_container_is_left_behind(engine: Engine, scene: dict[str, Any]) -> None:
    assert scene
    client = engine.client()
    try:
        eventually(lambda: not client.containers(all=True), "engine without containers", 60)
    finally:
        client.close()
