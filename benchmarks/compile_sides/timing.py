# SPDX-License-Identifier: Apache-2.0
"""Takes the time of one side, alike on all sides; needs nothing but the standard library.

Taken is the processor's time: nothing here waits, and it does not count what else the machine is doing.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from typing import Any

# A small number of DAGs is compiled several times, so that each figure stands for enough work.
_LEAST_DAGS = 200


def report_compile_times(sizes: list[int], compile_all: Callable[[int], dict[str, Any]]) -> None:
    """Compile ``size`` DAGs for each size and print milliseconds a DAG, as JSON.

    :param compile_all: makes this many DAGs, all from their sources, and returns them by id.
    """
    compile_all(1)  # imports, and what is prepared once in the life of a process
    # What was imported is out of the collector's sight, as in the processes in which Airflow's DAG processor
    # parses files: else its rare full collections hit one side or the other by chance.
    gc.collect()
    gc.freeze()
    times: dict[int, list[float]] = {}
    for size in sizes:
        times[size] = []
        for _ in range(max(1, _LEAST_DAGS // size)):
            gc.collect()
            start = time.process_time()
            dags = compile_all(size)
            times[size].append((time.process_time() - start) * 1000 / size)
            _check(dags, size)
            del dags
    print(json.dumps(times))


def _check(dags: dict[str, Any], size: int) -> None:
    """Make sure that what was timed is what was asked for."""
    if len(dags) != size:
        raise SystemExit(f"{len(dags)} DAGs instead of {size}")
    for dag in dags.values():
        edges = sum(len(task.downstream_task_ids) for task in dag.tasks)
        if (len(dag.tasks), edges) != (5, 5):
            raise SystemExit(f"{dag.dag_id} has {len(dag.tasks)} tasks and {edges} edges")
