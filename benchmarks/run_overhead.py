# SPDX-License-Identifier: Apache-2.0
"""Run a recipe of four trivial containers, against four DockerOperators in a DAG written by hand.

``python benchmarks/run_overhead.py [--pairs N] [--quick]``

Both sides run on one Airflow (PostgreSQL, LocalExecutor, FAB) and one Docker engine, which the benchmark
starts below temporary folders (``SCALE_TEST_DOCKER_HOST`` names another engine). **scale-airflow** gets its
recipe by ``POST /scale/api/queue/new-recipe/``, **the DAG by hand** its run by Airflow's own REST API. Each
has four containers of the same image, one after the other, that run ``true``. The time is that from before
the request until Airflow has ended the run. The sides take turns, who begins changes, and the ratio is the
median of the ratios of the turns.

The table says where the time goes, from what was recorded: by Airflow and Scale in the database, by the
engine in its events. Its steps are sums over the four tasks, in milliseconds, medians over the runs.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # the standard library's queue, not queue.py beside this file

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring.installation import CHECKOUT, Running, running_installation, wait_for
from measuring.report import Ratio, finish, table

BY_HAND_FILE = Path(__file__).parent / "run_overhead_sides" / "by_hand.py"
TASKS = ("first", "second", "third", "fourth")
SIDES = SCALE, BY_HAND = "scale-airflow", "DAG by hand"
STEPS = (
    "request → queued",
    "queued → run made",
    "run made → run started",
    "ready → scheduled",
    "scheduled → handed to the executor",
    "executor → task runs",
    "task runs → job claimed",
    "→ container made",
    "container made → container starts",
    "container runs",
    "container ended → reported",
    "→ task ended",
    "last task ended → run ended",
)


@dataclass(frozen=True)
class Engine:
    """A Docker engine: its address, its network mode, and the image to run."""

    client: Any
    url: str
    image: str


@dataclass(frozen=True)
class Run:
    """One run: Airflow's id of it, when its request was sent, when Airflow had ended it."""

    run_id: str
    sent: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.sent


def main() -> None:
    """Start everything, let the sides take turns, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="turns, after two that don't count (20)")
    parser.add_argument("--quick", action="store_true", help="two turns: to see that it works, not how fast")
    arguments = parser.parse_args()
    pairs = 2 if arguments.quick else arguments.pairs
    with ExitStack() as stack:
        engine = _engine(stack)
        scale = {
            "backend": "docker",
            "docker_pull": "never",
            "docker_url": engine.url,
            "docker_network_mode": "none",
        }
        options = {"SCALE_BENCH_IMAGE": engine.image}
        running = stack.enter_context(running_installation([BY_HAND_FILE], scale=scale, options=options))
        turns = _measure(running, engine, 0 if arguments.quick else 2, pairs)
    seconds = {side: statistics.median(turn[side]["all"] for turn in turns) / 1000 for side in SIDES}
    ratio = statistics.median(turn[SCALE]["all"] / turn[BY_HAND]["all"] for turn in turns)
    steps = {side: _medians([turn[side] for turn in turns]) for side in SIDES}
    print(f"\nSeconds from request to the run's end, medians of {pairs} turns:\n")
    print(table(("", "seconds"), [(side, f"{value:.2f}") for side, value in seconds.items()]))
    print("\nMilliseconds by step, medians:\n")
    print(_step_table(steps))
    finish(
        "run_overhead",
        {"recipe of four containers, of the time of four DockerOperators": Ratio(ratio, 1.25, "lower")},
        seconds=seconds,
        milliseconds_by_step={
            step: {side: steps[side][step] for side in steps if step in steps[side]} for step in STEPS
        },
    )


def _engine(stack: ExitStack) -> Engine:
    """Return a running engine with the image on it."""
    sys.path.append(str(CHECKOUT / "tests"))
    from docker_engine import docker_engine

    print("Starting a Docker engine …", flush=True)
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    engine = stack.enter_context(docker_engine())
    client = engine.client()
    stack.callback(client.close)
    return Engine(client, engine.url, engine.busybox())


def _measure(running: Running, engine: Engine, unused: int, pairs: int) -> list[dict[str, dict[str, float]]]:
    """Let the sides take turns; return for each turn and side the milliseconds by step, and of all."""
    recipe_type_id = _create_recipe_type(running, engine.image)
    running.wait_for_dag("by_hand")
    turns = []
    for number in range(unused + pairs):
        turn = {}
        for side in SIDES if number % 2 else reversed(SIDES):
            if side == SCALE:
                run = _run_recipe(running, recipe_type_id)
            else:
                run = _run_by_hand(running, number)
            # At once: the engine remembers its last few hundred events only.
            turn[side] = {**_steps(running, engine, run), "all": run.seconds * 1000}
        if number >= unused:
            turns.append(turn)
            told = ", ".join(f"{side} {turn[side]['all'] / 1000:.2f} s" for side in SIDES)
            print(f"turn {len(turns)} of {pairs}: {told}", flush=True)
    return turns


def _create_recipe_type(running: Running, image: str) -> int:
    running.create_job_type("trivial", "true", "", docker_image=image)
    jobs = [
        {
            "name": name,
            "job_type": {"name": "trivial", "version": "1.0.0"},
            "recipe_inputs": [],
            "dependencies": [{"name": TASKS[index - 1], "connections": []}] if index else [],
        }
        for index, name in enumerate(TASKS)
    ]
    document = {
        "name": "four-containers",
        "version": "1.0.0",
        "title": "Four containers",
        "description": "",
        "definition": {"version": "1.0", "input_data": [], "jobs": jobs},
    }
    return int(running.client.post("recipe-types/", document)["id"])


def _run_recipe(running: Running, recipe_type_id: int) -> Run:
    sent = time.time()
    document = {"recipe_type_id": recipe_type_id, "recipe_data": {"version": "1.0", "input_data": []}}
    recipe = running.client.post("queue/new-recipe/", document)
    run = _ended(running, sent, f"scale-recipe-{recipe['id']}")
    states = running.query("SELECT DISTINCT status FROM scale_job WHERE recipe_id = %s", recipe["id"])
    if states != [("COMPLETED",)]:
        raise RuntimeError(f"The jobs of recipe {recipe['id']} ended {states}")
    return run


def _run_by_hand(running: Running, number: int) -> Run:
    sent = time.time()
    run_id = f"by-hand-{number}"
    running.trigger("by_hand", run_id)
    return _ended(running, sent, run_id)


def _ended(running: Running, sent: float, run_id: str) -> Run:
    """Wait for the end of a run, without a request to the API server, which has other work to do."""
    statement = (
        "SELECT extract(epoch FROM end_date), state FROM dag_run WHERE run_id = %s AND end_date IS NOT NULL"
    )
    ((ended, state),) = wait_for(lambda: running.query(statement, run_id), f"end of {run_id}", pause=0.1)
    if state != "success":
        raise RuntimeError(f"The run {run_id} ended as {state}")
    return Run(run_id, sent, float(ended))


def _medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median milliseconds of each step."""
    return {step: statistics.median(each[step] for each in found) for step in STEPS if step in found[0]}


