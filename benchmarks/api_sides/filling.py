# SPDX-License-Identifier: Apache-2.0
"""Fills a database with a month of work: Scale's jobs, recipes and files, Airflow's runs and tasks of them.

Five jobs make a recipe, which is a run of Airflow with five tasks. Statuses and job types are scattered over
the month; each job has an input file and a product, of which nine in ten have been published.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

TYPES = 500
TASKS = 5
SPAN = timedelta(days=30)
NODES = 10
PREFIX = "bench"
BUSY = 7
BUSY_EVERY = 20
"""One in so many jobs, and runs of Airflow, is of the type, and the DAG, of this number: asked for alone it
fills a page with few jobs in all, too."""

RUNNING = 40
"""As many run as the nodes have room for, however long the history is."""

#: Of how many jobs in a thousand each status is; the state of their tasks in Airflow.
STATUSES = {
    "QUEUED": (100, "scheduled"),
    "RUNNING": (0, "running"),
    "PENDING": (5, None),
    "BLOCKED": (3, "upstream_failed"),
    "CANCELED": (6, "skipped"),
    "FAILED": (35, "failed"),
    "COMPLETED": (851, "success"),
}
_NEVER_QUEUED = ("PENDING", "BLOCKED")
_ENDED = ("CANCELED", "FAILED", "COMPLETED")
_LINE = 400
_COPIED = ("scale_trigger_event", "scale_recipe", "scale_job", "scale_job_execution", "scale_file")


@dataclass(frozen=True)
class Job:
    """What is the same of a job, its execution, its files and its task."""

    number: int
    status: str
    job_type_id: int
    node_id: int
    created: datetime

    @property
    def recipe(self) -> int:
        return (self.number - 1) // TASKS + 1

    @property
    def task(self) -> str:
        return f"job-{(self.number - 1) % TASKS}"

    @property
    def dag(self) -> int:
        return BUSY if self.recipe % BUSY_EVERY == 0 else self.recipe % TYPES + 1

    def at(self, event: str) -> str | None:
        """Return when it was created, queued, started, ended, or last did any of these; None if never."""
        seconds = {"created": 0, "queued": 1, "started": 20, "ended": 80}
        last = {"QUEUED": "queued", "RUNNING": "started"}.get(self.status, "ended")
        if self.status in _NEVER_QUEUED:
            last = "created"
        if event == "last":
            event = last
        if seconds[event] > seconds[last]:
            return None
        return str(self.created + timedelta(seconds=seconds[event]))


def statuses(count: int, chance: random.Random) -> list[str]:
    """Return the statuses of so many jobs, in the right proportion, scattered."""
    found = ["RUNNING"] * min(RUNNING, count)
    total = sum(part for part, _ in STATUSES.values())
    for status, (part, _) in STATUSES.items():
        found += [status] * round(count * part / total)
    found = (found + ["COMPLETED"] * count)[:count]
    chance.shuffle(found)
    return found


def jobs(count: int, job_type_ids: list[int], node_ids: list[int], now: datetime) -> Iterator[Job]:
    """Yield the jobs of the month before ``now``: the same for the same count."""
    chance = random.Random(count)
    for number, status in enumerate(statuses(count, chance), start=1):
        created = now - SPAN + SPAN * (number / (count + 1))
        job_type_id = (
            job_type_ids[BUSY - 1] if chance.random() < 1 / BUSY_EVERY else chance.choice(job_type_ids)
        )
        yield Job(number, status, job_type_id, chance.choice(node_ids), created)


def make_types(connection: Any) -> None:
    """Make job types and recipe types, nodes, Airflow's DAGs, and the load of the month: few rows."""
    with connection.cursor() as cursor:
        _multiply(cursor, "scale_job_type", "name = 'measured'", {"name": f"'{PREFIX}-' || n"})
        cursor.execute(
            f"""
            INSERT INTO scale_job_type_revision (job_type_id, revision_num, interface, dag_id, created)
            SELECT id, 1, interface, 'job-' || name, now() FROM scale_job_type WHERE name LIKE '{PREFIX}-%';
            UPDATE scale_job_type SET category = 'c' || id % 20, priority = 10 * (1 + id % 10)
            WHERE name LIKE '{PREFIX}-%';
            INSERT INTO scale_recipe_type (name, version, title, is_active, definition, revision_num, created,
                last_modified)
            SELECT '{PREFIX}-' || n, '1.0.0', 'Recipe', true,
                '{{"version": "1.0", "input_data": [], "jobs": []}}', 1, now(), now()
            FROM generate_series(1, {TYPES}) n;
            INSERT INTO scale_recipe_type_revision (recipe_type_id, revision_num, definition, dag_id, created)
            SELECT id, 1, definition, name, now() FROM scale_recipe_type WHERE name LIKE '{PREFIX}-%';
            INSERT INTO scale_node (hostname, port, slave_id, is_paused, is_paused_errors, is_active, cpus,
                mem_mib, disk_mib, created, last_offer, last_modified)
            SELECT 'host-' || n, 8793, 'agent-' || n, false, false, true, 16, 65536, 1000000, now(), now(),
                now() FROM generate_series(1, {NODES}) n;
            INSERT INTO scale_job_load (job_type_id, measured, pending_count, queued_count, running_count)
            SELECT t.id, h, 1, 2, 3
            FROM scale_job_type t, generate_series(date_trunc('hour', now()) - interval '30 days', now(),
                '1 hour') h
            WHERE t.name LIKE '{PREFIX}-%';
            INSERT INTO scale_load (measured, pending_count, queued_count, running_count)
            SELECT measured, sum(pending_count), sum(queued_count), sum(running_count)
            FROM scale_job_load GROUP BY measured
            """
        )
        name = f"'{PREFIX}-' || n"
        _multiply(cursor, "dag", "dag_id = 'bare'", {"dag_id": name})
        _multiply(cursor, "dag_version", "dag_id = 'bare'", {"dag_id": name, "id": "gen_random_uuid()"})
        version = f"(SELECT id FROM dag_version WHERE dag_id = {name})"
        _multiply(
            cursor,
            "serialized_dag",
            "dag_id = 'bare'",
            {"dag_id": name, "id": "gen_random_uuid()", "dag_version_id": version},
        )
    connection.commit()


