# SPDX-License-Identifier: Apache-2.0
"""An append-only journal with snapshots: what was written survives a killed process.

One line an entry, one ``write`` a line: the operating system has the bytes when :meth:`Journal.append`
returns, so a kill of this process loses nothing; :meth:`Journal.sync` makes them survive a power cut, too.
A half-written last line (the kill came within the write) never happened. A snapshot carries a generation;
only the journal of the same generation counts, so a crash at any point of a snapshot leaves one whole pair.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any

SNAPSHOT = "snapshot.json"


class RootInUseError(Exception):
    """Another process works in this directory."""


class Journal:
    """The journal in one directory, locked for this process.

    :param directory: made when missing.
    :raises RootInUseError: when another process has it open.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise RootInUseError(f"Another emulator works in {directory.parent}.") from error
        self._generation = 0
        self._file = -1
        self._changing = threading.Lock()
        self.size = 0
        self.appended = 0
        self.synced = 0

    def load(self) -> tuple[Any, list[dict[str, Any]]]:
        """Return the last snapshot (None in a new directory) and the entries written since."""
        state: Any = None
        path = self._directory / SNAPSHOT
        if path.exists():
            document = json.loads(path.read_text("utf-8"))
            self._generation = document["generation"]
            state = document["state"]
        entries = []
        whole = 0
        with contextlib.suppress(FileNotFoundError), self._journal_path().open("rb") as lines:
            for line in lines:
                try:
                    entries.append(json.loads(line))
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    entries.pop()
                    break
                whole += len(line)
        self._open(whole)
        return state, entries

    def _journal_path(self) -> Path:
        return self._directory / f"journal-{self._generation}.jsonl"

    def _open(self, whole: int) -> None:
        self._file = os.open(self._journal_path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._file, whole)
        self.size = whole

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry; it survives a kill of this process from here on."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size += len(line)
        self.appended += 1

    def sync(self) -> None:
        """Make all entries survive a power cut. May run in a thread beside :meth:`append`."""
        with self._changing:
            appended = self.appended
            os.fdatasync(self._file)
            self.synced = appended

    def snapshot(self, state: Any) -> None:
        """Replace snapshot and journal by one snapshot; ``state`` is what the next load returns."""
        temporary = self._directory / f"{SNAPSHOT}.new"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump({"generation": self._generation + 1, "state": state}, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._directory / SNAPSHOT)
        directory = os.open(self._directory, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        with self._changing:
            old = self._journal_path()
            self._generation += 1
            os.close(self._file)
            self._open(0)
            self.synced = self.appended
        old.unlink(missing_ok=True)

    def close(self) -> None:
        """Sync and let go of the directory."""
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
        os.close(self._lock)
