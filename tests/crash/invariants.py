# SPDX-License-Identifier: Apache-2.0
"""What must hold once all is done, looked at from outside: by SQL, in directories, at the engine, by REST.

Each check yields how many things it looked at and one sentence for each that is wrong.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from scale_airflow.execution.processes import process_executions
from scale_airflow.execution.staging import FOLDER
from tests.crash import documents
from tests.crash.asked import Asked, Drop
from tests.crash.installation import CrashInstallation

_SHOWN = 20


@dataclass
class Finding:
    """One invariant: what it says, how many things were looked at, and what is wrong."""

    title: str
    looked_at: int = 0
    wrong: list[str] = field(default_factory=list)


class World:
    """All that there is when all is done; read once.

    :param asked: what was asked for.
    """

    def __init__(self, system: CrashInstallation, asked: Asked):
        self.system = system
        self.asked = asked

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self.system.database() as cursor:
            cursor.execute(query)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @cached_property
    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that are no system jobs."""
        return self.rows(
            "SELECT job.*, type.name AS type, error.name AS error, error.category "
            "FROM scale_job job JOIN scale_job_type type ON type.id = job.job_type_id "
            "LEFT JOIN scale_error error ON error.id = job.error_id WHERE NOT type.is_system ORDER BY job.id"
        )

    @cached_property
    def executions(self) -> dict[int, list[dict[str, Any]]]:
        """The executions of each job, in order."""
        found = defaultdict(list)
        for row in self.rows(
            "SELECT exe.*, error.name AS error, error.category FROM scale_job_execution exe "
            "LEFT JOIN scale_error error ON error.id = exe.error_id ORDER BY exe.job_id, exe.exe_num"
        ):
            found[row["job_id"]].append(row)
        return found

    @cached_property
    def files(self) -> list[dict[str, Any]]:
        """The files of workspaces."""
        return self.rows(
            "SELECT file.*, space.name AS workspace FROM scale_file file "
            "JOIN scale_workspace space ON space.id = file.workspace_id WHERE NOT file.is_deleted"
        )

    @cached_property
    def ingests(self) -> list[dict[str, Any]]:
        """The ingests."""
        return self.rows(
            "SELECT ingest.*, strike.name AS strike FROM scale_ingest ingest "
            "JOIN scale_strike strike ON strike.id = ingest.strike_id ORDER BY ingest.id"
        )

    @cached_property
    def recipes(self) -> list[dict[str, Any]]:
        """The recipes."""
        return self.rows(
            "SELECT recipe.*, type.name AS type FROM scale_recipe recipe "
            "JOIN scale_recipe_type type ON type.id = recipe.recipe_type_id ORDER BY recipe.id"
        )

    def path(self, file: dict[str, Any]) -> Path:
        """Return where a file of a workspace lies."""
        return self.system.workspace(str(file["workspace"])) / str(file["file_path"])

    def drops_by_content(self) -> dict[tuple[str, str], list[Drop]]:
        """Return the drops that a rule takes, by name and checksum."""
        found = defaultdict(list)
        for drop in self.asked.drops:
            if drop.is_matched:
                found[drop.name, drop.checksum].append(drop)
        return found


Check = Callable[[World], Iterator[str | int]]
CHECKS: list[tuple[str, Check, bool]] = []


def invariant(title: str, *, is_long: bool = False) -> Callable[[Check], Check]:
    """Let a function be a check: it yields a number for what it looks at, and a text for what is wrong.

    :param is_long: whether it is about what only long runs make.
    """

    def enter(check: Check) -> Check:
        CHECKS.append((title, check, is_long))
        return check

    return enter


def findings(system: CrashInstallation, asked: Asked) -> list[Finding]:
    """Look at everything."""
    world = World(system, asked)
    found = []
    for title, check, is_long in CHECKS:
        if is_long and not system.is_long:
            continue
        finding = Finding(title)
        for told in check(world):
            if isinstance(told, int):
                finding.looked_at += told
            else:
                finding.wrong.append(told)
        found.append(finding)
    return found


# -- jobs --------------------------------------------------------------------------------------------------


@invariant("Every job is in a final state, and none of its executions is unfinished")
def _final(world: World) -> Iterator[str | int]:
    for job in world.jobs:
        yield 1
        if job["status"] not in ("COMPLETED", "FAILED", "CANCELED"):
            yield f"Job {job['id']} ({job['type']}) is {job['status']}; why: {job['why']}"
        for execution in world.executions[job["id"]]:
            if execution["status"] in ("QUEUED", "RUNNING"):
                yield f"Execution {execution['id']} of job {job['id']} is {execution['status']}"


