# SPDX-License-Identifier: Apache-2.0
"""Bring files from a Strike directory into their workspaces, batch after batch, until none is due.

Per file: read for its checksum, stored under its path in the workspace (complete at once or not at all),
committed by the server, and only then removed from the Strike directory. Whoever is killed in between
leaves a file that the next task finds where it was.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from scale_airflow import crash_points
from scale_airflow.config import Settings
from scale_airflow.definitions.strike_configuration import StrikeConfiguration
from scale_airflow.errors import ScaleApiError, ScaleError, WorkspaceError
from scale_airflow.execution.ingest import names
from scale_airflow.execution.ingest.directory import StrikeDirectory
from scale_airflow.execution.ingest.messages import (
    DUPLICATE,
    BatchAnswer,
    BatchRequest,
    ClearedRequest,
    ClearOrder,
    ClearResult,
    FinishRequest,
    HashedFile,
    IngestOrder,
    IngestResult,
    ListedFile,
    MoveOrder,
    PlanRequest,
    StoredRequest,
    TaskIdentity,
)
from scale_airflow.execution.ingest.server import BatchServer, StrikeServer
from scale_airflow.execution.ingest.watch import directory_of
from scale_airflow.workspaces.broker import Broker, PathTaken, Transfer
from scale_airflow.workspaces.mounts import broker_for

log = logging.getLogger(__name__)

CHUNK_FILES = 100
CHUNK_BYTES = 512 * 1024 * 1024
"""What is committed at once: so many files, or so many bytes."""

_THREADS = 4
_BLOCK = 1 << 20
_ROUNDS = 4


@dataclass
class Summary:
    """How many files a task ingested, found to be duplicates, could not ingest, or had to leave for later."""

    ingested: int = 0
    duplicates: int = 0
    errored: int = 0
    postponed: int = 0
    problem: str | None = None


def ingest_all(server: StrikeServer, task: TaskIdentity, settings: Settings) -> Summary:
    """Ingest what is due, until nothing is.

    :raises WorkspaceError: if the Strike directory can't be used.
    :raises ScaleApiError: if the server can't be reached, or the batch was taken over.
    """
    summary = Summary()
    while True:
        answer = server.batch(BatchRequest(task))
        if answer.execution_id is None and not answer.clear:
            return summary
        configuration = StrikeConfiguration.parse(answer.configuration)
        with StrikeDirectory(directory_of(configuration, settings)) as directory:
            _clear(server, task, directory, answer.clear)
            if answer.execution_id is not None and answer.token is not None:
                batch = server.running(answer.execution_id, answer.token)
                _Batch(server, batch, task, directory, settings, summary).run(answer)


def _clear(
    server: StrikeServer, task: TaskIdentity, directory: StrikeDirectory, orders: Sequence[ClearOrder]
) -> None:
    if orders:
        crash_points.reach("ingest.clear.before")
        results = tuple(clear(directory, order) for order in orders)
        directory.sync()
        crash_points.reach("ingest.clear.after")
        server.cleared(ClearedRequest(task, results))


def clear(directory: StrikeDirectory, order: ClearOrder) -> ClearResult:
    """Remove an ingested file, or move a duplicate aside, unless that was done before."""
    try:
        if not order.is_duplicate:
            directory.remove(order.path, order.identity)
            return ClearResult(order.ingest_id)
        plain = f"{DUPLICATE}/{order.name}"
        marked = f"{DUPLICATE}/{names.marked(order.name, str(order.ingest_id))}"
        if directory.find(order.path) is None:
            there = [path for path in (marked, plain) if directory.find(path) is not None]
            return ClearResult(order.ingest_id, there[0] if there else None)
        for path in (plain, marked):
            outcome = directory.move(MoveOrder(order.ingest_id, order.path, path, order.identity))
            if outcome.outcome == "moved":
                return ClearResult(order.ingest_id, path)
        message = outcome.message or f"It can't be moved to {marked}: that is taken."
        return ClearResult(order.ingest_id, message=message)
    except OSError as error:
        return ClearResult(order.ingest_id, message=f"It can't be cleared away: {error.strerror}.")


class _Batch:
    """One batch: its files, chunk by chunk."""

    def __init__(
        self,
        server: StrikeServer,
        batch: BatchServer,
        task: TaskIdentity,
        directory: StrikeDirectory,
        settings: Settings,
        summary: Summary,
    ):
        self.server = server
        self.batch = batch
        self.task = task
        self.directory = directory
        self.settings = settings
        self.summary = summary
        self.brokers: dict[int, Broker | WorkspaceError] = {}
        self.error_name: str | None = None

    def run(self, answer: BatchAnswer) -> None:
        """Bring in the files of the batch and end its job."""
        for workspace in answer.workspaces:
            self.brokers[workspace.id] = self._broker(workspace.name, workspace.configuration)
        for chunk in self._chunks(answer.files):
            self._chunk(chunk)
        crash_points.reach("ingest.finish.before")
        self.batch.finish(FinishRequest(self.error_name, self.summary.problem if self.error_name else None))

    def _broker(self, name: str, configuration: dict[str, object]) -> Broker | WorkspaceError:
        try:
            return broker_for(
                configuration, mounts=self.settings.mounts, allowed_roots=self.settings.allowed_roots
            )
        except ScaleError as error:
            return WorkspaceError(f"The workspace {name} can't be used: {error}")

    def _chunks(self, orders: Sequence[IngestOrder]) -> Iterator[list[IngestOrder]]:
        chunk: list[IngestOrder] = []
        size = 0
        for order in orders:
            found = self.directory.find(order.path)
            chunk.append(order)
            size += found.size if found else 0
            if len(chunk) == CHUNK_FILES or size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _chunk(self, orders: Sequence[IngestOrder]) -> None:
        with ThreadPoolExecutor(max_workers=_THREADS) as pool:
            work = [_Work(self.directory, order, self.brokers.get(order.workspace_id)) for order in orders]
            list(pool.map(_Work.read, work))
            todo = [each for each in work if each.hashed is not None]
            for _ in range(_ROUNDS):
                if not todo:
                    break
                request = PlanRequest(tuple(each.hashed for each in todo if each.hashed is not None))
                paths = {plan.ingest_id: plan.path for plan in self.batch.plan(request).plans}
                todo = [each for each in todo if each.order.ingest_id in paths]
                list(pool.map(_Work.store, todo, [paths[each.order.ingest_id] for each in todo]))
                todo = [each for each in todo if each.result is None]
        for each in todo:
            each.give_up()
        self._report([each.result for each in work if each.result is not None])

    def _report(self, results: Sequence[IngestResult]) -> None:
        orders: list[ClearOrder] = []
        try:
            crash_points.reach("ingest.report.before")
            orders += self.batch.stored(StoredRequest(tuple(results))).clear
            crash_points.reach("ingest.report.after")
        except ScaleApiError as error:
            if error.status != 500:
                raise
            # Something about one of the files: find out which, so that the others go on.
            for result in results:
                orders += self._report_alone(result)
        self._count(results, orders)
        _clear(self.server, self.task, self.directory, orders)

    def _report_alone(self, result: IngestResult) -> Sequence[ClearOrder]:
        try:
            return self.batch.stored(StoredRequest((result,))).clear
        except ScaleApiError as error:
            if error.status != 500:
                raise
            message = f"The API server could not commit it: {error}"
            failed = IngestResult(result.ingest_id, "failed", message=message)
            return self.batch.stored(StoredRequest((failed,))).clear

    def _count(self, results: Sequence[IngestResult], orders: Sequence[ClearOrder]) -> None:
        duplicates = sum(order.is_duplicate for order in orders)
        postponed = [result for result in results if result.outcome == "postponed"]
        self.summary.duplicates += duplicates
        self.summary.ingested += len(orders) - duplicates
        self.summary.postponed += len(postponed)
        self.summary.errored += len(results) - len(orders) - len(postponed)
        for result in results:
            if result.message:
                log.warning("Ingest %s: %s", result.ingest_id, result.message)
        if postponed:
            self.error_name = "filesystem-io"
            self.summary.problem = postponed[0].message


class _Work:
    """One file on its way; ``result`` is set once its fate is known."""

    def __init__(
        self, directory: StrikeDirectory, order: IngestOrder, broker: Broker | WorkspaceError | None
    ):
        self.directory = directory
        self.order = order
        self.broker = broker
        self.hashed: HashedFile | None = None
        self.file: ListedFile | None = None
        self.is_own = False
        self.result: IngestResult | None = None

    def read(self) -> None:
        """Read the file for its checksum."""
        if not isinstance(self.broker, WorkspaceError) and self.broker is not None:
            try:
                self._read()
            except FileNotFoundError:
                self.result = IngestResult(self.order.ingest_id, "vanished")
            except OSError as error:
                self._fail(f"It can't be read: {error.strerror}.")
        else:
            message = str(self.broker or "Its workspace does not exist.")
            self.result = IngestResult(self.order.ingest_id, "postponed", message=message)

    def _read(self) -> None:
        digest = hashlib.sha256()
        with self.directory.open(self.order.path) as content:
            facts = os.fstat(content.fileno())
            self.is_own = facts.st_uid == os.geteuid()
            while block := content.read(_BLOCK):
                digest.update(block)
        crash_points.reach("ingest.read.after")
        self.file = ListedFile(self.order.name, facts.st_size, facts.st_mtime_ns, facts.st_ino)
        if self._has_changed():
            self._fail(_CHANGED)
        else:
            self.hashed = HashedFile(self.order.ingest_id, facts.st_size, digest.hexdigest())

    def store(self, path: str | None) -> None:
        """Store the file at the planned path; without a result, the path was taken and another is needed."""
        assert self.hashed is not None
        if path is None:
            self.result = IngestResult(self.order.ingest_id, "duplicate", file=self.file)
            return
        try:
            self._store(path)
        except PathTaken:
            self.hashed = HashedFile(self.order.ingest_id, self.hashed.size, self.hashed.checksum, path)
        except WorkspaceError as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"It can't be stored: {error.strerror}.")

    def _store(self, path: str) -> None:
        assert self.hashed is not None
        assert self.broker is not None
        assert not isinstance(self.broker, WorkspaceError)
        # What belongs to somebody else is copied: its owner could still change what is stored.
        how: Transfer = "link" if self.is_own else "copy"
        source = self.directory.location(self.order.path)
        crash_points.reach("ingest.store.before")
        stored = self.broker.store(source, path, how=how, checksum=self.hashed.checksum)
        crash_points.reach("ingest.store.after")
        if stored.checksum != self.hashed.checksum or self._has_changed():
            # What was stored stays there without a row: a task that took this batch over may have committed
            # it, so only the next try, which reads the file anew, knows what to do about it.
            self._fail(_CHANGED)
            return
        self.result = IngestResult(
            self.order.ingest_id, "stored", stored.path, self.file, self.hashed.checksum
        )

    def give_up(self) -> None:
        """No path was free in several rounds."""
        self._fail("Other files take every path that it could have in its workspace.")

    def _has_changed(self) -> bool:
        there = self.directory.find(self.order.path)
        return there is not None and self.file is not None and there.identity != self.file.identity

    def _fail(self, message: str) -> None:
        self.result = IngestResult(self.order.ingest_id, "failed", message=message)


_CHANGED = "It changed while it was being ingested: something still writes to it."
