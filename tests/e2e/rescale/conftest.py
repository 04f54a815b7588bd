# SPDX-License-Identifier: Apache-2.0
"""Rescale's emulator beside the running Airflow, and the example's DAGs in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import requests

from demo.installation import Installation
from scale_airflow.rescale.emulator.process import AdminClient, EmulatorProcess
from tests.e2e.system import CHECKOUT, Scale, eventually

HERE = Path(__file__).parent
ENDED = ("success", "failed")


@dataclass(frozen=True)
class Rescale:
    """The emulator, and what a test does with Airflow's API beside it."""

    scale: Scale
    emulator: EmulatorProcess
    results: Path

    @property
    def admin(self) -> AdminClient:
        return self.emulator.admin

    @property
    def installation(self) -> Installation:
        return self.scale.installation

    def start(self, dag_id: str, **params: Any) -> str:
        """Start a run of a DAG as soon as Airflow knows it; return its id."""

        client = self.scale.client
        conf = {"results": str(self.results), **params}

        def started() -> str | None:
            try:
                client.airflow("PATCH", f"dags/{dag_id}", json={"is_paused": False})
                run = client.airflow(
                    "POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf}
                )
            except requests.HTTPError as error:
                # A DAG is listed before it can be run.
                if error.response is None or error.response.status_code != requests.codes.not_found:
                    raise
                return None
            return str(run["dag_run_id"])

        return eventually(started, f"DAG {dag_id}")

    def reached(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Wait until a task is in a state; fail at once, with its log, when it fails."""

        def look() -> bool:
            found = self.states(dag_id, run_id).get(task_id)
            if found == "failed" and state != "failed":
                pytest.fail(f"{task_id} failed: {self.log(dag_id, run_id, task_id)}")
            return found == state

        eventually(look, f"{task_id} {state}")

    def ended(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Wait for a run's end; return its tasks by their ids (mapped ones with their index)."""

        def look() -> str | None:
            state = self.scale.client.airflow("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"]
            return str(state) if state in ENDED else None

        eventually(look, f"end of the run of {dag_id}")
        return self.tasks(dag_id, run_id)

    def tasks(self, dag_id: str, run_id: str) -> dict[str, Any]:
        found = self.scale.client.airflow("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return {
            each["task_id"] + (f"[{each['map_index']}]" if each["map_index"] >= 0 else ""): each
            for each in found["task_instances"]
        }

    def states(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return {name: each["state"] for name, each in self.tasks(dag_id, run_id).items()}

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.scale.client.airflow("GET", path, params={"deserialize": True})["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        return str(self.scale.client.airflow("GET", path))

    def paid(self, marker: str) -> dict[str, int]:
        """Return how often each job was paid for whose name has ``marker`` in it."""
        return {job["id"]: job["paid_runs"] for job in self.admin.jobs() if marker in job["document"]["name"]}


@pytest.fixture(scope="session")
def rescale(scale: Scale, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rescale]:
    """The emulator, known to Airflow as ``rescale_default``, and the example as it is in ``dags/``.

    Through ``rescale_foreign`` its clusters can't be reached.
    """
    folder = tmp_path_factory.mktemp("rescale")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(folder / "key"))
    (folder / "authorized_keys").write_bytes(key.export_public_key())
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(folder / "foreign_key"))
    with EmulatorProcess(folder / "root", pace=0.1, authorized_keys=folder / "authorized_keys") as emulator:
        for name, file in (("rescale_default", "key"), ("rescale_foreign", "foreign_key")):
            connection = {
                "connection_id": name,
                "conn_type": "rescale",
                "host": emulator.base_url,
                "password": emulator.api_key,
                "extra": json.dumps({"ssh_key_file": str(folder / file)}),
            }
            scale.client.airflow("POST", "connections", json=connection)
        for file in [*(CHECKOUT / "dags").glob("rescale_*.py"), *(HERE / "dags").glob("*.py")]:
            shutil.copy(file, scale.installation.dags)
        yield Rescale(scale, emulator, folder / "results")
