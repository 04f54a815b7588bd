# SPDX-License-Identifier: Apache-2.0
"""The bare Airflow task: says when its first line runs, where it is told to."""

from __future__ import annotations

import os
import time

from airflow.sdk import DAG, get_current_context, task

with DAG(
    "bare",
    schedule=None,
    is_paused_upon_creation=False,
    max_active_runs=1_000_000,
    max_active_tasks=1_000_000,
):

    @task
    def bare() -> None:
        now = time.time_ns()
        mark = (get_current_context()["dag_run"].conf or {}).get("mark")
        if mark:
            with open(f"{mark}.new", "w") as file:
                file.write(str(now))
            os.rename(f"{mark}.new", mark)

    bare()
