# SPDX-License-Identifier: Apache-2.0
"""How long a job waits, how many run in a second, and what 100,000 waiting jobs cost, on PostgreSQL.

``python benchmarks/queue.py [--waiting N] [--pairs N] [--parts PART …] [--quick]``

All on one Airflow (LocalExecutor, FAB, PostgreSQL); jobs run as processes.

* **From queueing to the first line**: a job is queued by ``POST /scale/api/queue/new-job/`` and notes when
  its first line runs (a shell's); a bare Airflow task, triggered by ``POST /api/v2/dags/bare/dagRuns``, notes
  the same (in Python). They take turns, with an empty queue and with 100,000 more urgent jobs waiting whose
  type is paused; the queue is emptied and filled again in between. The median is that of the turns' ratios.
* **Jobs per second**: the same number of trivial jobs and of trivial Airflow tasks, each put there in one
  transaction, from the start of the first task to the end of the last. They take turns; at most as many run
  at once as the node has room for, on both sides. And the **processor time** (user and system) of each, by
  the processes that took it; what the installation does anyway meanwhile is in it.
* **The urgent job** behind 100,000 that run: how many of these start before it, as a part of the dispatch
  window; the largest of the tries.
* **Airflow's scheduler loop**, by its own log, and the **memory** (PSS) of the API server's and the
  scheduler's processes: with nothing to do, while 100,000 jobs wait and while none does.

The 100,000 are one job that the queue's service made, and copies of its rows, all in one transaction.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # the standard library's queue, not this file

import argparse
import os
import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring.installation import Running, running_installation, wait_for
from measuring.observation import LOOPS, loop_times, processor_seconds, tree_memory
from measuring.report import Ratio, finish, percentile, table

SIDES = Path(__file__).with_name("queue_sides")
NAMES = SCALE, BARE = "scale-airflow", "bare Airflow task"
STATES = REST, FULL = "empty queue", "full queue"
SERVICES = "api-server", "scheduler", "dag-processor", "triggerer", "node"
WINDOW = 128
PARTS = LATENCY, THROUGHPUT, URGENT = "latency", "throughput", "urgent"
_JOB = """\
#!/bin/sh
date +%s%N > "$1.new" && mv "$1.new" "$1"
"""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    waiting: int
    pairs: int
    phases: int
    idle: float
    batch: int
    batches: int
    urgent: int


@dataclass
class Findings:
    """All that is measured."""

    latencies: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {state: {name: [] for name in NAMES} for state in STATES}
    )
    loops: dict[str, list[float]] = field(default_factory=lambda: {state: [] for state in STATES})
    memory: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {state: {"API server": [], "scheduler": []} for state in STATES}
    )
    rates: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in NAMES})
    processor: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {name: [] for name in NAMES})
    overtaken: list[int] = field(default_factory=list)
    urgent_seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Start everything, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--waiting", type=int, default=100_000, help="jobs that wait (100000)")
    parser.add_argument("--pairs", type=int, default=12, help="turns of each of two phases a state (12)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="of it (all)")
    parser.add_argument(
        "--quick", action="store_true", help="small numbers: to see that it works, not how fast"
    )
    arguments = parser.parse_args()
    sizes = Sizes(arguments.waiting, arguments.pairs, phases=2, idle=10, batch=120, batches=3, urgent=5)
    if arguments.quick:
        sizes = Sizes(2_000, pairs=2, phases=1, idle=2, batch=16, batches=1, urgent=1)
    # As many as there is room for on the node: a trivial job takes the smallest part, a quarter of a CPU.
    parallelism = min(16, 4 * len(os.sched_getaffinity(0)))
    options = {"AIRFLOW__CORE__PARALLELISM": str(parallelism), **LOOPS}
    with running_installation(
        [SIDES / "bare.py"], scale={"dispatch_window": str(WINDOW)}, options=options
    ) as running:
        findings = Bench(running, sizes).run(arguments.parts)
    _report(findings, sizes, parallelism)


class Bench:
    """One installation under measurement."""

    def __init__(self, running: Running, sizes: Sizes):
        self.running, self.sizes, self.findings = running, sizes, Findings()
        self.marks = running.installation.folder / "marks"
        self.marks.mkdir()
        job = self.marks / "job.sh"
        job.write_text(_JOB)
        marked = {"input_data": [{"name": "mark", "type": "property"}]}
        create = running.create_job_type
        self.ordinary = create("ordinary", "/bin/sh", f"{job} ${{mark}}", **marked)
        self.urgent = create("urgent", "/bin/sh", f"{job} ${{mark}}", priority=1, **marked)
        self.trivial = create("trivial", "true", "", priority=200)
        self.waiting = create("waiting", "true", "", priority=50)
        running.client.patch(f"job-types/{self.waiting}/", {"is_paused": True})
        running.wait_for_dag("bare")
        self.number = 0

    def run(self, parts: Collection[str]) -> Findings:
        """Measure one thing after the other."""
        for _ in range(2):  # for what is slow the first time
            self._pair()
        if LATENCY in parts:
            for phase in range(self.sizes.phases):
                self._observe(REST, phase)
                self._fill(self.waiting)
                self._observe(FULL, phase)
                self._empty()
        if THROUGHPUT in parts:
            self._throughput()
        if URGENT in parts:
            self._overtake()
        return self.findings

    # -- with an empty and a full queue ----------------------------------------------------------------------
    def _observe(self, state: str, phase: int) -> None:
        print(f"{state}, phase {phase + 1}", flush=True)
        for number in range(self.sizes.pairs):
            pair = self._pair()
            told = ", ".join(f"{name} {pair[name]:.2f} s" for name in NAMES)
            print(f"turn {number + 1} of {self.sizes.pairs}: {told}", flush=True)
            for name, seconds in pair.items():
                self.findings.latencies[state][name].append(seconds)
        # What an administrator looks at, so that this, too, is in the memory of both states.
        self.running.client.get("queue/status/")
        self.running.client.get("jobs/", status="QUEUED", page_size=100)
        log = self.running.installation.logs / "scheduler.log"
        before = log.stat().st_size
        time.sleep(self.sizes.idle)
        with log.open() as file:
            file.seek(before)
            self.findings.loops[state] += loop_times(file)
        for service, name in (("api-server", "API server"), ("scheduler", "scheduler")):
            self.findings.memory[state][name].append(tree_memory(self._pid(service)))

    def _pair(self) -> dict[str, float]:
        """Return the seconds from queueing to the first line, of a job and of a bare task."""
        self.number += 1
        sides: dict[str, Callable[[], float]] = {
            SCALE: lambda: self._queue_job(self.ordinary),
            BARE: self._trigger_bare,
        }
        return {name: sides[name]() for name in (NAMES if self.number % 2 else reversed(NAMES))}

    def _queue_job(self, job_type_id: int) -> float:
        mark = self._mark("job")
        data = {"version": "1.0", "input_data": [{"name": "mark", "value": str(mark)}], "output_data": []}
        sent = time.time()
        job = self.running.client.post("queue/new-job/", {"job_type_id": job_type_id, "job_data": data})
        seconds = self._read(mark) - sent
        self._wait_for_run(f"scale-job-{job['id']}")
        return seconds

    def _trigger_bare(self) -> float:
        mark = self._mark("bare")
        sent = time.time()
        self.running.trigger("bare", mark.name, {"mark": str(mark)})
        seconds = self._read(mark) - sent
        self._wait_for_run(mark.name)
        return seconds

    def _mark(self, name: str) -> Path:
        return self.marks / f"{name}-{time.time_ns()}"

    def _read(self, mark: Path) -> float:
        wait_for(mark.exists, f"first line of {mark.name}", pause=0.01)
        return int(mark.read_text()) / 1e9

    def _wait_for_run(self, run_id: str) -> None:
        """Wait for a run's end, so that the next thing is measured alone."""
        ended = "SELECT 1 FROM dag_run WHERE run_id = %s AND end_date IS NOT NULL"
        wait_for(lambda: self.running.query(ended, run_id), f"end of run {run_id}", pause=0.05)

    def _pid(self, service: str) -> int:
        (file,) = (self.running.installation.folder / "pids").glob(f"{service}.*.json")
        return int(file.name.split(".")[1])

    # -- many at once ----------------------------------------------------------------------------------------
    def _fill(self, job_type_id: int) -> dict[str, Any]:
        print(f"queueing {self.sizes.waiting} jobs", flush=True)
        found = self._put("scale", job_type_id, self.sizes.waiting)
        self._tidy()
        return found

    def _put(self, kind: str, target: object, count: int) -> dict[str, Any]:
        made: dict[str, Any] = self.running.run_script(SIDES / "fill.py", kind, target, count)
        return made

    def _empty(self) -> None:
        print("emptying the queue", flush=True)
        jobs = "SELECT id FROM scale_job WHERE job_type_id = %s"
        for table_name in ("scale_queue_entry", "scale_job_execution"):
            self.running.query(f"DELETE FROM {table_name} WHERE job_id IN ({jobs})", self.waiting)
        self.running.query("DELETE FROM scale_job WHERE job_type_id = %s", self.waiting)
        self._tidy()

    def _tidy(self) -> None:
        """Do what PostgreSQL's autovacuum does sooner or later: not while time is taken."""
        for table_name in ("scale_queue_entry", "scale_job_execution", "scale_job"):
            self.running.query(f"VACUUM ANALYZE {table_name}")

    def _throughput(self) -> None:
        for number in range(self.sizes.batches):
            for name in NAMES if number % 2 else reversed(NAMES):
                before = self._processor()
                rate = self._rate(name)
                after = self._processor()
                taken = {kind: (after[kind] - before[kind]) / self.sizes.batch * 1000 for kind in before}
                print(
                    f"batch {number + 1} of {self.sizes.batches}: {name}, {rate:.2f}/s, "
                    f"{sum(taken.values()):.0f} ms of processor each",
                    flush=True,
                )
                self.findings.rates[name].append(rate)
                self.findings.processor[name].append(taken)

    def _processor(self) -> dict[str, float]:
        services = {name: self._pid(name) for name in SERVICES}
        postmaster = self.running.installation.database.data / "postmaster.pid"
        return processor_seconds({**services, "PostgreSQL": int(postmaster.read_text().split()[0])})

    def _rate(self, name: str) -> float:
        """Return how many of a batch ran in a second."""
        count = self.sizes.batch
        if name == SCALE:
            first = self._put("scale", self.trivial, count)["first"]
            chosen = "run_id IN (SELECT run_id FROM scale_job WHERE job_type_id = %s AND id >= %s)"
            arguments: tuple[object, ...] = (self.trivial, first)
        else:
            chosen = "run_id LIKE %s"
            arguments = (f"{self._put('airflow', 'bare', count)['prefix']}-%",)
        ended = f"SELECT count(*) = {count} FROM dag_run WHERE {chosen} AND end_date IS NOT NULL"
        wait_for(lambda: self.running.query(ended, *arguments)[0][0], f"end of {count} runs", pause=0.5)
        ((good, seconds),) = self.running.query(
            f"""
            SELECT count(*) FILTER (WHERE state = 'success' AND try_number = 1),
                extract(epoch FROM max(end_date) - min(start_date))::float
            FROM task_instance WHERE {chosen}
            """,
            *arguments,
        )
        if good != count:
            raise RuntimeError(f"Of {count} tasks ({name}) {good} succeeded at their first try")
        return float(count / seconds)

    def _overtake(self) -> None:
        """Queue urgent jobs behind many that run."""
        self._fill(self.trivial)
        running = "SELECT count(*) FROM scale_job WHERE job_type_id = %s AND dispatched IS NOT NULL"
        wait_for(lambda: self.running.query(running, self.trivial)[0][0] >= WINDOW, "full window", pause=0.2)
        for number in range(self.sizes.urgent):
            seconds = self._queue_job(self.urgent)
            self.findings.urgent_seconds.append(seconds)
            ((overtaken,),) = self.running.query(
                """
                SELECT count(*) FROM scale_job o, scale_job u
                WHERE u.id = (SELECT max(id) FROM scale_job WHERE job_type_id = %s)
                    AND o.job_type_id = %s AND o.started > u.queued AND o.started <= u.started
                """,
                self.urgent,
                self.trivial,
            )
            self.findings.overtaken.append(overtaken)
            print(f"urgent job {number + 1}: {seconds:.2f} s, {overtaken} others started", flush=True)


