# SPDX-License-Identifier: Apache-2.0
"""What is asked of Rescale for an order: its job's body, and what is remembered of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.execution.fake_runtime import make_order

from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.backends.rescale_launch import Notes, body_of, marker_of, remote_of
from scale_airflow.execution.order import ExecutionOrder, KeptOutput, RemoteMark
from scale_airflow.rescale.models import CoreType
from scale_airflow.rescale.submission_steps import Memory

MARK = RemoteMark("0123456789abcdef", "2026-01-02T03:04:05+00:00", *2 * [KeptOutput(0, 0)])
OFFERED = [CoreType("emerald_max", cores=(4, 8, 16))]


def order(root: Path, block: dict[str, Any] | None = None, **changes: Any) -> ExecutionOrder:
    configuration = {"remote": {"type": "rescale", **(block or {})}}
    values = {"backend": "rescale", "remote": MARK, "configuration": configuration, **changes}
    return make_order(root, "run", **values)


def body(order: ExecutionOrder, *files: str) -> dict[str, Any]:
    return body_of(order, remote_of(order), "true", files, marker_of(order, None), OFFERED)


def hardware(order: ExecutionOrder) -> dict[str, Any]:
    return dict(body(order)["jobanalyses"][0]["hardware"])


def test_a_whole_body(tmp_path: Path) -> None:
    remote = {
        "analysis": {"code": "openfoam", "version": "v2206"},
        "hardware": {"coreType": "emerald_max", "coresPerSlot": 5, "slots": 3, "walltime": 7},
        "project": "P1",
        "low_priority": True,
    }
    made = body(order(tmp_path, remote), "a", "b", "a")
    name = made.pop("name")
    assert name.startswith("my job 1.0, job 3 of Scale [airflow-0123456789abcdef-")
    assert made == {
        "isLowPriority": True,
        "projectId": "P1",
        "jobanalyses": [
            {
                "analysis": {"code": "openfoam", "version": "v2206"},
                "command": "true",
                "hardware": {"coreType": "emerald_max", "coresPerSlot": 5, "slots": 3, "walltime": 7},
                "inputFiles": [{"id": "a", "decompress": False}, {"id": "b", "decompress": False}],
            }
        ],
    }


def test_what_is_not_said_follows_from_the_job_type(tmp_path: Path) -> None:
    assert hardware(order(tmp_path, cpus=0.25, mem_mib=1000.0, timeout=3601)) == {
        "coreType": "cheapest",
        "coresPerSlot": 1,
        "slots": 1,
        "walltime": 2,
        "memory": 1049,
    }
    made = body(order(tmp_path))
    assert made["jobanalyses"][0]["analysis"] == {"code": "user_included"}
    assert "projectId" not in made
    assert made["isLowPriority"] is False


@pytest.mark.parametrize(("cpus", "cores"), [(0.5, 4), (4.0, 4), (4.5, 8), (17.0, 17)])
def test_cores_are_raised_to_what_there_is(tmp_path: Path, cpus: float, cores: int) -> None:
    """More than there is goes to Rescale as it is, which says what there is."""
    found = hardware(order(tmp_path, {"hardware": {"coreType": "emerald_max"}}, cpus=cpus))
    assert found["coresPerSlot"] == cores
    assert "memory" not in found


def test_a_configuration_without_a_place(tmp_path: Path) -> None:
    for changes in ({"configuration": {}}, {"remote": None}):
        with pytest.raises(ExecutionFailure, match="no longer says how its jobs run on Rescale"):
            remote_of(order(tmp_path, **changes))


def test_drafts_of_other_settings_are_told_apart(tmp_path: Path) -> None:
    one, other = (marker_of(order(tmp_path), payload) for payload in ("one", "other"))
    assert one.key == other.key == MARK.marker
    assert one.payload != other.payload


def test_notes_survive_and_wrong_ones_are_none(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "remote.json")
    assert notes.recall() is None
    notes.remember(Memory("abc", failed="gone"))
    assert notes.recall() == Memory("abc", failed="gone")
    notes.path.write_text('{"job_id"')
    assert notes.recall() is None
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["remote.json"]
