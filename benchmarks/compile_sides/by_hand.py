# SPDX-License-Identifier: Apache-2.0
"""The hand-written side: a loop over a Python literal, with Airflow's own DockerOperator and no checks."""

from __future__ import annotations

import itertools
import json
import runpy
import sys
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import DAG
from timing import report_compile_times

DAGS = runpy.run_path(sys.argv[1])["DAGS"]


def compile_all(size: int) -> dict[str, Any]:
    """Build ``size`` DAGs; the literal is in memory already."""
    dags = {}
    for name, tasks in itertools.islice(DAGS.items(), size):
        with DAG(name, schedule=None, catchup=False, tags=["recipe"]) as dag:
            operators = {}
            for task_id, image, command, parents in tasks:
                operator = DockerOperator(
                    task_id=task_id,
                    image=image,
                    command=command,
                    mount_tmp_dir=False,
                    pool=task_id,
                    retries=3,
                )
                for parent in parents:
                    operators[parent] >> operator
                operators[task_id] = operator
        dags[name] = dag
    return dags


report_compile_times(json.loads(sys.argv[2]), compile_all)
