# SPDX-License-Identifier: Apache-2.0
"""One look at a Strike directory: what lies there is recorded by the server, then moved, then forgotten."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from scale_airflow.config import Settings
from scale_airflow.definitions.strike_configuration import StrikeConfiguration
from scale_airflow.errors import WorkspaceError
from scale_airflow.execution.ingest.directory import StrikeDirectory
from scale_airflow.execution.ingest.messages import (
    Arrival,
    ListedFile,
    MovedRequest,
    MoveOrder,
    MoveResult,
    SettleRequest,
    SweepRequest,
    TaskIdentity,
    WatchRequest,
)
from scale_airflow.execution.ingest.server import StrikeServer
from scale_airflow.workspaces.mounts import local_directory, resolve

CHUNK = 500
"""Files in one request."""

MAX_FILES = 10_000
"""Files of one look: what was recorded is ingested before the next ones are looked at."""

_ROUNDS = 4
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the directory found.

    :param directory: where it is on this host.
    :param digest: what the directory shows once nothing is left to do; see :func:`digest_of`.
    :param due: how many files wait to be ingested now.
    :param retry_after: seconds until a failed file may be tried again.
    :param is_active: False: the Strike process is switched off, nothing was looked at.
    """

    directory: Path | None
    transfer_suffix: str
    version: str
    digest: str
    due: int
    retry_after: float | None
    is_active: bool


def look(server: StrikeServer, task: TaskIdentity, settings: Settings) -> Look:
    """Look at the directory of a Strike process once.

    :raises WorkspaceError: if the directory can't be used; the server was told.
    :raises ScaleApiError: if the server can't be reached or refuses.
    """
    answer = server.watch(WatchRequest(task))
    if not answer.is_active:
        return Look(None, "", answer.version, digest_of((), ""), 0, None, False)
    configuration = StrikeConfiguration.parse(answer.configuration)
    try:
        path = directory_of(configuration, settings)
        with StrikeDirectory(path) as directory:
            found = _Look(server, task, directory, configuration.transfer_suffix)
            found.move(answer.moves)
            found.sweep()
            found.settle(answer.transferring)
    except WorkspaceError as error:
        server.watch(WatchRequest(task, str(error)))
        raise
    return Look(
        path,
        configuration.transfer_suffix,
        answer.version,
        digest_of(found.seen.values(), configuration.transfer_suffix),
        found.due,
        found.retry_after,
        True,
    )


def directory_of(configuration: StrikeConfiguration, settings: Settings) -> Path:
    """Return the watched directory on this host.

    :raises WorkspaceError: if it is not there or may not be used.
    """
    return resolve(local_directory(configuration.mount, settings.mounts), settings.allowed_roots)


def digest_of(files: Iterable[ListedFile], transfer_suffix: str) -> str:
    """Return a text that changes when a file comes, goes or is replaced, but not while a transfer grows."""
    lines = sorted(
        file.name if is_transferring(file.name, transfer_suffix) else f"{file.name}/{file.identity}"
        for file in files
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_transferring(name: str, transfer_suffix: str) -> bool:
    """Tell whether a name says that its file is still in transfer."""
    return bool(transfer_suffix) and name.endswith(transfer_suffix) and name != transfer_suffix


class _Look:
    """The state of one look; ``seen`` is what lies there and needs nothing more."""

    def __init__(self, server: StrikeServer, task: TaskIdentity, directory: StrikeDirectory, suffix: str):
        self.server = server
        self.task = task
        self.directory = directory
        self.suffix = suffix
        self.seen: dict[str, ListedFile] = {}
        self.listed: set[str] = set()
        self.due = 0
        self.retry_after: float | None = None

    def sweep(self) -> None:
        """Record and move what the directory shows, the oldest files first."""
        files = self.directory.files()
        self.listed = {file.name for file in files}
        complete = [file for file in files if not is_transferring(file.name, self.suffix)]
        # A new transfer waits until the complete file of its name has moved out of its way.
        held = {file.name + self.suffix for file in complete} if self.suffix else set()
        transferring = [file for file in files if is_transferring(file.name, self.suffix)]
        free = [file for file in transferring if file.name not in held]
        for chunk in _chunks(complete[:MAX_FILES] + free, CHUNK):
            answer = self.server.sweep(SweepRequest(self.task, tuple(chunk)))
            self.seen.update({file.name: file for file in chunk if file.name not in answer.waiting})
            self.move(answer.moves)
        # Where the complete file can't be moved, there is nothing to do for the held one either.
        self.seen.update(
            {
                file.name: file
                for file in transferring
                if file.name in held and file.name.removesuffix(self.suffix) in self.seen
            }
        )

    def move(self, orders: Sequence[MoveOrder]) -> None:
        """Carry out moves and report them; what can't be moved stays seen, the rest is forgotten."""
        for _ in range(_ROUNDS):
            again: list[MoveOrder] = []
            for chunk in _chunks(orders, CHUNK):
                results = [self.directory.move(order) for order in chunk]
                self.directory.sync()
                again += self.server.moved(MovedRequest(self.task, tuple(results))).moves
                self._forget(chunk, results)
            orders = again
            if not orders:
                return

    def settle(self, transferring: Iterable[Arrival]) -> None:
        """Report what vanished, take back what nobody knows, and learn what is due."""
        vanished = tuple(arrival.ingest_id for arrival in transferring if self._is_gone(arrival.name))
        kept = tuple(self.directory.kept())
        answer = self.server.settle(SettleRequest(self.task, vanished, kept))
        for stray in answer.strays:
            self.directory.give_back(stray)
        self.due, self.retry_after = answer.due, answer.retry_after

    def _forget(self, orders: Iterable[MoveOrder], results: Iterable[MoveResult]) -> None:
        for order, result in zip(orders, results, strict=True):
            if result.outcome != "failed":
                self.seen.pop(order.source, None)

    def _is_gone(self, name: str) -> bool:
        """Tell whether a transfer vanished. Its end is a rename, so the old name is looked for first."""
        for candidate in (name + self.suffix, name):
            try:
                if candidate in self.listed or self.directory.find(candidate) is not None:
                    return False
            except (OSError, WorkspaceError):
                return False
        return True


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
