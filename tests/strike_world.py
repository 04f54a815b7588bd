# SPDX-License-Identifier: Apache-2.0
"""A Strike process on a real directory and database, whose tasks run in the test and may be killed."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select, update
from world import World

from scale_airflow.config import settings
from scale_airflow.engine import runs
from scale_airflow.errors import Conflict, Forbidden, InvalidDocument, InvalidRequest, NotFound, ScaleApiError
from scale_airflow.execution.ingest import messages as wire
from scale_airflow.execution.ingest.batch import Summary, ingest_all
from scale_airflow.execution.ingest.directory import StrikeDirectory, list_files
from scale_airflow.execution.ingest.watch import Look, digest_of, look
from scale_airflow.execution.wire import Message
from scale_airflow.services import executions, ingest, ingest_plans, ingest_results, strikes, sweeps
from scale_airflow.store.models import Ingest, ScaleFile, Strike
from scale_airflow.store.session import transaction
from scale_airflow.workspaces.directory import DirectoryBroker

SUFFIX = "_tmp"
RUN = "manual__1"

AnswerT = TypeVar("AnswerT", bound=Message)

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (InvalidDocument, 400),
    (InvalidRequest, 400),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
)


class Killed(BaseException):
    """The process was killed here."""


@dataclass
class Points:
    """The places where a worker may be killed or held: every call to the server and every file operation."""

    reached: list[str] = field(default_factory=list)
    action: Callable[[str, int], None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, point: str) -> None:
        with self.lock:
            self.reached.append(point)
            number = len(self.reached)
        if self.action is not None:
            self.action(point, number)

    @contextmanager
    def acting(self, action: Callable[[str, int], None] | None) -> Iterator[None]:
        self.reached, self.action = [], action
        try:
            yield
        finally:
            self.action = None

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Surround the file operations of workers with points."""
        places: list[tuple[type, str]] = [
            (StrikeDirectory, "move"),
            (StrikeDirectory, "remove"),
            (StrikeDirectory, "give_back"),
            (StrikeDirectory, "sync"),
            (DirectoryBroker, "store"),
        ]
        for kind, name in places:
            monkeypatch.setattr(kind, name, self._surrounded(name, getattr(kind, name)))

    def _surrounded(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def surrounded(*arguments: Any, **keywords: Any) -> Any:
            self.reach(f"before {name}")
            result = operation(*arguments, **keywords)
            self.reach(f"after {name}")
            return result

        return surrounded


@dataclass
class Server:
    """The API server without HTTP: each call is one transaction, and what is said goes through JSON."""

    strike_id: int
    points: Points

    def watch(self, request: wire.WatchRequest) -> wire.WatchAnswer:
        return self._call("watch", sweeps.watch, self.strike_id, request, wire.WatchAnswer)

    def sweep(self, request: wire.SweepRequest) -> wire.SweepAnswer:
        return self._call("sweep", sweeps.sweep, self.strike_id, request, wire.SweepAnswer)

    def moved(self, request: wire.MovedRequest) -> wire.MovedAnswer:
        return self._call("moved", sweeps.moved, self.strike_id, request, wire.MovedAnswer)

    def settle(self, request: wire.SettleRequest) -> wire.SettleAnswer:
        return self._call("settle", sweeps.settle, self.strike_id, request, wire.SettleAnswer)

    def batch(self, request: wire.BatchRequest) -> wire.BatchAnswer:
        return self._call("batch", ingest.begin_batch, self.strike_id, request, wire.BatchAnswer)

    def cleared(self, request: wire.ClearedRequest) -> None:
        self._call("cleared", ingest.record_cleared, self.strike_id, request, wire.Done)

    def running(self, execution_id: int, token: str) -> BatchReports:
        return BatchReports(self, execution_id, token)

    def _call(
        self,
        what: str,
        service: Callable[..., Message | None],
        number: int,
        request: Message,
        answer: type[AnswerT],
        token: str | None = None,
    ) -> AnswerT:
        self.points.reach(f"before {what}")
        try:
            with transaction() as session:
                if token is not None:
                    executions.authenticate(session, number, token)
                said = service(session, number, type(request).from_dict(_travelled(request)))
        except tuple(kind for kind, _ in _STATUS) as error:
            status = next(status for kind, status in _STATUS if isinstance(error, kind))
            raise ScaleApiError(str(error), status=status) from error
        self.points.reach(f"after {what}")
        return answer.from_dict(_travelled(said or wire.Done()))


@dataclass
class BatchReports:
    server: Server
    execution_id: int
    token: str

    def plan(self, request: wire.PlanRequest) -> wire.PlanAnswer:
        return self._call("plan", ingest_plans.plan, request, wire.PlanAnswer)

    def stored(self, request: wire.StoredRequest) -> wire.StoredAnswer:
        return self._call("stored", ingest_results.commit_results, request, wire.StoredAnswer)

    def finish(self, request: wire.FinishRequest) -> None:
        self._call("finish", ingest.finish_batch, request, wire.Done)

    def _call(self, what: str, service: Any, request: Message, answer: type[AnswerT]) -> AnswerT:
        return self.server._call(what, service, self.execution_id, request, answer, self.token)


def _travelled(message: Message) -> Any:
    return json.loads(json.dumps(message.to_dict()).encode())


@dataclass
class StrikeWorld:
    """One Strike process: its directory, its tasks, and what a user does there."""

    world: World
    root: Path
    strike_id: int
    points: Points
    user_drops: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def make(cls, world: World, root: Path, name: str = "inbox", **configuration: Any) -> StrikeWorld:
        directory = root / name
        directory.mkdir(parents=True)
        with transaction() as session:
            strike = strikes.create_strike(
                session,
                {
                    "name": name,
                    "configuration": {
                        "version": "1.0",
                        "mount": f"host:{directory}",
                        "mount_on": str(directory),
                        "transfer_suffix": SUFFIX,
                        "files_to_ingest": [
                            {
                                "filename_regex": r".*\.h5$",
                                "workspace_path": "/scenes",
                                "workspace_name": "raw",
                                "data_types": ["scene"],
                            }
                        ],
                        **configuration,
                    },
                },
            )
            strike_id, dag_id = strike.id, strike.dag_id
        with transaction() as session:
            runs.create_run(session, dag_id=dag_id, run_id=RUN, conf={}, priority=5)
        return cls(world, directory, strike_id, Points())

    @property
    def workspace(self) -> Path:
        return self.root.parent / "raw"

    def server(self) -> Server:
        return Server(self.strike_id, self.points)

    def task(self, task_id: str) -> wire.TaskIdentity:
        """Let Airflow start the next try of a task, on a worker of its own; what ran before is over."""
        with transaction() as session:
            dag_id = session.get_one(Strike, self.strike_id).dag_id
            chosen = (TaskInstance.dag_id == dag_id, TaskInstance.task_id == task_id)
            session.execute(
                update(TaskInstance)
                .where(*chosen)
                .values(id=uuid.uuid4(), try_number=TaskInstance.try_number + 1, state="running")
                .execution_options(synchronize_session=False)
            )
            row = session.execute(select(TaskInstance.id, TaskInstance.try_number).where(*chosen)).one()
        return wire.TaskIdentity(dag_id, RUN, task_id, -1, row.try_number, str(row.id), "worker-1")

    def look(self, task: wire.TaskIdentity | None = None) -> Look:
        return look(self.server(), task or self.task("watch"), settings())

    def ingest(self, task: wire.TaskIdentity | None = None) -> Summary:
        return ingest_all(self.server(), task or self.task("ingest"), settings())

    def drop(self, name: str, content: str, *, suffix: str = "") -> bool:
        """A user's file comes in at once; a name that is there is not replaced."""
        target = self.root / f"{name}{suffix}"
        if target.exists():
            return False
        staged = self.root.parent / f"staged-{uuid.uuid4().hex}"
        staged.write_text(content)
        staged.rename(target)
        if not suffix:
            self.user_drops[(name, content)] += 1
        return True

    def end_transfer(self, name: str) -> bool:
        """A user's transfer ends: its file gets the name without the suffix."""
        arriving = self.root / f"{name}{SUFFIX}"
        if (self.root / name).exists() or not arriving.exists():
            return False
        self.user_drops[(name, arriving.read_text())] += 1
        arriving.rename(self.root / name)
        return True

    def let_time_pass(self) -> None:
        """What waits to be tried again may be tried now."""
        with transaction() as session:
            session.execute(update(Ingest).where(Ingest.strike_id == self.strike_id).values(retry_at=None))

    def settle(self) -> None:
        """Let tasks run as the DAG does, undisturbed, until nothing more is to be done."""
        for _ in range(30):
            found = self.look()
            if found.due:
                self.ingest()
            elif found.digest == digest_of(list_files(self.root), SUFFIX):
                return  # nothing would wake the sensor
        raise AssertionError(f"still busy: {found}, {sorted(path.name for path in self.files())}")

    def files(self, *folder: str) -> list[Path]:
        return sorted(path for path in self.root.joinpath(*folder).iterdir() if path.is_file())

    def ingests(self, **filters: Any) -> list[Ingest]:
        self.world.session.rollback()
        query = select(Ingest).filter_by(strike_id=self.strike_id, **filters).order_by(Ingest.id)
        return list(self.world.session.scalars(query))

    def statuses(self) -> Counter[str]:
        return Counter(row.status for row in self.ingests())

    def check(self) -> None:
        """Check from outside that every file is where it belongs, once, with its rows."""
        stored = self._check_stored()
        by_name: Counter[str] = Counter()
        for (name, content), count in self.user_drops.items():
            by_name[name] += count
            if name.endswith(".h5"):
                assert stored.pop((name, content), 0) == 1, (name, content)
        assert not stored
        finals = Counter(
            row.file_name for row in self.ingests() if row.status in ("INGESTED", "DUPLICATE", "DEFERRED")
        )
        assert finals == by_name
        duplicates = sum(
            max(0, count - 1) for (name, _), count in self.user_drops.items() if name.endswith(".h5")
        )
        deferred = sum(count for (name, _), count in self.user_drops.items() if not name.endswith(".h5"))
        assert len(self.files("duplicate")) == duplicates
        assert len(self.files("deferred")) == deferred
        assert self.files("ingesting") == []
        assert all(path.name.endswith(SUFFIX) for path in self.files())
        assert all(row.is_cleared for row in self.ingests() if row.status != "TRANSFERRING")
        arriving = {row.file_name + SUFFIX for row in self.ingests(status="TRANSFERRING")}
        assert arriving == {path.name for path in self.files()}

    def _check_stored(self) -> Counter[tuple[str, str]]:
        """Compare the workspace with the rows of source files; return names and contents."""
        strike_ingests = {row.source_file_id for row in self.ingests(status="INGESTED")}
        rows = [
            row
            for row in self.world.session.scalars(select(ScaleFile).where(ScaleFile.kind == "SOURCE"))
            if row.id in strike_ingests
        ]
        assert len(rows) == len(strike_ingests)
        stored: Counter[tuple[str, str]] = Counter()
        for row in rows:
            content = (self.workspace / row.file_path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == row.checksum
            assert len(content) == row.file_size
            stored[(row.file_name, content.decode())] += 1
        return stored


def all_files(folder: Path) -> list[str]:
    """Return every file below a folder, relative to it."""
    return sorted(
        os.path.relpath(Path(head) / name, folder) for head, _, names in os.walk(folder) for name in names
    )