@invariant("A job's executions are numbered 1, 2, 3 …, and num_exes is how many they are")
def _numbered(world: World) -> Iterator[str | int]:
    for job in world.jobs:
        yield 1
        numbers = [execution["exe_num"] for execution in world.executions[job["id"]]]
        if numbers != list(range(1, job["num_exes"] + 1)):
            yield f"Job {job['id']} says {job['num_exes']} executions and has {numbers}"


@invariant("A job is COMPLETED if its last execution is, and no other execution ever is")
def _completed(world: World) -> Iterator[str | int]:
    for job in world.jobs:
        yield 1
        states = [execution["status"] for execution in world.executions[job["id"]]]
        last = states[-1] if states else None
        if (job["status"] == "COMPLETED") != (last == "COMPLETED"):
            yield f"Job {job['id']} is {job['status']}, its last execution {last}"
        if "COMPLETED" in states[:-1]:
            yield f"Job {job['id']} was completed more than once: {states}"


@invariant("What came before the last execution were system failures, or cancellations that a user undid")
def _retried(world: World) -> Iterator[str | int]:
    for job in world.jobs:
        for execution in world.executions[job["id"]][:-1]:
            yield 1
            undone = execution["status"] == "CANCELED" and job["id"] in world.asked.requeued
            failed = execution["status"] == "FAILED" and execution["category"] == "SYSTEM"
            if not (undone or failed):
                yield (
                    f"Execution {execution['exe_num']} of job {job['id']} ({job['type']}) is "
                    f"{execution['status']} ({execution['error']}: {execution['message']}), and it was "
                    "tried again"
                )


@invariant("A FAILED job has its last execution's error, and was tried as often as that error allows")
def _failed(world: World) -> Iterator[str | int]:
    for job in world.jobs:
        if job["status"] != "FAILED":
            if job["error"] is not None:
                yield f"Job {job['id']} is {job['status']} and has the error {job['error']}"
            continue
        yield 1
        last = world.executions[job["id"]][-1]
        if (last["status"], last["error"]) != ("FAILED", job["error"]):
            told = f"its last execution is {last['status']} with {last['error']}"
            yield f"Job {job['id']} failed with {job['error']}, {told}"
        if job["category"] == "SYSTEM" and job["num_exes"] < job["max_tries"]:
            told = f"after {job['num_exes']} tries: {last['message']}"
            yield f"Job {job['id']} failed with {job['error']} {told}"


@invariant(
    "Nothing is lost: every job that can complete has; only jobs told to fail failed, only canceled ones are"
)
def _nothing_lost(world: World) -> Iterator[str | int]:
    for job in world.jobs:
        yield 1
        if job["type"] == "crash-fails":
            expected = job["status"] == "FAILED" and job["error"] == "crash-bad-data"
        elif job["type"] in ("crash-late", "crash-halfway"):
            expected = job["status"] == "FAILED" and job["category"] == "SYSTEM"
        elif job["id"] in world.asked.canceled:
            expected = job["status"] in ("CANCELED", "COMPLETED")
            if job["id"] in world.asked.requeued and job["category"] == "SYSTEM":
                # A requeue gives one more try, and that may be the one that was killed.
                expected |= job["status"] == "FAILED" and job["num_exes"] == job["max_tries"]
        else:
            expected = job["status"] == "COMPLETED"
        if not expected:
            last = world.executions[job["id"]][-1:]
            told = f"{last[0]['error']}: {last[0]['message']}" if last else "never tried"
            yield f"Job {job['id']} ({job['type']}) is {job['status']}; {told}"


@invariant("Everything that was asked for is there, no more often than it was asked for")
def _asked(world: World) -> Iterator[str | int]:
    recipes = Counter(_word(recipe) for recipe in world.recipes if recipe["type"] == "crash-chain")
    jobs = Counter(
        _word(job)
        for job in world.jobs
        if job["recipe_id"] is None and _word(job) and job["type"] != "crash-clock"
    )
    for wanted, there, what in ((world.asked.chains, recipes, "recipe"), (world.asked.jobs, jobs, "job")):
        for word, times in wanted.items():
            yield 1
            if not 1 <= there[word] <= times:
                yield f"The {what} {word} was asked for {times} times and is there {there[word]} times"
        yield from (f"Nobody asked for the {what} {word}" for word in there if word not in wanted)


def _word(row: dict[str, Any]) -> str | None:
    inputs = row["data"].get("input_data") or [{}]
    return next((each.get("value") for each in inputs if each.get("name") == "word"), None)


