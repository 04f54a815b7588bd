# SPDX-License-Identifier: Apache-2.0
"""What the tests do again and again with a running installation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from demo import pipeline
from demo.installation import Installation

T = TypeVar("T")
ENDED = ("COMPLETED", "FAILED", "CANCELED")


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