def _report(found: Findings, sizes: Sizes, parallelism: int) -> None:
    """Print what was measured, and its ratios."""
    waiting = f"{sizes.waiting} waiting"
    figures: dict[str, dict[str, Any]] = {}
    ratios: dict[str, Ratio] = {}
    if found.loops[REST]:
        _report_states(found, waiting, figures, ratios)
    if found.rates[SCALE]:
        figures[f"tasks per second, {parallelism} at once"] = {
            name: statistics.median(found.rates[name]) for name in NAMES
        }
        figures["milliseconds of processor time a task, medians"] = _processor_times(found.processor)
        rate = _median_ratio(found.rates[SCALE], found.rates[BARE])
        ratios["trivial jobs per second, of trivial Airflow tasks"] = Ratio(rate, 0.8, "higher")
    if found.overtaken:
        figures[f"the urgent job behind {sizes.waiting}"] = {
            "jobs that started before it, at most": max(found.overtaken),
            "seconds to its first line, median": statistics.median(found.urgent_seconds),
        }
        ratios["jobs that start before an urgent one, of a dispatch window"] = Ratio(
            max(found.overtaken) / WINDOW, 1.0, "lower"
        )
    for title, values in figures.items():
        print(f"\n{title[0].upper()}{title[1:]}:\n\n{_table(values)}")
    finish("queue", ratios, **figures)