@invariant("A recipe has each job of its definition once, and is completed if they all are")
def _recipes(world: World) -> Iterator[str | int]:
    members = defaultdict(list)
    for job in world.jobs:
        if job["recipe_id"] is not None:
            members[job["recipe_id"]].append(job)
    for recipe in world.recipes:
        yield 1
        wanted = documents.CHAIN if recipe["type"] == "crash-chain" else documents.SCENE
        names = sorted(job["recipe_job_name"] for job in members[recipe["id"]])
        if names != sorted(wanted):
            yield f"Recipe {recipe['id']} has the jobs {names}"
        done = all(job["status"] == "COMPLETED" for job in members[recipe["id"]])
        if (recipe["completed"] is not None) != done:
            yield f"Recipe {recipe['id']}: completed {recipe['completed']}, all its jobs COMPLETED: {done}"


# -- products ----------------------------------------------------------------------------------------------


@invariant(
    "Each output of each COMPLETED job is one product, made by the completed execution; there are no others"
)
def _products(world: World) -> Iterator[str | int]:
    products = defaultdict(list)
    for file in world.files:
        if file["kind"] == "PRODUCT":
            products[file["job_id"]].append(file)
    for job in world.jobs:
        yield 1
        found = [(file["job_exe_id"], file["output_name"]) for file in products.pop(job["id"], [])]
        wanted = []
        if job["status"] == "COMPLETED":
            wanted = [(world.executions[job["id"]][-1]["id"], documents.OUTPUT)]
        if found != wanted:
            yield f"Job {job['id']} ({job['status']}) has the products {found}, not {wanted}"
    yield from (f"Products belong to the unknown job {job_id}" for job_id in products)


@invariant("Each file of a workspace that has a row is there, with its size and checksum")
def _contents(world: World) -> Iterator[str | int]:
    for file in world.files:
        yield 1
        path = world.path(file)
        if not path.is_file():
            yield f"The {file['kind']} {path} (file {file['id']}) is not there"
        elif (len(content := path.read_bytes()), _sha(content)) != (file["file_size"], file["checksum"]):
            yield f"The {file['kind']} {path} (file {file['id']}) has another content than its row says"


@invariant("Each product says what follows from its job's inputs")
def _foretold(world: World) -> Iterator[str | int]:
    by_id = {file["id"]: file for file in world.files}
    inputs = defaultdict(dict)
    for row in world.rows("SELECT * FROM scale_job_input_file"):
        inputs[row["job_id"]][row["input_name"]] = row["file_id"]
    jobs = {job["id"]: job for job in world.jobs}
    for file in world.files:
        if file["kind"] != "PRODUCT":
            continue
        yield 1
        job = jobs[file["job_id"]]
        order = {"left": 0, "right": 1}
        names = sorted(inputs[job["id"]], key=lambda name: order.get(name, 0))
        try:
            wanted = b"".join(world.path(by_id[inputs[job["id"]][name]]).read_bytes() for name in names)
        except (OSError, KeyError) as error:
            yield f"An input of job {job['id']} can't be read: {error}"
            continue
        wanted += f"{_word(job) or job['type']}\n".encode()
        if world.path(file).is_file() and world.path(file).read_bytes() != wanted:
            yield f"The product {world.path(file)} of job {job['id']} says something else than it should"


@invariant("Each product descends from each input of its job, once")
def _ancestry(world: World) -> Iterator[str | int]:
    yield from (
        f"Product {row['id']} of job {row['job_id']} has {row['times']} links to its input {row['file_id']}"
        for row in world.rows(
            "SELECT file.id, file.job_id, input.file_id, count(link.id) AS times FROM scale_file file "
            "JOIN scale_job_input_file input ON input.job_id = file.job_id "
            "LEFT JOIN scale_file_ancestry link ON link.descendant_id = file.id "
            "AND link.ancestor_id = input.file_id AND link.ancestor_job_id IS NULL "
            "WHERE file.kind = 'PRODUCT' GROUP BY 1, 2, 3 HAVING count(link.id) <> 1"
        )
    )
    yield world.rows("SELECT count(*)::int AS many FROM scale_file_ancestry")[0]["many"]


# -- files -------------------------------------------------------------------------------------------------