def _multiply(cursor: Any, table: str, which: str, changed: Mapping[str, str]) -> None:
    """Make so many copies of a row; ``n`` counts them."""
    cursor.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND is_identity = 'NO'",
        (table,),
    )
    columns = [name for (name,) in cursor.fetchall()]
    values = ", ".join(changed.get(name, name) for name in columns)
    cursor.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, "
        f"generate_series(1, {TYPES}) n WHERE {which}"
    )


def fill(connection: Any, count: int, workspace_id: int, tell: Callable[[str], None]) -> None:
    """Put so many jobs, and what belongs to them, into a database that has types but no work."""
    now = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=5)
    with connection.cursor() as cursor:
        revisions = _read(cursor, "SELECT job_type_id, id FROM scale_job_type_revision")
        recipe_types = _read(
            cursor, "SELECT dag_id, (recipe_type_id, id)::text FROM scale_recipe_type_revision"
        )
        nodes = list(_read(cursor, "SELECT id, id FROM scale_node"))
        versions = _read(cursor, "SELECT dag_id, id FROM dag_version")
        named = f"SELECT id, id FROM scale_job_type WHERE name LIKE '{PREFIX}-%' ORDER BY id"
        chosen = list(_read(cursor, named))
        (error_id, *_) = _read(cursor, "SELECT id, id FROM scale_error ORDER BY id")
        made = list(jobs(count, chosen, nodes, now))
        rows = _Rows(made, revisions, recipe_types, versions, workspace_id, error_id)
        for table, columns, lines in rows.tables():
            tell(f"  {table}")
            cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", _Lines(lines))
        for table in _COPIED:
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
            )
        cursor.execute("SELECT setval('dag_run_id_seq', (SELECT max(id) FROM dag_run))")
    connection.commit()


def _read(cursor: Any, statement: str) -> dict[Any, Any]:
    cursor.execute(statement)
    return dict(cursor.fetchall())


