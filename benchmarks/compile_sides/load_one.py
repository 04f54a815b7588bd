# SPDX-License-Identifier: Apache-2.0
"""A worker's side: load the one DAG of a task, among few and among many, by Airflow's own task runner.

Each round loads another DAG of each directory, in turn, so neither side profits from what the other left in
a cache. Measured is what a task process does with its bundle before the task's own code: our bundle's
``initialize`` and the parse of its file.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path

import structlog
from airflow.sdk.api.datamodels._generated import (
    BundleInfo,
    DagRun,
    DagRunState,
    DagRunType,
    TIRunContext,
)
from airflow.sdk.execution_time.comms import StartupDetails
from airflow.sdk.execution_time.task_runner import TaskInstance, parse

from scale_airflow.compiler.bundle import version_of_file
from scale_airflow.compiler.local_files import LocalDagFiles

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
# What the supervisor passes to a task's process; its silence keeps the log out of the time.
LOG = structlog.get_logger().bind()


def startup(bundle: str, file_name: str) -> StartupDetails:
    """Return what the supervisor tells a task's process: the run, the task, the bundle and the file."""
    dag_id = file_name.rsplit(".", 2)[0]
    run = DagRun(
        dag_id=dag_id,
        run_id="scale-recipe-1",
        logical_date=None,
        data_interval_start=None,
        data_interval_end=None,
        run_after=NOW,
        start_date=NOW,
        end_date=None,
        run_type=DagRunType.MANUAL,
        state=DagRunState.RUNNING,
        consumed_asset_events=[],
        partition_key=None,
    )
    return StartupDetails(
        ti=TaskInstance(
            id=uuid.UUID(int=1),
            task_id="report",
            dag_id=dag_id,
            run_id=run.run_id,
            try_number=1,
            dag_version_id=uuid.UUID(int=2),
        ),
        dag_rel_path=LocalDagFiles.relative_path_of(file_name),
        bundle_info=BundleInfo(name=bundle, version=version_of_file(file_name)),
        start_date=NOW,
        ti_context=TIRunContext(dag_run=run, max_tries=0),
        sentry_integration="",
    )


def load(details: StartupDetails) -> float:
    """Load one DAG and return the milliseconds it took."""
    start = time.perf_counter()
    loaded = parse(details, LOG)
    took = (time.perf_counter() - start) * 1000
    if loaded.task.task_id != "report":
        raise SystemExit(f"The task runner found {loaded.task}")
    return took


def main() -> None:
    """Load from each directory in turn, print the median milliseconds by directory."""
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
    directories = {name: Path(path) for name, path in json.loads(sys.argv[1]).items()}
    rounds = int(sys.argv[2])
    files = {name: list(LocalDagFiles(path).all_files()) for name, path in directories.items()}
    times: dict[str, list[float]] = {name: [] for name in files}
    for number in range(-5, rounds):  # the first few only warm up
        gc.collect()
        order = sorted(files) if number % 2 else sorted(files, reverse=True)
        for name in order:
            took = load(startup(name, files[name][number % len(files[name])]))
            if number >= 0:
                times[name].append(took)
    print(json.dumps({name: statistics.median(taken) for name, taken in times.items()}))


main()