@invariant("Each file that was dropped has one ingest, which has come to its end")
def _ingests(world: World) -> Iterator[str | int]:
    wanted = Counter((drop.strike, drop.name) for drop in world.asked.drops)
    found = Counter((ingest["strike"], ingest["file_name"]) for ingest in world.ingests)
    for key in sorted(wanted.keys() | found.keys()):
        yield wanted[key]
        if wanted[key] != found[key]:
            states = [
                (ingest["id"], ingest["status"], ingest["message"])
                for ingest in world.ingests
                if (ingest["strike"], ingest["file_name"]) == key
            ]
            yield f"{key[1]} was dropped {wanted[key]} times into {key[0]}; its ingests: {states}"
    for ingest in world.ingests:
        if ingest["status"] not in ("INGESTED", "DUPLICATE", "DEFERRED") or not ingest["is_cleared"]:
            yield (
                f"Ingest {ingest['id']} of {ingest['file_name']} ({ingest['strike']}) is {ingest['status']}, "
                f"cleared: {ingest['is_cleared']}; {ingest['message']}"
            )


@invariant(
    "Each content that was dropped is one source; what came again is a DUPLICATE, what no rule takes DEFERRED"
)
def _sources(world: World) -> Iterator[str | int]:
    sources = Counter(
        (file["file_name"], file["checksum"]) for file in world.files if file["kind"] == "SOURCE"
    )
    wanted = world.drops_by_content()
    for key in sorted(wanted.keys() | sources.keys()):
        yield 1
        if sources[key] != 1 or key not in wanted:
            yield f"{key[0]} with {key[1][:12]} was dropped {len(wanted[key])} times: {sources[key]} sources"
    names = {drop.name for drop in world.asked.drops}
    states: dict[str, Counter[str]] = defaultdict(Counter)
    for ingest in world.ingests:
        states[ingest["file_name"]][ingest["status"]] += 1
    for name in sorted(names):
        drops = [drop for drop in world.asked.drops if drop.name == name]
        different = len({drop.checksum for drop in drops})
        expected = Counter({"INGESTED": different, "DUPLICATE": len(drops) - different})
        if not drops[0].is_matched:
            expected = Counter({"DEFERRED": len(drops)})
        if +states[name] != +expected:
            yield f"{name} was dropped {len(drops)} times in {different} contents: {dict(states[name])}"


@invariant("Nothing is left at the top of a Strike directory or in ingesting/")
def _cleared(world: World) -> Iterator[str | int]:
    for name in documents.STRIKES:
        folder = world.system.strike_folder(name)
        yield 1
        left = [path for path in folder.iterdir() if path.is_file()]
        left += list((folder / "ingesting").glob("*"))
        yield from (f"{path} was left" for path in left)


@invariant("No content is in two places: one source, and one file in duplicate/ for each time it came again")
def _places(world: World) -> Iterator[str | int]:
    places: dict[str, list[Path]] = defaultdict(list)
    folders = [world.system.workspace(name) for name in documents.SOURCES]
    folders = [folder for folder in folders if folder.is_dir()]
    folders += [world.system.strike_folder(name) for name in documents.STRIKES]
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                places[_sha(path.read_bytes())].append(path)
    wanted = Counter(drop.checksum for drop in world.asked.drops)
    for checksum in sorted(wanted.keys() | places.keys()):
        yield 1
        if len(places[checksum]) != wanted[checksum]:
            shown = ", ".join(map(str, places[checksum]))
            yield f"A content was dropped {wanted[checksum]} times and lies at: {shown or 'no place'}"


@invariant("Each ingested CSV file has one event, one recipe, and one job that its parsing started")
def _started(world: World) -> Iterator[str | int]:
    events = Counter(
        (row["type"], row["file_id"])
        for row in world.rows(
            "SELECT type, (description->>'file_id')::int AS file_id FROM scale_trigger_event "
            "WHERE type IN ('INGEST', 'PARSE')"
        )
    )
    recipes = Counter(_file(row) for row in world.recipes if row["type"] == "crash-scene")
    jobs = Counter(
        _file(row) for row in world.jobs if row["type"] == "crash-parsed" and row["recipe_id"] is None
    )
    for file in world.files:
        if file["kind"] == "SOURCE" and file["file_name"].endswith(".csv"):
            yield 1
            key = file["id"]
            found = (events["INGEST", key], recipes[key], events["PARSE", key], jobs[key])
            if found != (1, 1, 1, 1):
                yield (
                    f"{file['file_name']}: {found[0]} INGEST events, {found[1]} recipes, {found[2]} PARSE "
                    f"events, {found[3]} jobs"
                )
            if not file["is_parsed"] or not file["file_path"].startswith("parsed/"):
                yield f"{file['file_name']} was not moved by its parsing: {file['file_path']}"


def _file(row: dict[str, Any]) -> int | None:
    return next((each.get("file_id") for each in row["data"].get("input_data", ())), None)


# -- what must not be left ---------------------------------------------------------------------------------


