# SPDX-License-Identifier: Apache-2.0
"""A whole Airflow with Scale, started as the demo starts it, in a temporary folder and on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import pipeline, processes
from demo.installation import Installation
from tests.e2e.system import Scale, eventually

CHECKOUT = Path(__file__).resolve().parents[2]
_running: list[Installation] = []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def running_installation(scale: dict[str, str]) -> Iterator[Installation]:
    """Start an installation with users' DAG files in it, and remove it afterwards."""
    root = Path(tempfile.mkdtemp(prefix="scale-e2e-"))
    root.chmod(0o711)
    installation = Installation(root / "i", free_port())
    installation.claim()
    try:
        for file in (CHECKOUT / "dags").glob("terrain_recipe.*"):
            shutil.copy(file, installation.dags)
        installation.prepare(pipeline.SETUP, scale=scale)
        installation.start()
        _running.append(installation)
        yield installation
    finally:
        if installation in _running:
            _running.remove(installation)
        keep_logs(installation)
        installation.remove()
        shutil.rmtree(root, ignore_errors=True)


def keep_logs(installation: Installation) -> None:
    """Copy the processes' logs where a continuous integration can pick them up, if it says where."""
    target = os.environ.get("SCALE_TEST_LOGS")
    if target:
        shutil.copytree(installation.logs, Path(target) / str(installation.port), dirs_exist_ok=True)


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """An installation whose jobs run as processes."""
    yield from running_installation({})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show with a failure what went wrong in the processes."""
    report: Any = yield
    if report.failed:
        for each in _running:
            for log in sorted(each.logs.glob("*.log")):
                lines = [line for line in processes.tail(log, 400).splitlines() if _is_trouble(line)]
                if lines:
                    report.sections.append((log.name, "\n".join(line[:400] for line in lines[-15:])))
    return report


def _is_trouble(line: str) -> bool:
    return any(
        word in line
        for word in ("[error", "[critical", "Traceback", "Error:", " ended with -", " ended with 1")
    )


@pytest.fixture(scope="session")
def scale(installation: Installation) -> Scale:
    """What tests do with the installation."""
    return Scale(installation)


@pytest.fixture(scope="session")
def terrain(scale: Scale) -> dict[str, Any]:
    """The example's recipe, finished, and its source file."""
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