class _Lines:
    """What COPY reads: rows as lines, made while they are read. Texts must hold no tabs."""

    def __init__(self, rows: Iterator[tuple[object, ...]]):
        self._lines = (
            "\t".join(["\\N" if value is None else str(value) for value in row]) + "\n" for row in rows
        )

    def read(self, size: int) -> str:
        """Return some whole lines, of about so many characters; the empty text at the end."""
        return "".join(itertools.islice(self._lines, max(1, size // _LINE)))


@dataclass(frozen=True)
class _Rows:
    """The rows of each table."""

    made: list[Job]
    revisions: Mapping[int, int]
    recipe_types: Mapping[str, str]
    versions: Mapping[str, str]
    workspace_id: int
    error_id: int

    def tables(self) -> Iterator[tuple[str, str, Iterator[tuple[object, ...]]]]:
        """Yield each table's name, its columns and its rows, in an order that references allow."""
        yield "scale_trigger_event", "id, type, occurred, description", self._events()
        yield (
            "scale_recipe",
            "id, recipe_type_id, recipe_type_rev_id, event_id, data, dag_id, run_id, dispatched, created, "
            "completed, last_modified",
            self._recipes(),
        )
        yield (
            "scale_job",
            "id, job_type_id, job_type_rev_id, event_id, recipe_id, recipe_job_name, error_id, status, "
            "priority, num_exes, timeout, max_tries, cpus_required, mem_required, disk_in_required, "
            "disk_out_required, data, results, input_signature, dag_id, run_id, task_id, dispatched, "
            "created, queued, started, ended, last_status_change, last_modified",
            self._jobs(),
        )
        yield (
            "scale_job_execution",
            "id, job_id, exe_num, status, command_arguments, timeout, node_id, error_id, unswept, "
            "pre_started, pre_completed, job_started, job_completed, environment, results, warnings, "
            "created, queued, started, ended, last_modified",
            self._executions(),
        )
        yield (
            "scale_queue_entry",
            "job_id, job_type_ids, later_type_ids, priority, queued",
            self._entries(),
        )
        yield (
            "scale_file",
            "id, kind, workspace_id, file_name, file_path, media_type, file_size, data_type, uuid, "
            "is_deleted, geometry, meta_data, countries, created, last_modified, is_parsed, job_type_id, "
            "job_id, job_exe_id, output_name, is_operational, has_been_published, is_published, published",
            self._files(),
        )
        yield "scale_job_input_file", "job_id, input_name, file_id", self._inputs()
        yield (
            "dag_run",
            "id, dag_id, run_id, run_type, state, queued_at, start_date, run_after, created_at, updated_at, "
            "created_dag_version_id, conf",
            self._runs(),
        )
        yield (
            "task_instance",
            "id, task_id, dag_id, run_id, start_date, end_date, duration, state, try_number, max_tries, "
            "hostname, unixname, pool, pool_slots, queue, priority_weight, operator, queued_dttm, "
            "scheduled_dttm, updated_at, executor_config, task_display_name, dag_version_id",
            self._tasks(),
        )

    def _firsts(self) -> list[Job]:
        return self.made[::TASKS]

    def _events(self) -> Iterator[tuple[object, ...]]:
        for job in self._firsts():
            yield job.recipe, "USER", job.at("created"), '{"user": "benchmark"}'

    def _recipes(self) -> Iterator[tuple[object, ...]]:
        for job in self._firsts():
            dag_id = f"{PREFIX}-{job.dag}"
            type_id, revision_id = self.recipe_types[dag_id].strip("()").split(",")
            moment = job.at("created")
            data = '{"version": "1.0", "input_data": []}'
            yield (
                *(job.recipe, type_id, revision_id, job.recipe, data, dag_id, f"run-{job.recipe}"),
                *(moment, moment, moment, moment),
            )

    def _jobs(self) -> Iterator[tuple[object, ...]]:
        for job in self.made:
            waited = job.status in _NEVER_QUEUED
            data = (
                f'{{"version": "1.0", "input_data": [{{"name": "input", "file_id": {2 * job.number - 1}}}]}}'
            )
            # As dispatch leaves it: only what waits has no run yet.
            dispatched = None if job.status in ("QUEUED", *_NEVER_QUEUED) else job.at("queued")
            yield (
                *(job.number, job.job_type_id, self.revisions[job.job_type_id], job.recipe, job.recipe),
                *(job.task, self.error_id if job.status == "FAILED" else None, job.status),
                *(10 * (1 + job.job_type_id % 10), 0 if waited else 1, 1800, 3, 1.0, 128.0, 10.0, 64.0),
                *("{}" if waited else data, "{}", job.number, f"{PREFIX}-{job.dag}", f"run-{job.recipe}"),
                *(job.task, dispatched, job.at("created"), None if waited else job.at("queued")),
                *(
                    job.at("started") if not waited else None,
                    job.at("ended") if job.status in _ENDED else None,
                ),
                *(job.at("last"), job.at("last")),
            )

    def _executions(self) -> Iterator[tuple[object, ...]]:
        for job in self.made:
            if job.status in _NEVER_QUEUED:
                continue
            started, ended = job.at("started"), job.at("ended")
            yield (
                *(job.number, job.number, 1, job.status, "input output", 1800),
                *(job.node_id if started else None, self.error_id if job.status == "FAILED" else None, 0),
                *(started, started, started, ended, "{}", "{}", "{}", job.at("created"), job.at("queued")),
                *(started, ended, job.at("last")),
            )

    def _entries(self) -> Iterator[tuple[object, ...]]:
        for job in self.made:
            if job.status == "QUEUED":
                types = f"{{{job.job_type_id}}}"
                yield job.number, types, "{}", 10 * (1 + job.job_type_id % 10), job.at("queued")

    def _files(self) -> Iterator[tuple[object, ...]]:
        shape = "POLYGON ((10 50, 11 50, 11 51, 10 51, 10 50))"
        for job in self.made:
            moment = job.at("last")
            same = (shape, "{}", "{DEU}", moment, moment)
            number = 2 * job.number
            yield (
                *(number - 1, "SOURCE", self.workspace_id, f"scene-{number}.tif", f"raw/{number}/scene.tif"),
                *("image/tiff", 10_000_000, "{}", f"{number:032x}", False, *same, True),
                *(None, None, None, None, True, False, False, None),
            )
            published = job.number % 10 != 0 and job.status not in _NEVER_QUEUED
            if job.status in _NEVER_QUEUED:
                continue
            yield (
                *(number, "PRODUCT", self.workspace_id, f"product-{number}.tif", f"out/{number}/product.tif"),
                *("image/tiff", 10_000_000, "{}", f"{number + 1:032x}", False, *same, False),
                *(job.job_type_id, job.number, job.number, "output", job.number % 7 != 0),
                *(published, published, moment if published else None),
            )

    def _inputs(self) -> Iterator[tuple[object, ...]]:
        for job in self.made:
            if job.status not in _NEVER_QUEUED:
                yield job.number, "input", 2 * job.number - 1

    def _runs(self) -> Iterator[tuple[object, ...]]:
        for job in self._firsts():
            dag_id = f"{PREFIX}-{job.dag}"
            moment = job.at("created")
            yield (
                *(job.recipe, dag_id, f"run-{job.recipe}", "manual", "success", moment, moment, moment),
                *(moment, moment, self.versions[dag_id], "{}"),
            )

    def _tasks(self) -> Iterator[tuple[object, ...]]:
        for job in self.made:
            dag_id = f"{PREFIX}-{job.dag}"
            state = STATUSES[job.status][1]
            yield (
                *(uuid.UUID(int=job.number << 64 | job.number), job.task, dag_id, f"run-{job.recipe}"),
                *(job.at("started"), job.at("ended"), 60.0 if job.at("ended") else None, state, 1, 0),
                *("host", "airflow", "default_pool", 1, "default", 1, "ScaleJobOperator", job.at("queued")),
                *(job.at("queued"), job.at("last"), r"\\x80057d942e", job.task, self.versions[dag_id]),
            )