@invariant("Every file in the workspaces belongs to a row")
def _orphans(world: World) -> Iterator[str | int]:
    known = {world.path(file) for file in world.files}
    for folder in world.system.workspaces():
        for path in folder.rglob("*"):
            if path.is_file():
                yield 1
                if path not in known:
                    yield f"{path} belongs to nothing"


@invariant("No container is left")
def _containers(world: World) -> Iterator[str | int]:
    if world.system.engine is None:
        return
    client = world.system.engine.client()
    try:
        for container in client.containers(all=True):
            yield f"Container {container['Id'][:12]} is {container['Status']}: {container['Labels']}"
    finally:
        client.close()
    yield sum(job["type"] == "crash-box" for job in world.jobs)


@invariant("No scratch folder and no process of a job is left")
def _scratch(world: World) -> Iterator[str | int]:
    yield from (f"{path} was left" for path in world.system.work.iterdir() if FOLDER.match(path.name))
    for execution, pids in process_executions(world.system.work).items():
        for pid in pids:
            if psutil.pid_exists(pid):
                yield f"Process {pid} of execution {execution} was left"
    yield sum(len(each) for each in world.executions.values())


@invariant("Every run in Airflow has its recipe or job, every recipe and job its run; both have ended alike")
def _runs(world: World) -> Iterator[str | int]:
    runs = {
        (row["dag_id"], row["run_id"]): row["state"]
        for row in world.rows(
            "SELECT dag_id, run_id, state FROM dag_run "
            "WHERE dag_id LIKE 'scale\\_recipe.%' OR dag_id LIKE 'scale\\_job.%'"
        )
    }
    tasks = {
        (row["dag_id"], row["run_id"], row["task_id"]): row["state"]
        for row in world.rows("SELECT dag_id, run_id, task_id, state FROM task_instance")
    }
    wanted = {
        "COMPLETED": ("success",),
        "FAILED": ("failed",),
        "CANCELED": ("failed", "upstream_failed", None),
    }
    owners = {(row["dag_id"], row["run_id"]) for row in [*world.recipes, *world.jobs]}
    for job in world.jobs:
        yield 1
        state = tasks.get((job["dag_id"], job["run_id"], job["task_id"]), "missing")
        if job["dispatched"] is None and job["status"] == "CANCELED" and state == "missing":
            owners.discard((job["dag_id"], job["run_id"]))
            continue
        if state not in wanted.get(job["status"], ()):
            yield f"Job {job['id']} is {job['status']}, its task {state}"
    yield from (f"Airflow's run {run[1]} of {run[0]} belongs to nothing" for run in runs if run not in owners)
    yield from (f"Airflow has no run {owner[1]} of {owner[0]}" for owner in owners if owner not in runs)
    yield from (
        f"Airflow's run {run[1]} is {state}"
        for run, state in runs.items()
        if state not in ("success", "failed")
    )


@invariant("Nothing waits: no queue entry, no file duty, no unfinished system job of an ingest")
def _waiting(world: World) -> Iterator[str | int]:
    for table in ("scale_queue_entry", "scale_file_duty"):
        yield from (f"{table} still has {row}" for row in world.rows(f"SELECT * FROM {table}"))
    for row in world.rows(
        "SELECT job.id, job.status, job.num_exes, count(exe.id) AS executions FROM scale_job job "
        "JOIN scale_job_type type ON type.id = job.job_type_id "
        "LEFT JOIN scale_job_execution exe ON exe.job_id = job.id "
        "WHERE type.name = 'scale-ingest' GROUP BY 1, 2, 3"
    ):
        yield 1
        if row["status"] != "COMPLETED":
            yield f"The ingest job {row['id']} is {row['status']}"
        if row["num_exes"] != row["executions"]:
            yield f"The ingest job {row['id']} says {row['num_exes']} executions and has {row['executions']}"


@invariant("The REST API shows the same")
def _rest(world: World) -> Iterator[str | int]:
    client = world.system.installation.client
    shown = Counter(job["status"] for job in client.everything("jobs/") if not job["job_type"]["is_system"])
    if shown != Counter(job["status"] for job in world.jobs):
        yield f"jobs/ shows {dict(shown)}"
    yield shown.total()
    products = client.everything("products/")
    rows = sorted(file["id"] for file in world.files if file["kind"] == "PRODUCT")
    if sorted(product["id"] for product in products) != rows:
        yield f"products/ shows {len(products)} products of {len(rows)}"
    ingests = Counter(ingest["status"] for ingest in client.everything("ingests/"))
    if ingests != Counter(ingest["status"] for ingest in world.ingests):
        yield f"ingests/ shows {dict(ingests)}"


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
