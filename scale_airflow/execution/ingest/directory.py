# SPDX-License-Identifier: Apache-2.0
"""The Strike directory as a worker handles it: list, move, remove; nothing is replaced, no link is followed.

Every operation may be repeated: whoever is killed in the middle leaves a state from which the next one goes
on, since the server knows for each file where it was to go before it goes there.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from scale_airflow import crash_points
from scale_airflow.errors import WorkspaceError
from scale_airflow.execution.ingest import names
from scale_airflow.execution.ingest.messages import (
    INGESTING,
    SUBDIRECTORIES,
    ListedFile,
    MoveOrder,
    MoveResult,
)
from scale_airflow.execution.ingest.rename import rename_without_replacing

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MODE = 0o755
# What an NFS client leaves of a file that was removed while something had it open; it goes by itself.
_REMAINS = re.compile(r"\.nfs[0-9a-fA-F]+")


def list_files(path: Path | int) -> list[ListedFile]:
    """Return the regular files of a directory (path or descriptor), the oldest first. Links are left out.

    :raises OSError: if the directory can't be read.
    """
    files = []
    with os.scandir(path) as entries:
        for entry in entries:
            with suppress(OSError):  # it went while we were looking
                if entry.is_file(follow_symlinks=False) and not _REMAINS.fullmatch(entry.name):
                    files.append(_listed(entry.name, entry.stat(follow_symlinks=False)))
    files.sort(key=lambda file: (file.mtime_ns, file.name))
    return files


def _listed(name: str, facts: os.stat_result) -> ListedFile:
    return ListedFile(
        names.written(name), facts.st_size, facts.st_mtime_ns, facts.st_ino, names.problem(name)
    )


class StrikeDirectory:
    """An open Strike directory with its sub-directories, which are made on demand. A context manager.

    :param path: absolute and resolved, see :func:`scale_airflow.workspaces.mounts.resolve`.
    :raises WorkspaceError: if it can't be opened, or something else is in a sub-directory's place.
    """

    def __init__(self, path: Path):
        self.path = path
        with ExitStack() as opened:
            self._top = self._open(opened, path, None)
            self._inner: dict[str, int] = {}
            for name in SUBDIRECTORIES:
                self._make(name)
                self._inner[name] = self._open(opened, Path(name), self._top)
            self._opened = opened.pop_all()

    def __enter__(self) -> StrikeDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()

    def files(self) -> list[ListedFile]:
        """Return the regular files at the top, the oldest first.

        :raises WorkspaceError: if the directory can't be read.
        """
        try:
            return list_files(self._top)
        except OSError as error:
            raise self._error("read", error) from error

    def kept(self) -> list[str]:
        """Return the names of the regular files in ``ingesting/``.

        :raises WorkspaceError: if the directory can't be read.
        """
        try:
            return [file.name for file in list_files(self._inner[INGESTING])]
        except OSError as error:
            raise self._error("read", error) from error

    def find(self, relative: str) -> ListedFile | None:
        """Return the regular file at a path, or None if there is none.

        :param relative: ``<name>``, or ``<sub-directory>/<name>``, as the server writes it.
        """
        fd, name = self._place(relative)
        return self._look(fd, name)

    def open(self, relative: str) -> BinaryIO:
        """Open a regular file for reading.

        :raises FileNotFoundError: if there is none.
        :raises OSError: if it can't be opened.
        """
        fd, name = self._place(relative)
        file = os.open(name, _FILE, dir_fd=fd)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise FileNotFoundError(errno.ENOENT, "It is no regular file any more", relative)
        return os.fdopen(file, "rb")

    def location(self, relative: str) -> Path:
        """Return the path of a file on this host."""
        head, _, name = relative.rpartition("/")
        self._place(relative)
        return self.path / head / names.on_disk(name)

    def move(self, order: MoveOrder) -> MoveResult:
        """Carry out a move, or find that an earlier try did.

        Looking at the source first and the destination second, a move of somebody else in between is seen.
        """

        def result(outcome: str, file: ListedFile | None = None, message: str | None = None) -> MoveResult:
            return MoveResult(order.ingest_id, order.destination, outcome, file, message)  # type: ignore[arg-type]

        try:
            source_fd, source = self._place(order.source)
            destination_fd, destination = self._place(order.destination)
            here = self._look(source_fd, source)
            there = self._look(destination_fd, destination)
            if here is None:
                return result("moved", there) if there else result("vanished")
            if there is not None:
                if there.inode == here.inode:
                    # A rename by links was interrupted between its two steps.
                    os.unlink(source, dir_fd=source_fd)
                    return result("moved", there)
                if order.identity == there.identity != here.identity:
                    return result("moved", there)  # and the next file of this name has come already
                return result("taken")
            crash_points.reach("strike.move.before")
            rename_without_replacing(source, source_fd, destination, destination_fd)
            crash_points.reach("strike.move.after")
            return result("moved", self._look(destination_fd, destination))
        except FileExistsError:
            return result("taken")
        except FileNotFoundError:
            return result("vanished")
        except OSError as error:
            return result("failed", message=f"It can't be moved to {order.destination}: {error.strerror}.")

    def give_back(self, name: str) -> bool:
        """Move a file that nobody knows from ``ingesting/`` to the top, if its name is free there."""
        fd, raw = self._place(f"{INGESTING}/{name}")
        try:
            crash_points.reach("strike.give_back.before")
            rename_without_replacing(raw, fd, raw, self._top)
            crash_points.reach("strike.give_back.after")
        except OSError:
            return False
        return True

    def remove(self, relative: str, identity: str) -> None:
        """Remove a file, if it still is the one that is meant.

        :raises OSError: if it can't be removed.
        """
        fd, name = self._place(relative)
        there = self._look(fd, name)
        if there is not None and there.identity == identity:
            crash_points.reach("strike.remove.before")
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
            crash_points.reach("strike.remove.after")

    def sync(self) -> None:
        """Make moves and removals last, even if the machine loses its power."""
        for fd in (self._top, *self._inner.values()):
            with suppress(OSError):  # a few network file systems have no fsync of directories
                os.fsync(fd)

    def _place(self, relative: str) -> tuple[int, str]:
        """Return the descriptor of a path's directory, and the name on disk."""
        head, slash, name = relative.rpartition("/")
        fd = self._inner.get(head) if slash else self._top
        if fd is None or not names.is_component(name):
            raise WorkspaceError(f"{relative!r} is not a path in a Strike directory.")
        return fd, names.on_disk(name)

    def _look(self, fd: int, name: str) -> ListedFile | None:
        try:
            facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return _listed(name, facts) if stat.S_ISREG(facts.st_mode) else None

    def _make(self, name: str) -> None:
        try:
            os.mkdir(name, _MODE, dir_fd=self._top)
        except FileExistsError:
            pass
        except OSError as error:
            raise WorkspaceError(
                f"The directory {name} can't be made in the Strike directory {self.path}: {error.strerror}. "
                "The worker's user needs to write there."
            ) from error

    def _open(self, opened: ExitStack, path: Path, parent: int | None) -> int:
        try:
            fd = os.open(path, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            shown = path if parent is None else self.path / path
            raise WorkspaceError(
                f"The Strike directory {shown} can't be opened: {error.strerror}."
            ) from error
        opened.callback(os.close, fd)
        return fd

    def _error(self, what: str, error: OSError) -> WorkspaceError:
        return WorkspaceError(f"The Strike directory {self.path} can't be {what}: {error.strerror}.")