def _report_states(
    found: Findings, waiting: str, figures: dict[str, dict[str, Any]], ratios: dict[str, Ratio]
) -> None:
    """Add what was seen with an empty and with a full queue."""
    figures["seconds from queueing to the first line"] = {
        f"{name}, {state}": {
            "median": statistics.median(found.latencies[state][name]),
            "p95": percentile(found.latencies[state][name], 95),
        }
        for state in STATES
        for name in NAMES
    }
    loops = {state: statistics.median(found.loops[state]) for state in STATES}
    figures["milliseconds of the scheduler's loop with nothing to do, medians"] = loops
    memory = {
        service: {state: statistics.median(found.memory[state][service]) for state in STATES}
        for service in ("API server", "scheduler")
    }
    figures["MiB of memory (PSS) with nothing to do"] = memory
    for state, when in ((REST, "at rest"), (FULL, waiting)):
        ours, bare = (found.latencies[state][name] for name in NAMES)
        ratios[f"queueing to first line, {when}, median, of a bare task's"] = Ratio(
            _median_ratio(ours, bare), 1.5, "lower"
        )
        ratios[f"queueing to first line, {when}, p95, of a bare task's"] = Ratio(
            percentile(ours, 95) / percentile(bare, 95), 1.5, "lower"
        )
    ratios[f"Airflow's scheduler loop, {waiting}, of an empty queue's"] = Ratio(
        loops[FULL] / loops[REST], 1.1, "lower"
    )
    for service, by_state in memory.items():
        ratios[f"memory of the {service}, {waiting}, of an empty queue's"] = Ratio(
            by_state[FULL] / by_state[REST], 1.2, "lower"
        )


def _processor_times(taken: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the medians by process, and that of the sums."""
    kinds = list(taken[SCALE][0])
    found = {
        kind: {name: statistics.median(batch[kind] for batch in taken[name]) for name in NAMES}
        for kind in kinds
    }
    totals = {name: statistics.median(sum(batch.values()) for batch in taken[name]) for name in NAMES}
    return {**found, "all together": totals}


def _median_ratio(ours: list[float], others: list[float]) -> float:
    """Return the median of the ratios of the turns."""
    return statistics.median(one / other for one, other in zip(ours, others, strict=True))


def _table(values: dict[str, Any]) -> str:
    rows = {what: value if isinstance(value, dict) else {"": value} for what, value in values.items()}
    columns = list(next(iter(rows.values())))
    return table(
        ("", *columns), [(what, *(f"{row[column]:.4g}" for column in columns)) for what, row in rows.items()]
    )


if __name__ == "__main__":
    main()