def _steps(running: Running, engine: Engine, run: Run) -> dict[str, float]:
    """Return the milliseconds of each step of a run, those of tasks summed up."""
    ((queued, dispatched, made, started),) = running.query(
        """
        SELECT extract(epoch FROM r.created)::float, extract(epoch FROM r.dispatched)::float,
            extract(epoch FROM d.queued_at)::float, extract(epoch FROM d.start_date)::float
        FROM dag_run d LEFT JOIN scale_recipe r ON r.run_id = d.run_id WHERE d.run_id = %s
        """,
        run.run_id,
    )
    moments: list[tuple[str, float]] = [("", run.sent)]
    if queued is not None:
        moments += [(STEPS[0], queued), (STEPS[1], dispatched)]
    else:
        moments += [(STEPS[0], made)]
    moments.append((STEPS[2], started))
    containers = _containers(engine, run)
    tasks = running.query(
        """
        SELECT extract(epoch FROM t.scheduled_dttm)::float, extract(epoch FROM t.queued_dttm)::float,
            extract(epoch FROM t.start_date)::float, extract(epoch FROM e.started)::float,
            extract(epoch FROM e.ended)::float, extract(epoch FROM t.end_date)::float
        FROM task_instance t LEFT JOIN scale_job j ON j.run_id = t.run_id AND j.task_id = t.task_id
            LEFT JOIN scale_job_execution e ON e.job_id = j.id
        WHERE t.run_id = %s ORDER BY t.start_date
        """,
        run.run_id,
    )
    for task, container in zip(tasks, containers, strict=True):
        scheduled, handed, runs, claimed, reported, ended = task
        moments += [(STEPS[3], scheduled), (STEPS[4], handed), (STEPS[5], runs)]
        moments += [(STEPS[6], claimed)] if claimed is not None else []
        moments += zip(STEPS[7:10], container, strict=True)
        moments += [(STEPS[10], reported)] if reported is not None else []
        moments.append((STEPS[11], ended))
    moments.append((STEPS[12], run.ended))
    sums: dict[str, float] = {}
    for (_, before), (step, moment) in itertools.pairwise(moments):
        sums[step] = sums.get(step, 0.0) + (moment - before) * 1000
    return sums


def _containers(engine: Engine, run: Run) -> list[tuple[float, float, float]]:
    """Return when the engine made, started and ended each container of a run."""
    filters = {"type": "container", "image": engine.image}
    moments: dict[str, dict[str, float]] = {}
    for event in engine.client.events(
        since=f"{run.sent:.6f}", until=f"{run.ended:.6f}", decode=True, filters=filters
    ):
        moments.setdefault(event["Actor"]["ID"], {})[event["Action"]] = event["timeNano"] / 1e9
    return sorted((each["create"], each["start"], each["die"]) for each in moments.values())


def _step_table(steps: dict[str, dict[str, float]]) -> str:
    rows = [
        (step, *(f"{steps[side][step]:.0f}" if step in steps[side] else "" for side in steps))
        for step in STEPS
    ]
    return table(("", *steps), rows)


if __name__ == "__main__":
    main()
