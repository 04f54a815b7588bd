# SPDX-License-Identifier: Apache-2.0
"""The job that a quasi-persistent cluster is: what is sent, and when its command ends."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.errors import InvalidRequest
from scale_airflow.rescale.clusters import ClusterPlan, head_node, is_cluster
from scale_airflow.rescale.models import Instance


def plan(**changes: Any) -> ClusterPlan:
    return ClusterPlan(**{"name": "wing", "core_type": "emerald", "cores": 2, "walltime": 3, **changes})


def test_the_job_is_bounded_by_its_walltime() -> None:
    body = plan(economy=True, project_id="P", input_ids=["f"], variables={"A": "1"}).body()
    assert is_cluster(body["name"])
    assert body["isLowPriority"] is True
    assert body["projectId"] == "P"
    (analysis,) = body["jobanalyses"]
    assert analysis["hardware"] == {"coreType": "emerald", "coresPerSlot": 2, "slots": 1, "walltime": 3}
    assert analysis["analysis"] == {"code": "user_included", "version": "0"}
    assert analysis["inputFiles"] == [{"id": "f"}]
    assert analysis["envVars"] == {"A": "1"}


def test_without_a_bound_of_idleness_it_sleeps_for_its_walltime() -> None:
    (analysis,) = plan(idle_minutes=None).body()["jobanalyses"]
    assert analysis["command"] == "sleep 10800"


def test_a_cluster_that_nobody_uses_ends(tmp_path: Path) -> None:
    (analysis,) = plan(idle_minutes=1 / 60).body()["jobanalyses"]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-c", analysis["command"]],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "Nobody used this cluster for 1 seconds" in done.stdout


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        plan(cores=0, walltime="1", slots=True, idle_minutes=0, core_type="").body()
    assert [fault.path for fault in refused.value.faults] == [
        *("cores", "slots", "walltime"),
        *("idle_minutes", "core_type"),
    ]


def test_commands_run_on_the_head_node() -> None:
    workers = [Instance("10.0.0.1", 22, "user", "MPI_SLAVE"), Instance("", 22, "user", "MPI_MASTER")]
    head = Instance("10.0.0.2", 2222, "user", "MPI_MASTER")
    assert head_node(workers) is None
    assert head_node([*workers, head]) is head
