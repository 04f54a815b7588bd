# SPDX-License-Identifier: Apache-2.0
"""The hook against the emulator: a directory is sent, a job reads it, its results come back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scale_airflow.errors import RescaleCostRefused, RescaleRefused
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.rescale.emulator.process import EmulatorProcess


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RescaleHook]:
    with EmulatorProcess(tmp_path / "root") as emulator:
        connection = {
            "conn_type": "rescale",
            "host": emulator.base_url,
            "password": emulator.api_key,
            "extra": json.dumps({"max_concurrency": 2}),
        }
        monkeypatch.setenv("AIRFLOW_CONN_RESCALE_DEFAULT", json.dumps(connection))
        made = RescaleHook()
        yield made
        made.close()


def test_a_directory_there_and_results_back(hook: RescaleHook, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "numbers.txt").write_text("3\n1\n2\n")
    archive = hook.upload_file(inputs)
    assert hook.upload_file(inputs).id == archive.id
    body = {
        "name": "sort",
        "jobanalyses": [
            {
                "analysis": {"code": "user_included", "version": "0"},
                "command": "sort numbers.txt > sorted.txt",
                "hardware": {"coreType": "cheapest", "coresPerSlot": 2, "walltime": 1},
                "inputFiles": [{"id": archive.id}],
            }
        ],
    }
    with pytest.raises(RescaleCostRefused):
        hook.price_job(body, max_cost="0.01")
    job = hook.create_job(hook.price_job(body, max_cost=1).body)
    hook.submit_job(job.id)
    give_up = time.monotonic() + 30
    while "Completed" not in {row.status for row in hook.job_statuses(job.id)}:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    (result,) = hook.download_files(hook.job_files(job.id, "sorted"), tmp_path / "out")
    assert result.path.read_text() == "1\n2\n3\n"
    with pytest.raises(RescaleRefused, match="not made it"):
        hook.change_job(job.id, {"name": "too late"})
    works, text = hook.test_connection()
    assert works
    assert "demo@example.com" in text
