# SPDX-License-Identifier: Apache-2.0
"""What the tests do again and again with a running installation."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from demo import pipeline
from demo.installation import Installation
from demo.instances import is_free

T = TypeVar("T")
ENDED = ("COMPLETED", "FAILED", "CANCELED")


# The triggers of a killed triggerer go on after so many seconds. With one triggerer alone, none can lose its
# triggers to another by being slow.
OPTIONS = {"AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8"}
CHECKOUT = Path(__file__).resolve().parents[2]
RUNNING: list[Installation] = []


def free_port() -> int:
    """Return a port that nobody listens on, below those that the system gives to outgoing connections."""
    return next(port for port in iter(lambda: random.randrange(20_000, 32_000), None) if is_free(port))


def running_installation(scale: dict[str, str]) -> Iterator[Installation]:
    """Start an installation with users' DAG files in it, and remove it afterwards."""
    root = Path(tempfile.mkdtemp(prefix="scale-e2e-"))
    root.chmod(0o711)
    installation = Installation(root / "i", free_port())
    installation.claim()
    try:
        for file in (CHECKOUT / "dags").glob("terrain_recipe.*"):
            shutil.copy(file, installation.dags)
        installation.prepare(pipeline.SETUP, scale=scale, options=OPTIONS)
        installation.start()
        RUNNING.append(installation)
        yield installation
    finally:
        if installation in RUNNING:
            RUNNING.remove(installation)
        keep_logs(installation)
        installation.remove()
        shutil.rmtree(root, ignore_errors=True)


def keep_logs(installation: Installation) -> None:
    """Copy the processes' logs where a continuous integration can pick them up, if it says where."""
    target = os.environ.get("SCALE_TEST_LOGS")
    if target:
        shutil.copytree(installation.logs, Path(target) / str(installation.port), dirs_exist_ok=True)


def eventually(look: Callable[[], T | None], what: str, patience: float = 120) -> T:
    """Look again and again until there is something; fail with ``what`` is missing."""
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"After {patience:.0f} s there is still no {what}")
        time.sleep(0.2)


class Scale:
    """What the tests do again and again with an installation."""

    def __init__(self, installation: Installation):
        self.installation = installation
        self.client = installation.client

    def drop(self, name: str, content: bytes | None = None) -> dict[str, Any]:
        """Drop a file; return its ingest once it has left the state of being brought in."""
        pipeline.drop(self.installation, name, content)

        def look() -> dict[str, Any] | None:
            for ingest in self.client.everything("ingests/"):
                settled = ingest["status"] in ("INGESTED", "DEFERRED", "DUPLICATE", "ERRORED")
                if ingest["file_name"] == name and settled:
                    return ingest
            return None

        return eventually(look, f"settled ingest of {name}")

    def recipe_of(self, source_id: int) -> dict[str, Any]:
        """Return the recipe that was made for a source file."""

        def look() -> dict[str, Any] | None:
            for recipe in self.client.everything("recipes/"):
                details = self.client.get(f"recipes/{recipe['id']}/")
                if source_id in {entry.get("file_id") for entry in details["data"]["input_data"]}:
                    return dict(details)
            return None

        return eventually(look, f"recipe of the source file {source_id}")

    def finished_recipe(self, recipe_id: int) -> dict[str, Any]:
        """Wait until none of a recipe's jobs is on its way, and return its details."""

        def look() -> dict[str, Any] | None:
            recipe = self.client.get(f"recipes/{recipe_id}/")
            states = {entry["job"]["status"] for entry in recipe["jobs"]}
            return recipe if states <= {*ENDED, "BLOCKED"} else None

        return eventually(look, f"end of the recipe {recipe_id}", 240)

    def finished_job(self, job_id: int) -> dict[str, Any]:
        """Wait until a job has ended, and return its details."""

        def look() -> dict[str, Any] | None:
            job = self.client.get(f"jobs/{job_id}/")
            return job if job["status"] in ENDED else None

        return eventually(look, f"end of the job {job_id}")

    def job_type_id(self, name: str) -> int:
        """Return the id of a job type."""
        (found,) = self.client.get("job-types/", name=name)["results"]
        return int(found["id"])

    def workspace_id(self, name: str) -> int:
        """Return the id of a workspace."""
        found = {row["name"]: row["id"] for row in self.client.everything("workspaces/")}
        return int(found[name])

    def recipe_type_id(self, name: str) -> int:
        """Return the id of a recipe type."""
        found = {row["name"]: row["id"] for row in self.client.everything("recipe-types/")}
        return int(found[name])

    def command(self, *words: str) -> str:
        """Run ``airflow scale`` with these words, and return what it prints."""
        return self.installation.airflow(["scale", *words])


def first_scene(scale: Scale) -> dict[str, Any]:
    """Drop the example's scene and wait for all that becomes of it: its ingest, source, recipe and jobs."""
    ingest = scale.drop(pipeline.SCENE)
    source = ingest["source_file"]
    recipe = scale.finished_recipe(scale.recipe_of(source["id"])["id"])

    def outline() -> int | None:
        for job in scale.client.everything("jobs/", job_type_name="kml-footprint", status="COMPLETED"):
            details = scale.client.get(f"jobs/{job['id']}/")
            if [file["id"] for file in details["input_files"]] == [source["id"]]:
                return int(job["id"])
        return None

    jobs = {entry["job"]["id"] for entry in recipe["jobs"]} | {
        eventually(outline, "completed job kml-footprint")
    }
    return {"ingest": ingest, "source": source, "recipe": recipe, "jobs": jobs}
