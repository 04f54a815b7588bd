# SPDX-License-Identifier: Apache-2.0
"""What the API server and the tasks of a Strike process say to each other.

Names and paths of files are in the safe form of :mod:`scale_airflow.execution.ingest.names`; paths are
relative to the Strike directory (``ingesting/<name>``) or, where said so, to a workspace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from scale_airflow.execution.order import WorkspaceRef
from scale_airflow.execution.wire import Message

INGESTING = "ingesting"
DEFERRED = "deferred"
DUPLICATE = "duplicate"
SUBDIRECTORIES = (INGESTING, DEFERRED, DUPLICATE)


@dataclass(frozen=True)
class TaskIdentity(Message):
    """The task instance that speaks: the server checks that Airflow runs this very try."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    task_instance_id: str
    hostname: str


@dataclass(frozen=True)
class ListedFile(Message):
    """A regular file as a directory shows it: size in bytes, time in nanoseconds since 1970.

    ``problem`` says what keeps a file of this name from being ingested.
    """

    name: str
    size: int
    mtime_ns: int
    inode: int
    problem: str | None = None

    @property
    def identity(self) -> str:
        """What tells this file from the next one of the same name."""
        return f"{self.size}:{self.mtime_ns}:{self.inode}"


@dataclass(frozen=True)
class Arrival(Message):
    """A file that the server knows to be in transfer, under its final name."""

    ingest_id: int
    name: str


@dataclass(frozen=True)
class MoveOrder(Message):
    """Move a recorded file out of the way of the next one of its name."""

    ingest_id: int
    source: str
    destination: str
    identity: str


@dataclass(frozen=True)
class WatchRequest(Message):
    """A sensor begins: ``problem`` says why it can't see the directory."""

    task: TaskIdentity
    problem: str | None = None


@dataclass(frozen=True)
class WatchAnswer(Message):
    """The Strike process as it is now; ``version`` changes with each edit.

    ``moves`` are those that an earlier task recorded and did not report; ``transferring`` are the files in
    transfer before this look at the directory.
    """

    is_active: bool
    name: str
    version: str
    configuration: dict[str, Any]
    moves: tuple[MoveOrder, ...]
    transferring: tuple[Arrival, ...]


@dataclass(frozen=True)
class SweepRequest(Message):
    """A part of the directory's listing."""

    task: TaskIdentity
    files: tuple[ListedFile, ...]


@dataclass(frozen=True)
class SweepAnswer(Message):
    """What was recorded is to be moved; the files ``waiting`` wait for an earlier one of their name."""

    moves: tuple[MoveOrder, ...]
    waiting: tuple[str, ...]


MoveOutcome = Literal["moved", "taken", "vanished", "failed"]


@dataclass(frozen=True)
class MoveResult(Message):
    """What became of a move; ``file`` is what lies at the destination now.

    ``taken``: something else lies at the destination. ``vanished``: there is no such file any more.
    """

    ingest_id: int
    destination: str
    outcome: MoveOutcome
    file: ListedFile | None = None
    message: str | None = None


@dataclass(frozen=True)
class MovedRequest(Message):
    """Results of moves."""

    task: TaskIdentity
    results: tuple[MoveResult, ...]


@dataclass(frozen=True)
class MovedAnswer(Message):
    """Moves to try again with other destinations."""

    moves: tuple[MoveOrder, ...]


@dataclass(frozen=True)
class SettleRequest(Message):
    """The end of a look: ``vanished`` transfers, and the ``kept`` names that lie in ``ingesting/``."""

    task: TaskIdentity
    vanished: tuple[int, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class SettleAnswer(Message):
    """``due``: how many files wait to be ingested now. ``retry_after``: seconds until more will be.

    ``strays`` are names in ``ingesting/`` that belong to no ingest: they go back to be seen again.
    """

    due: int
    retry_after: float | None
    strays: tuple[str, ...]


@dataclass(frozen=True)
class Transferred(Message):
    """How far a transfer is, under the final name of its file."""

    name: str
    size: int


@dataclass(frozen=True)
class ProgressRequest(Message):
    """A trigger's sign of life, with the transfers that grew; ``version`` is the one it watches for."""

    version: str
    transferring: tuple[Transferred, ...]


@dataclass(frozen=True)
class ProgressAnswer(Message):
    """Whether the Strike process was edited, so that its sensor should look again."""

    is_changed: bool


@dataclass(frozen=True)
class IngestOrder(Message):
    """One file to ingest: ``path`` in the Strike directory."""

    ingest_id: int
    name: str
    path: str
    workspace_id: int


@dataclass(frozen=True)
class ClearOrder(Message):
    """A file that was ingested (remove it), or is a duplicate (move it aside)."""

    ingest_id: int
    name: str
    path: str
    identity: str
    is_duplicate: bool


@dataclass(frozen=True)
class BatchRequest(Message):
    """An ingest task asks for files."""

    task: TaskIdentity


@dataclass(frozen=True)
class BatchAnswer(Message):
    """Files to ingest under one job execution, whose ``token`` lets the task report on these alone.

    Without ``execution_id`` there is nothing to ingest; there may still be something to clear.
    """

    execution_id: int | None
    token: str | None = field(repr=False)
    configuration: dict[str, Any]
    files: tuple[IngestOrder, ...]
    workspaces: tuple[WorkspaceRef, ...]
    clear: tuple[ClearOrder, ...]


@dataclass(frozen=True)
class HashedFile(Message):
    """A file's content: size and sha256; ``taken`` names a path where other content was found."""

    ingest_id: int
    size: int
    checksum: str
    taken: str | None = None


@dataclass(frozen=True)
class PlanRequest(Message):
    """Contents of files that are to be stored."""

    files: tuple[HashedFile, ...]


@dataclass(frozen=True)
class StorePlan(Message):
    """Where a file goes in its workspace; no ``path``: it is a duplicate and stays out."""

    ingest_id: int
    path: str | None


@dataclass(frozen=True)
class PlanAnswer(Message):
    """One plan for each file that is still to be stored."""

    plans: tuple[StorePlan, ...]


IngestOutcome = Literal["stored", "duplicate", "failed", "vanished", "postponed"]


@dataclass(frozen=True)
class IngestResult(Message):
    """What became of one file: complete in its workspace at ``path``; or why not, in ``message``.

    ``postponed``: its workspace can't be used now; that is not the file's fault and does not count as a try.
    """

    ingest_id: int
    outcome: IngestOutcome
    path: str | None = None
    file: ListedFile | None = None
    checksum: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class StoredRequest(Message):
    """Results of files, to be committed in one transaction."""

    results: tuple[IngestResult, ...]


@dataclass(frozen=True)
class StoredAnswer(Message):
    """What may be cleared out of the Strike directory now."""

    clear: tuple[ClearOrder, ...]


@dataclass(frozen=True)
class ClearResult(Message):
    """A file was cleared away (to ``path``, if it was moved), or ``message`` says why not."""

    ingest_id: int
    path: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class ClearedRequest(Message):
    """Results of clearing."""

    task: TaskIdentity
    results: tuple[ClearResult, ...]


@dataclass(frozen=True)
class FinishRequest(Message):
    """A batch is through; ``error_name`` and ``message`` if some of it had to be postponed."""

    error_name: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class Done(Message):
    """A report was taken."""
