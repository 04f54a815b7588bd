# SPDX-License-Identifier: Apache-2.0
"""What the system has to do while it is killed: recipes, files, and what users do; all chosen by a seed.

It goes on no faster than the killing, so that there is work at every kill.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import requests

from demo.errors import DemoError
from tests.crash import documents
from tests.crash.installation import CrashInstallation

_PATIENCE = 240.0
_TOGETHER = 12
"""How many transfers are under way at most."""


@dataclass(frozen=True)
class Size:
    """How much there is to do."""

    chains: int
    scenes: int
    failing: int
    slow: int
    files: int
    edits: int

    @property
    def jobs(self) -> int:
        """How many jobs that makes, system jobs not counted."""
        return self.chains * len(documents.CHAIN) + self.scenes * 3 + self.failing + self.slow


LONG = Size(chains=27, scenes=24, failing=6, slow=14, files=1000, edits=36)
SHORT = Size(chains=3, scenes=2, failing=1, slow=2, files=80, edits=4)


@dataclass(frozen=True)
class Drop:
    """A file that is dropped: into the directory of which Strike process, and in how many steps."""

    strike: str
    name: str
    content: bytes
    is_transfer: bool

    @property
    def checksum(self) -> str:
        """The sha256 of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def is_matched(self) -> bool:
        """Whether a rule of its Strike process takes it."""
        return self.name.endswith((".dat", ".csv"))


@dataclass
class Asked:
    """What was asked for, and what was answered; the invariants compare it with what there is."""

    drops: list[Drop] = field(default_factory=list)
    chains: dict[str, int] = field(default_factory=dict)
    """How often each recipe was asked for, by its word."""
    jobs: dict[str, int] = field(default_factory=dict)
    """How often each single job was asked for, by its word."""
    canceled: set[int] = field(default_factory=set)
    requeued: set[int] = field(default_factory=set)
    trouble: list[str] = field(default_factory=list)


Step = Callable[[], None]


