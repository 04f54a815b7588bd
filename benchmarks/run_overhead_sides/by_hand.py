# SPDX-License-Identifier: Apache-2.0
"""The DAG that somebody writes by hand: four containers, one after the other."""

from __future__ import annotations

import os

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import DAG

with DAG("by_hand", schedule=None, is_paused_upon_creation=False):
    before = None
    for name in ("first", "second", "third", "fourth"):
        task = DockerOperator(
            task_id=name,
            image=os.environ["SCALE_BENCH_IMAGE"],
            command=["true"],
            docker_url=os.environ["AIRFLOW__SCALE__DOCKER_URL"],
            network_mode="none",
            mem_limit="128m",
            mount_tmp_dir=False,
            auto_remove="success",
        )
        if before is not None:
            before >> task
        before = task
