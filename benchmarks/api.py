# SPDX-License-Identifier: Apache-2.0
"""How fast the REST API answers when there are 1,000,000 jobs, against Airflow's list of its task instances.

``python benchmarks/api.py [--sizes N N N] [--turns N] [--parts PART …] [--quick]``

One PostgreSQL holds a database a size: 10,000, 100,000 and 1,000,000 jobs with executions, a recipe for five
of them, two files for each, 500 job types, a month of hourly load; and as many task instances in Airflow's
own tables, five a run, of 500 DAGs. Each database has an API server (``airflow api-server``, FAB, one worker)
that serves both APIs. Nothing else of Airflow runs, the job types are paused, and Scale's tick does nothing
but what a request wakes it for. Clients keep their connection.

* **Reading**: each list and each details page takes turns with Airflow's
  ``GET /api/v2/dags/~/dagRuns/~/taskInstances?limit=100`` with the same kind of filter, with one client and
  with eight at once. Every count that an answer holds is compared with what is in the tables.
* **Growth**: the same requests take turns on the databases of all sizes; the ratio is that of the medians.
* **Queueing**: ``POST /scale/api/queue/new-job/`` while a tenth of the jobs wait (100,000 of 1,000,000) takes
  turns with ``POST /api/v2/dags/bare/dagRuns`` on a database without any work, by one client and by eight.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # the standard library's queue, not queue.py beside this file

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from api_sides.filling import BUSY, PREFIX, fill, make_types
from api_sides.probes import (
    Findings,
    Probe,
    competitors,
    database_of,
    probes,
    queueing_ratios,
    rate_of,
    reading_ratios,
)
from measuring.clients import Crowd, KeepAlive, Request, crowd
from measuring.report import Ratio, finish, percentile, table
from measuring.servers import Site, running_site

HERE = Path(__file__).parent
PARTS = READING, QUEUEING = "reading", "queueing"
EMPTY = "empty"
BULK = 100
"""Jobs in one request of the bulk form."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    jobs: Sequence[int]
    turns: int
    slow_every: int
    each: int
    clients: int
    rounds: int
    posts: int