class Workload:
    """The steps of one run."""

    def __init__(self, seed: int, size: Size, system: CrashInstallation):
        self.size = size
        self.asked = Asked()
        self._random = random.Random(f"{seed} workload")
        self._system = system
        self._api = Api(system)
        self._open: list[tuple[Drop, Path]] = []
        self._later: list[Drop] = []
        self._slow: list[int] = []
        self._steps = self._plan()
        self.done = 0
        self._wanted = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="workload", daemon=True)

    def __len__(self) -> int:
        return len(self._steps)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def advance(self, share: float) -> None:
        """Let it go on until this share of its steps is done."""
        with self._changed:
            self._wanted = max(self._wanted, min(len(self._steps), int(share * len(self._steps)) + 1))
            self._changed.notify_all()

    def is_at_rest(self) -> bool:
        """Say whether all that was to be done until now is done."""
        return self.done >= self._wanted

    def finish(self, patience: float) -> None:
        """Let it do the rest, and wait for that.

        :raises RuntimeError: if it takes longer.
        """
        self.advance(1.0)
        self._thread.join(patience)
        if self._thread.is_alive():
            raise RuntimeError(f"The workload is still at step {self.done} of {len(self)}.")

    # -- what there is to do --------------------------------------------------------------------------------
    def _plan(self) -> list[Step]:
        size = self.size
        steps: list[Step] = [self._chain_step(f"chain-{number}") for number in range(size.chains)]
        steps += [self._job_step("crash-fails", f"fails-{number}") for number in range(size.failing)]
        steps += [self._job_step("crash-slow", f"slow-{number}") for number in range(size.slow)]
        drops = self._drops()
        # Files by the handful, so that jobs and files come mixed.
        width = max(1, len(drops) // max(1, 3 * len(steps)))
        handfuls = [drops[start : start + width] for start in range(0, len(drops), width)]
        steps += [self._drop_step(handful) for handful in handfuls]
        self._random.shuffle(steps)
        for kind in self._chosen_edits():
            steps.insert(self._random.randrange(len(steps) // 10, len(steps)), kind)
        for _ in range(size.slow):
            steps.insert(self._random.randrange(len(steps) // 4, len(steps)), self._cancel)
        for _ in range(max(1, size.slow // 2)):
            steps.insert(self._random.randrange(len(steps) // 2, len(steps)), self._requeue)
        return steps

    def _drops(self) -> list[Drop]:
        choose = self._random
        plain: list[Drop] = []
        special = max(2, self.size.files // 12)
        first = self.size.files - 2 * special
        for number in range(first):
            extension = "csv" if number < self.size.scenes else ("junk" if number % 16 == 5 else "dat")
            name = f"f{number:04}.{extension}"
            content = f"{name} of {choose.random()}\n".encode() * choose.choice((1, 10, 2000))
            plain.append(self._drop(name, content))
        choose.shuffle(plain)
        again = []
        for number in range(special):
            drop = choose.choice(plain)
            again.append(self._drop(drop.name, drop.content))
            other = choose.choice(plain)
            if other.name.endswith(".csv"):
                other = drop  # a new content would start another recipe
            content = b"" if number == 0 else f"{other.name}, another one, {choose.random()}\n".encode()
            if other.name.endswith(".csv"):
                content = other.content
            again.append(self._drop(other.name, content))
        # What comes again comes after what it repeats.
        middle = len(plain) // 2
        rest = plain[middle:] + again
        return plain[:middle] + rest

    def _drop(self, name: str, content: bytes) -> Drop:
        strike = self._random.choice(sorted(documents.STRIKES))
        return Drop(strike, name, content, self._random.random() < 0.25)

    def _chosen_edits(self) -> list[Step]:
        every: list[Step] = [
            self._restart_strike,
            self._edit_job_type,
            self._edit_recipe_type,
            self._pause_node,
            self._pause_scheduler,
            self._import,
            self._edit_error,
            self._edit_workspace,
            self._create_error,
            self._create_workspace,
            self._create_types,
            self._sync_permissions,
        ]
        edits = [every[number % len(every)] for number in range(self.size.edits)]
        return edits

    # -- doing it -------------------------------------------------------------------------------------------
    def _run(self) -> None:
        for step in self._steps:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted > self.done)
            self._do(step)
            self.done += 1
        deadline = time.monotonic() + _PATIENCE
        while (self._open or self._later) and time.monotonic() < deadline:
            self._go_on_with_files()
            time.sleep(0.1)
        if self._open or self._later:
            self.asked.trouble.append("Some files could not be dropped: their names stayed taken.")

    def _do(self, step: Step) -> None:
        self._go_on_with_files()
        try:
            step()
        except (requests.RequestException, DemoError, psycopg2.Error, LookupError) as error:
            self.asked.trouble.append(f"{getattr(step, '__name__', 'a step')}: {error}"[:1000])

    def _chain_step(self, word: str) -> Step:
        def queue_chain() -> None:
            def ask() -> Any:
                self.asked.chains[word] = self.asked.chains.get(word, 0) + 1
                data = {
                    "version": "1.0",
                    "input_data": [{"name": "word", "value": word}],
                    "workspace_id": self._api.id_of("workspaces", "products"),
                }
                type_id = self._api.id_of("recipe-types", "crash-chain")
                return self._api.post(
                    "queue/new-recipe/", {"recipe_type_id": type_id, "recipe_data": data}, once=True
                )

            self._api.until(ask, lambda: self._has("scale_recipe", word))

        return queue_chain

    def _job_step(self, job_type: str, word: str) -> Step:
        def queue_job() -> None:
            def ask() -> Any:
                self.asked.jobs[word] = self.asked.jobs.get(word, 0) + 1
                products = self._api.id_of("workspaces", "products")
                data = {
                    "version": "1.0",
                    "input_data": [{"name": "word", "value": word}],
                    "output_data": [{"name": documents.OUTPUT, "workspace_id": products}],
                }
                type_id = self._api.id_of("job-types", job_type)
                return self._api.post("queue/new-job/", {"job_type_id": type_id, "job_data": data}, once=True)

            self._api.until(ask, lambda: self._has("scale_job", word))

        return queue_job

    def _has(self, table: str, word: str) -> bool:
        with self._system.database() as cursor:
            cursor.execute(
                f"SELECT id FROM {table} WHERE data->'input_data'->0->>'value' = %s"
                + (" AND recipe_id IS NULL" if table == "scale_job" else ""),
                (word,),
            )
            row = cursor.fetchone()
        if row is not None and word.startswith("slow-") and row[0] not in self._slow:
            self._slow.append(row[0])
        return row is not None

    def _cancel(self) -> None:
        for word in list(self.asked.jobs):
            if word.startswith("slow-"):
                self._has("scale_job", word)
        free = [number for number in self._slow if number not in self.asked.canceled]
        if not free:
            return
        number = self._random.choice(free)
        # Known before it is asked for: the answer may get lost.
        self.asked.canceled.add(number)
        if self._random.random() < 0.5:
            self._api.patch(f"jobs/{number}/", {"status": "CANCELED"}, accepted=(409,))
        else:
            self._api.post("jobs/cancel/", {"job_ids": [number]})

    def _requeue(self) -> None:
        free = sorted(self.asked.canceled - self.asked.requeued)
        if not free:
            return
        number = self._random.choice(free)
        self.asked.requeued.add(number)
        if self._random.random() < 0.5:
            self._api.post("queue/requeue-job/", {"job_id": number}, accepted=(409,))
        else:
            self._api.post("queue/requeue-jobs/", {"job_ids": [number]})

    # -- files ----------------------------------------------------------------------------------------------
    def _drop_step(self, drops: list[Drop]) -> Step:
        def drop_files() -> None:
            self._later += drops

        return drop_files

    def _folder(self, drop: Drop) -> Path:
        return self._system.data / documents.STRIKES[drop.strike]

    def _go_on_with_files(self) -> None:
        """Complete what is in transfer, and drop what has a free name."""
        for drop, path in list(self._open):
            if self._random.random() < 0.7:
                with path.open("ab") as file:
                    file.write(drop.content[len(drop.content) // 2 :])
                if self._show(path, self._folder(drop) / drop.name):
                    self._open.remove((drop, path))
                else:
                    path.write_bytes(drop.content[: len(drop.content) // 2])
        for drop in list(self._later):
            final = self._folder(drop) / drop.name
            begun = final.with_name(final.name + documents.SUFFIX)
            if final.exists() or begun.exists() or any(path == begun for _, path in self._open):
                continue
            if drop.is_transfer and len(self._open) < _TOGETHER:
                begun.write_bytes(drop.content[: len(drop.content) // 2])
                self._open.append((drop, begun))
            else:
                staged = self._system.data / "staging" / drop.name
                staged.write_bytes(drop.content)
                if not self._show(staged, final):
                    continue
            self._later.remove(drop)
            self.asked.drops.append(drop)

    @staticmethod
    def _show(path: Path, final: Path) -> bool:
        """Give a complete file its name, unless another still has it."""
        if final.exists():
            return False
        os.rename(path, final)
        return True

    # -- what users do --------------------------------------------------------------------------------------
    def _restart_strike(self) -> None:
        """End the run of a Strike process in Airflow: the next one begins by itself."""
        strike = self._random.choice(sorted(documents.STRIKES))
        with self._system.database() as cursor:
            cursor.execute("SELECT dag_id FROM scale_strike WHERE name = %s", (strike,))
            (dag_id,) = cursor.fetchone()
            cursor.execute(
                "SELECT run_id FROM dag_run WHERE dag_id = %s AND state IN ('queued', 'running')", (dag_id,)
            )
            found = cursor.fetchone()
        if found is not None:
            self._api.airflow("PATCH", f"dags/{dag_id}/dagRuns/{found[0]}", {"state": "failed"})

    def _edit_job_type(self) -> None:
        name = self._random.choice(("crash-first", "crash-next", "crash-parse"))
        type_id = self._api.id_of("job-types", name)
        interface = self._api.get(f"job-types/{type_id}/")["interface"]
        note = {"name": f"note{self._random.randrange(1000)}", "type": "property", "required": False}
        kept = [each for each in interface["input_data"] if not each["name"].startswith("note")]
        self._api.patch(f"job-types/{type_id}/", {"interface": {**interface, "input_data": [*kept, note]}})

    def _edit_recipe_type(self) -> None:
        type_id = self._api.id_of("recipe-types", "crash-chain")
        definition = self._api.get(f"recipe-types/{type_id}/")["definition"]
        definition["jobs"] = [*definition["jobs"][1:], definition["jobs"][0]]
        self._api.patch(f"recipe-types/{type_id}/", {"definition": definition})

    def _pause_node(self) -> None:
        (node, *_) = self._api.get("nodes/")["results"]
        self._api.patch(f"nodes/{node['id']}/", {"is_paused": True, "pause_reason": "a try"})
        self._api.patch(f"nodes/{node['id']}/", {"is_paused": False})

    def _pause_scheduler(self) -> None:
        self._api.patch("scheduler/", {"is_paused": True})
        self._api.patch("scheduler/", {"is_paused": False})

    def _import(self) -> None:
        exported = self._api.get("configuration/")
        self._api.post("configuration/", {"import": exported})

    def _edit_error(self) -> None:
        error = self._api.id_of("errors", "crash-bad-data")
        self._api.patch(f"errors/{error}/", {"description": f"Edited {self._random.random()}."})

    def _edit_workspace(self) -> None:
        workspace = self._api.id_of("workspaces", "raw")
        self._api.patch(f"workspaces/{workspace}/", {"title": f"Raw {self._random.random()}"})

    def _create_error(self) -> None:
        name = f"crash-error-{self._random.randrange(10**6)}"
        document = {"name": name, "title": name, "description": name, "category": "ALGORITHM"}
        self._api.post("errors/", document, accepted=(400, 409))

    def _create_workspace(self) -> None:
        name = f"crash-space-{self._random.randrange(10**6)}"
        broker = {"type": "nfs", "mount": f"crash:/{name}"}
        document = {"name": name, "title": name, "json_config": {"version": "1.0", "broker": broker}}
        self._api.post("workspaces/", document, accepted=(400, 409))

    def _create_types(self) -> None:
        number = self._random.randrange(10**6)
        kind = documents.job_type(f"crash-more-{number}", Path("/bin/true"), {"word": "property"})
        self._api.post("job-types/", kind, accepted=(400, 409))
        recipe = documents.chain()
        self._api.post("recipe-types/", {**recipe, "name": f"crash-more-{number}"}, accepted=(400, 409))
        watched = self._system.data / f"more-{number}"
        watched.mkdir(exist_ok=True)
        strike = {
            "name": f"crash-more-{number}",
            "title": "",
            "description": "",
            "configuration": {
                "version": "1.0",
                "mount": f"host:{watched}",
                "transfer_suffix": documents.SUFFIX,
                "files_to_ingest": [
                    {"filename_regex": ".*", "workspace_path": "more", "workspace_name": "raw"}
                ],
            },
        }
        self._api.post("strike/create/", strike, accepted=(400, 409))

    def _sync_permissions(self) -> None:
        self._api.command("sync-perms")


class Api:
    """The REST API as a patient user: who gets no answer asks again."""

    def __init__(self, system: CrashInstallation):
        self._system = system
        self._client = system.installation.client
        self._ids: dict[tuple[str, str], int] = {}
        self.lost = Counter[str]()

    def get(self, path: str, **parameters: Any) -> Any:
        """Return what a path shows."""
        return self._ask("GET", f"/scale/api/{path}", params=parameters)

    def post(self, path: str, document: object, *, accepted: tuple[int, ...] = (), once: bool = False) -> Any:
        """Send a document; ``accepted`` are error codes that may say that an earlier try has come through."""
        return self._ask("POST", f"/scale/api/{path}", accepted, once, json=document)

    def patch(self, path: str, document: object, *, accepted: tuple[int, ...] = ()) -> Any:
        """Change something."""
        return self._ask("PATCH", f"/scale/api/{path}", accepted, json=document)

    def airflow(self, method: str, path: str, document: object) -> Any:
        """Ask Airflow's own API; that a run is over or gone by now is fine."""
        return self._ask(method, f"/api/v2/{path}", (404, 409), json=document)

    def command(self, *words: str) -> None:
        """Run ``airflow scale``; once more if it is killed."""
        for attempt in range(8):
            try:
                self._system.installation.airflow(["scale", *words])
                return
            except DemoError:
                if attempt == 7:
                    raise
                time.sleep(0.5)

    def id_of(self, family: str, name: str) -> int:
        """Return the id of a row of a list by its name."""
        if (family, name) not in self._ids:
            self._ids.update({(family, row["name"]): row["id"] for row in self._all(family)})
        return self._ids[family, name]

    def _all(self, family: str) -> list[dict[str, Any]]:
        return list(self.get(f"{family}/", page_size=1000)["results"])

    def until(self, ask: Callable[[], Any], is_done: Callable[[], bool]) -> None:
        """Ask for something that must not be asked for twice: look first whether it is there.

        :raises requests.RequestException: if it is never answered.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                ask()
            except requests.RequestException:
                if time.monotonic() > deadline:
                    raise
            with suppress(psycopg2.Error):
                # A commit that was under way when the server died has come through, or never will.
                time.sleep(0.5)
                if is_done():
                    return
            if time.monotonic() > deadline:
                raise LookupError("What was asked for is not there.")

    def _ask(
        self, method: str, path: str, accepted: tuple[int, ...] = (), once: bool = False, **arguments: Any
    ) -> Any:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                answer = self._client.request(method, path, **arguments)
                if answer.ok or answer.status_code in accepted:
                    return answer.json() if answer.content else None
                told = f"{method} {path}: {answer.status_code} {answer.text[:500]}"
                if answer.status_code < 500 and answer.status_code not in (401, 403):
                    raise LookupError(told)
                raise requests.HTTPError(told, response=answer)
            except requests.RequestException as error:
                self.lost[type(error).__name__] += 1
                if once or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
