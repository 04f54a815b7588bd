# SPDX-License-Identifier: Apache-2.0
"""Jobs that run until a test lets them go, or that can't be had."""

from __future__ import annotations

from airflow.sdk import DAG

from scale_airflow.operators.rescale import RescaleSubmitJobOperator
from scale_airflow.operators.rescale_cluster import rescale_cluster

HARDWARE = {
    "analysis": "user_included:0",
    "core_type": "granite",
    "cores_per_slot": 2,
    "walltime": 1,
    "polling_interval": 1,
}

with DAG("rescale_held", schedule=None):
    RescaleSubmitJobOperator(
        task_id="held",
        name="held",
        command="echo holding; until [ -e {{ params.go }} ]; do sleep 0.2; done; echo let go",
        params={"go": "/nowhere"},
        deferrable=True,
        **HARDWARE,
    )

with (
    DAG("rescale_broken_cluster", schedule=None),
    rescale_cluster(
        "broken", core_type="granite", cores=2, walltime=1, deferrable=True, polling_interval=1
    ) as cluster,
):
    cluster.command("fails", "echo before; exit 4", deferrable=False)

with (
    DAG("rescale_held_cluster", schedule=None),
    rescale_cluster(
        "held", core_type="granite", cores=2, walltime=1, deferrable=True, polling_interval=1
    ) as held_cluster,
):
    held_cluster.command("sleeps", "sleep 600")

with (
    DAG("rescale_foreign_cluster", schedule=None),
    rescale_cluster(
        "foreign",
        core_type="granite",
        cores=2,
        walltime=1,
        polling_interval=1,
        rescale_conn_id="rescale_foreign",
    ) as foreign_cluster,
):
    foreign_cluster.command("never", "true")