def main() -> None:
    """Start everything, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", help="jobs in each database (10000 100000 1000000)")
    parser.add_argument("--turns", type=int, default=40, help="turns of each request, one client (40)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="of it (all)")
    parser.add_argument(
        "--quick", action="store_true", help="small numbers: to see that it works, not how fast"
    )
    arguments = parser.parse_args()
    sizes = Sizes(
        arguments.sizes or (10_000, 100_000, 1_000_000), arguments.turns, 5, 12, 8, rounds=5, posts=40
    )
    if arguments.quick:
        sizes = Sizes(arguments.sizes or (300, 1_000, 3_000), 3, 1, 2, 8, rounds=1, posts=8)
    options = {"tick_interval": "3600", "reconcile_interval": "86400"}
    print("Starting PostgreSQL …", flush=True)
    with running_site([HERE / "queue_sides" / "bare.py"], options) as site:
        findings = Bench(site, sizes).run(arguments.parts)
    report(findings, sizes)
    if findings.errors:
        sys.exit(f"{len(findings.errors)} requests failed, the first so: {findings.errors[0]}")


class Bench:
    """The databases and their API servers under measurement."""

    def __init__(self, site: Site, sizes: Sizes):
        self.site, self.sizes, self.findings = site, sizes, Findings()
        self.made = self._make_type()
        site.copy(EMPTY)
        with site.connect() as connection:
            make_types(connection)
        connection.close()
        for count in sizes.jobs:
            self._fill(count)
        print("Starting API servers …", flush=True)
        self.servers = {name: site.serve(name) for name in (*map(database_of, sizes.jobs), EMPTY)}
        self.clients = {name: self._client(name) for name in self.servers}
        self.biggest = database_of(max(sizes.jobs))

    def _make_type(self) -> dict[str, int]:
        installation = self.site.installation
        done = subprocess.run(
            [
                sys.executable,
                str(HERE / "api_sides" / "measured_type.py"),
                str(installation.data / "products"),
            ],
            env=installation.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        made: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        return made

    def _fill(self, count: int) -> None:
        name = database_of(count)
        print(f"Filling a database with {count} jobs …", flush=True)
        began = time.monotonic()
        self.site.copy(name)
        with self.site.connect(name) as connection:
            fill(connection, count, self.made["workspace_id"], lambda _: None)
        connection.close()
        self.site.tidy(name)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)

    def _client(self, name: str) -> KeepAlive:
        known = self.servers[name]
        return KeepAlive(known.url, str(known.session.headers["Authorization"]))

    def run(self, parts: Collection[str]) -> Findings:
        """Measure one thing after the other."""
        if READING in parts:
            known = self._known(probes(*self._names()))
            self._alone(known)
            self._together(known)
        if QUEUEING in parts:
            self._queueing()
        return self.findings

    # -- reading ---------------------------------------------------------------------------------------------
    def _names(self) -> tuple[int, str, int, datetime]:
        """Return what is asked for: a job type's id and name, a job, and the start of the last day."""
        connection = self.site.connect(self.biggest)
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, name FROM scale_job_type WHERE name = %s", (f"{PREFIX}-{BUSY}",))
            ((type_id, name),) = cursor.fetchall()
            cursor.execute("SELECT max(last_modified) FROM scale_job")
            ((last,),) = cursor.fetchall()
        connection.close()
        return type_id, name, min(self.sizes.jobs) // 2, last - timedelta(days=1)

    def _known(self, wanted: Sequence[Probe]) -> list[Probe]:
        """Return the requests that there are, after the exact counts of all sizes were looked at."""
        known = []
        for probe in wanted:
            found = [self._counted(probe, database_of(count)) for count in self.sizes.jobs]
            if all(found):
                known.append(probe)
            else:
                print(f"Skipped, there is no such address: {probe.name}", flush=True)
        return known

    def _counted(self, probe: Probe, database: str) -> bool:
        answer = self.clients[database].read(Request(probe.path))
        if answer is None:
            return False
        if probe.counts is not None:
            connection = self.site.connect(database)
            with connection.cursor() as cursor:
                cursor.execute(probe.counts)
                ((count,),) = cursor.fetchall()
            connection.close()
            if answer["count"] != count:
                raise RuntimeError(f"{probe.name} counts {answer['count']} of {count} ({database})")
        return True

    def _alone(self, known: Sequence[Probe]) -> None:
        """Let one client ask all servers in turn."""
        compared = competitors(self._names()[-1])
        columns = [*(database_of(count) for count in self.sizes.jobs)]
        self.findings.alone = {each.name: {name: [] for name in columns} for each in (*known, *compared)}
        for turn in range(-1, self.sizes.turns):  # the first does not count
            if turn % self.sizes.slow_every == 0 or turn < 0:
                for probe in compared:
                    self._ask(probe, self.biggest, turn)
            for probe in known:
                for name in columns:
                    self._ask(probe, name, turn)
            if (turn + 1) % 10 == 0:
                print(f"turn {turn + 1} of {self.sizes.turns}", flush=True)

    def _ask(self, probe: Probe, database: str, turn: int) -> None:
        milliseconds = self.clients[database].timed(Request(probe.path))
        if turn >= 0:
            self.findings.alone[probe.name][database].append(milliseconds)

    def _together(self, known: Sequence[Probe]) -> None:
        """Let several clients at once ask the server of the largest database."""
        many = [self._client(self.biggest) for _ in range(self.sizes.clients)]
        compared = competitors(self._names()[-1])
        for probe in (*known, *compared):
            each = self.sizes.each if probe in known else 2
            print(f"{self.sizes.clients} clients: {probe.name}", flush=True)
            request = Request(probe.path)
            found = crowd(many, lambda client, turn, request=request: request, each)
            self.findings.together[probe.name] = found.milliseconds
            self.findings.errors += found.errors

    # -- queueing --------------------------------------------------------------------------------------------
    def _queueing(self) -> None:
        """Queue jobs where many wait, and trigger runs where there is nothing, in turns."""
        job = {"job_type_id": self.made["job_type_id"], "job_data": {"version": "1.0", "input_data": []}}
        one = Request("/scale/api/queue/new-job/", "POST", job)
        bulk = Request("/scale/api/queue/new-jobs/", "POST", {"jobs": [job] * BULK})
        run = Request("/api/v2/dags/bare/dagRuns", "POST", {"logical_date": None, "conf": {}})
        sides = {"new-job": (self.biggest, one, 1), "dagRuns": (EMPTY, run, 1)}
        if self.clients[self.biggest].read(bulk) is None:
            print("Skipped, there is no such address: POST /queue/new-jobs/", flush=True)
        else:
            sides["new-jobs"] = (self.biggest, bulk, BULK)
        for several in (1, self.sizes.clients):
            many = {name: [self._client(name) for _ in range(several)] for name in (self.biggest, EMPTY)}
            for number in range(-1, self.sizes.rounds):  # the first does not count
                for side, (database, request, jobs) in sides.items():
                    each = max(2, self.sizes.posts // several // (4 if jobs > 1 else 1))
                    found = crowd(many[database], lambda c, t, request=request: request, each)
                    self._note(side, several, number, found, jobs)

    def _note(self, side: str, several: int, number: int, found: Crowd, jobs: int) -> None:
        self.findings.errors += found.errors
        if number < 0 or not found.milliseconds:
            return
        rate = found.per_second * jobs
        print(f"{several} client(s), round {number + 1}: {side} {rate:.1f}/s", flush=True)
        self.findings.rates.setdefault(rate_of(side, several), []).append(rate)


def report(found: Findings, sizes: Sizes) -> None:
    """Print what was measured, and its ratios."""
    ratios: dict[str, Ratio] = {}
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    if found.alone:
        kinds = {each.name: each.kind for each in probes(0, "", 0, datetime.now(timezone.utc))}
        ratios |= reading_ratios(
            found, {name: kinds[name] for name in kinds if name in found.alone}, sizes.jobs, sizes.clients
        )
        figures["milliseconds, 1 client"] = {
            name: {
                f"{what}, {database.removeprefix('jobs_')} jobs": value
                for database, times in by_size.items()
                if times
                for what, value in _spread(times).items()
            }
            for name, by_size in found.alone.items()
        }
        figures[f"milliseconds, {sizes.clients} clients, {max(sizes.jobs)} jobs"] = {
            name: _spread(times) for name, times in found.together.items()
        }
    if found.rates:
        ratios |= queueing_ratios(found.rates, sizes.clients)
        figures["per second"] = {
            name: {"median": statistics.median(rates), "least": min(rates)}
            for name, rates in found.rates.items()
        }
    for title, rows in figures.items():
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        shown = [
            (name, *(f"{row[column]:.1f}" if column in row else "" for column in columns))
            for name, row in rows.items()
        ]
        print(f"\n{title[0].upper()}{title[1:]}:\n\n{table(('', *columns), shown)}")
    finish("api", ratios, **figures)


def _spread(times: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(times), "p95": percentile(times, 95)}


if __name__ == "__main__":
    main()
