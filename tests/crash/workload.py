# SPDX-License-Identifier: Apache-2.0
"""What the system has to do while it is killed: recipes, files, and what users do; all chosen by a seed.

It goes on no faster than the killing, so that there is work at every kill.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg2
import requests

from demo.errors import DemoError
from tests.crash import documents
from tests.crash.api import PATIENCE, Api
from tests.crash.asked import Asked, Drop, Size
from tests.crash.errands import Errands
from tests.crash.installation import CrashInstallation

_TOGETHER = 12
"""How many transfers are under way at most."""


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
        self._may_end = threading.Event()
        self._is_planned_done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="workload", daemon=True)
        self.errands = Errands(self, system, seed) if size.is_long else None

    def __len__(self) -> int:
        return len(self._steps)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        if self.errands is not None:
            self.errands.start()

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
        self._is_planned_done.wait(patience)
        self._may_end.set()
        self._thread.join(patience)
        if self._thread.is_alive():
            raise RuntimeError(f"The workload is still at step {self.done} of {len(self)}.")

    def asked_for(self) -> tuple[int, int]:
        """Return how many jobs and files were asked for; those that the clock starts are not counted."""
        scenes = sum(
            drop.name.endswith(".csv") for drop in {drop.name: drop for drop in self.asked.drops}.values()
        )
        chains, jobs = len(self.asked.chains) * len(documents.CHAIN), len(self.asked.jobs)
        return chains + scenes * (len(documents.SCENE) + 1) + jobs, len(self.asked.drops)

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
            steps.insert(self._random.randrange(len(steps) // 2, len(steps)), self.requeue)
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
            self.edit_job_type,
            self.edit_recipe_type,
            self.pause_node,
            self.pause_scheduler,
            self.import_configuration,
            self.edit_error,
            self.edit_workspace,
            self.create_error,
            self.create_workspace,
            self.create_types,
            self._sync_permissions,
        ]
        edits = [every[number % len(every)] for number in range(self.size.edits)]
        return edits

    # -- doing it -------------------------------------------------------------------------------------------
    def _run(self) -> None:
        for step in self._steps:
            self._wait_for_turn()
            self._do(step)
            self.done += 1
            if self.errands is not None:
                self._do(self.errands.next() or _nothing)
        self._is_planned_done.set()
        if self.errands is not None:
            while not self._may_end.is_set():
                self._do_errand()
            self._do(self.errands.finish)
        deadline = time.monotonic() + PATIENCE
        while (self._open or self._later) and time.monotonic() < deadline:
            self._go_on_with_files()
            time.sleep(0.1)
        if self._open or self._later:
            self.asked.trouble.append("Some files could not be dropped: their names stayed taken.")

    def _wait_for_turn(self) -> None:
        """Wait until the next step is due; do in between what somebody waits for."""
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._wanted > self.done, 0.2 if self.errands else None):
                    return
            self._do_errand()

    def _do_errand(self) -> None:
        assert self.errands is not None
        errand = self.errands.next()
        if errand is None:
            self._may_end.wait(0.2)
        self._do(errand or _nothing)

    def _do(self, step: Step) -> None:
        self._go_on_with_files()
        try:
            step()
        except (requests.RequestException, DemoError, psycopg2.Error, LookupError) as error:
            self.asked.trouble.append(f"{getattr(step, '__name__', 'a step')}: {error}"[:1000])

    def _chain_step(self, word: str) -> Step:
        return lambda: self.queue_chain(word)

    def queue_chain(self, word: str) -> None:
        """Queue a recipe."""

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

    def _job_step(self, job_type: str, word: str) -> Step:
        return lambda: self.queue_job(job_type, word)

    def queue_job(self, job_type: str, word: str, *, is_list: bool = False) -> None:
        """Queue a job; alone, or as a list of one."""
        places = {documents.OUTPUT: "products"}
        if job_type == "crash-halfway":
            places = {documents.OUTPUT: documents.PRODUCTS[1], "second": documents.BROKEN}

        def ask() -> Any:
            self.asked.jobs[word] = self.asked.jobs.get(word, 0) + 1
            data = {
                "version": "1.0",
                "input_data": [{"name": "word", "value": word}],
                "output_data": [
                    {"name": output, "workspace_id": self._api.id_of("workspaces", place)}
                    for output, place in places.items()
                ],
            }
            type_id = self._api.id_of("job-types", job_type)
            job = {"job_type_id": type_id, "job_data": data}
            if is_list:
                return self._api.post("queue/new-jobs/", {"jobs": [job]}, once=True)
            return self._api.post("queue/new-job/", job, once=True)

        self._api.until(ask, lambda: self._has("scale_job", word))

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
        self.cancel_one(self._random.choice(free))

    def cancel_one(self, number: int) -> None:
        """Cancel a job."""
        # Known before it is asked for: the answer may get lost.
        self.asked.canceled.add(number)
        if self._random.random() < 0.5:
            self._api.patch(f"jobs/{number}/", {"status": "CANCELED"}, accepted=(409,))
        else:
            self._api.post("jobs/cancel/", {"job_ids": [number]})

    def requeue(self) -> None:
        """Requeue a job that was canceled."""
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

    def drop(self, strike: str, name: str, content: bytes) -> None:
        """Drop a file as soon as its name is free."""
        self._later.append(Drop(strike, name, content, False))

    def drop_stray(self, strike: str, name: str, content: bytes) -> None:
        """Put a file that nobody knows to where Strike keeps those that it brings in."""
        staged = self._system.data / "staging" / name
        staged.write_bytes(content)
        folder = self._system.strike_folder(strike) / "ingesting"
        folder.mkdir(exist_ok=True)
        os.rename(staged, folder / name)
        self.asked.drops.append(Drop(strike, name, content, False))

    def _folder(self, drop: Drop) -> Path:
        return self._system.strike_folder(drop.strike)

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

    def edit_strike(self) -> None:
        """Change a Strike process."""
        number = self._api.id_of("strikes", self._random.choice(sorted(documents.STRIKES)))
        self._api.patch(f"strikes/{number}/", {"description": f"Edited {self._random.random()}."})

    def edit_job_type(self) -> None:
        """Give a job type another revision."""
        name = self._random.choice(("crash-first", "crash-next", "crash-parse"))
        type_id = self._api.id_of("job-types", name)
        interface = self._api.get(f"job-types/{type_id}/")["interface"]
        note = {"name": f"note{self._random.randrange(1000)}", "type": "property", "required": False}
        kept = [each for each in interface["input_data"] if not each["name"].startswith("note")]
        self._api.patch(f"job-types/{type_id}/", {"interface": {**interface, "input_data": [*kept, note]}})

    def edit_recipe_type(self) -> None:
        """Give a recipe type another revision."""
        type_id = self._api.id_of("recipe-types", "crash-chain")
        definition = self._api.get(f"recipe-types/{type_id}/")["definition"]
        definition["jobs"] = [*definition["jobs"][1:], definition["jobs"][0]]
        self._api.patch(f"recipe-types/{type_id}/", {"definition": definition})

    def pause_node(self, seconds: float = 0.0) -> None:
        """Pause the node for a while."""
        (node, *_) = self._api.get("nodes/")["results"]
        self._api.patch(f"nodes/{node['id']}/", {"is_paused": True, "pause_reason": "a try"})
        time.sleep(seconds)
        self._api.patch(f"nodes/{node['id']}/", {"is_paused": False})

    def pause_scheduler(self) -> None:
        """Pause the scheduler, and let it go on."""
        self._api.patch("scheduler/", {"is_paused": True})
        self._api.patch("scheduler/", {"is_paused": False})

    def import_configuration(self) -> None:
        """Import what was exported."""
        exported = self._api.get("configuration/")
        self._api.post("configuration/", {"import": exported})

    def edit_error(self) -> None:
        """Change an error."""
        error = self._api.id_of("errors", "crash-bad-data")
        self._api.patch(f"errors/{error}/", {"description": f"Edited {self._random.random()}."})

    def edit_workspace(self) -> None:
        """Change a workspace."""
        workspace = self._api.id_of("workspaces", "raw")
        self._api.patch(f"workspaces/{workspace}/", {"title": f"Raw {self._random.random()}"})

    def create_error(self) -> None:
        """Make an error."""
        name = f"crash-error-{self._random.randrange(10**6)}"
        document = {"name": name, "title": name, "description": name, "category": "ALGORITHM"}
        self._api.post("errors/", document, accepted=(400, 409))

    def create_workspace(self) -> None:
        """Make a workspace."""
        name = f"crash-space-{self._random.randrange(10**6)}"
        broker = {"type": "nfs", "mount": f"crash:/{name}"}
        document = {"name": name, "title": name, "json_config": {"version": "1.0", "broker": broker}}
        self._api.post("workspaces/", document, accepted=(400, 409))

    def create_types(self) -> None:
        """Make a job type, a recipe type and a Strike process."""
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

    def airflow(self, method: str, path: str, document: object) -> None:
        """Ask Airflow's own API."""
        self._api.airflow(method, path, document)

    def stop_clock(self) -> None:
        """Let the clock start nothing more."""
        self.asked.clock_stopped = self.asked.clock_stopped or datetime.now(timezone.utc)
        type_id = self._api.id_of("job-types", "crash-clock")
        self._api.patch(f"job-types/{type_id}/", {"trigger_rule": {"is_active": False}})


def _nothing() -> None:
    """Do nothing but what is done with every step."""
