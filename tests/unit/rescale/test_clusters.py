# SPDX-License-Identifier: Apache-2.0
"""The job that a quasi-persistent cluster is: its name, and when its command ends."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scale_airflow.rescale.clusters import cluster_name, head_node, is_cluster, waiting_command
from scale_airflow.rescale.models import Instance
from scale_airflow.rescale.submission import Marker


def test_without_a_bound_of_idleness_it_sleeps_for_its_walltime() -> None:
    assert waiting_command(3, None) == "sleep 10800"


def test_a_cluster_that_nobody_uses_ends(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-c", waiting_command(1, 1 / 60)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "Nobody used this cluster for 1 seconds" in done.stdout


@pytest.mark.parametrize("arguments", [(0,), (-1, None), (1, 0), (1, -5), (float("nan"),)])
def test_a_bound_must_be_one(arguments: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        waiting_command(*arguments)


def test_a_cluster_is_known_by_its_name_however_long() -> None:
    marker = Marker.of("dag", "run", "task", -1, None)
    assert is_cluster(marker.name(cluster_name("x" * 500)))
    assert marker.payload_of(marker.name(cluster_name("x" * 500))) == marker.payload
    assert not is_cluster("wing")
    assert not is_cluster(None)


def test_commands_run_on_the_head_node() -> None:
    workers = [Instance("10.0.0.1", 22, "user", "MPI_SLAVE"), Instance("", 22, "user", "MPI_MASTER")]
    head = Instance("10.0.0.2", 2222, "user", "MPI_MASTER")
    assert head_node(workers) is None
    assert head_node([*workers, head]) is head
