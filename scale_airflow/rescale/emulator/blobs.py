# SPDX-License-Identifier: Apache-2.0
"""The bytes of the cloud storage: one file each, hashed while it arrives, never changed afterwards."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

READ_SIZE = 2**20


@dataclass(frozen=True)
class Blob:
    """Stored bytes: their name in the store, how many they are, their digests in hex."""

    name: str
    size: int
    sha512: str
    md5: str


class BlobWriter:
    """Takes bytes as they come; :meth:`finish` makes them a blob. Left without it, nothing stays."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._file = path.open("xb", buffering=0)
        self._sha512 = hashlib.sha512()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0
        self._kept = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes; OSError when the disk is full."""
        view = memoryview(data)
        self._sha512.update(view)
        self._md5.update(view)
        self.size += len(view)
        while view:
            view = view[self._file.write(view) :]

    def finish(self, *, durable: bool = True) -> Blob:
        """Make the bytes survive a power cut (if ``durable``, which takes its time), return what they are."""
        if durable:
            os.fdatasync(self._file.fileno())
        self._file.close()
        self._kept = True
        return Blob(self._name, self.size, self._sha512.hexdigest(), self._md5.hexdigest())

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._kept:
            self._path.unlink(missing_ok=True)


class Blobs:
    """The directory of blobs below an emulator's root. Its methods block: call them in a thread."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "blobs"
        self._directory.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Return where a blob's bytes are. ``name`` is the emulator's own, never a client's."""
        return self._directory / name

    def writer(self) -> BlobWriter:
        """Return a writer of a new blob."""
        name = secrets.token_hex(12)
        return BlobWriter(self.path(name), name)

    def adopt(self, source: Path) -> Blob:
        """Copy a file into the store (hashing what is copied) and return the blob.

        :raises OSError: when it can't be read or the disk is full.
        """
        buffer = bytearray(READ_SIZE)
        view = memoryview(buffer)
        with source.open("rb", buffering=0) as file, self.writer() as writer:
            while count := file.readinto(buffer):
                writer.write(view[:count])
            # A job's outputs: thousands of small files, which must only survive the emulator's death.
            return writer.finish(durable=False)

    def place(self, name: str, target: Path, mode: int = 0o755) -> None:
        """Copy a blob to a path outside of the store, e.g. a job's work directory."""
        shutil.copyfile(self.path(name), target)
        target.chmod(mode)

    def remove(self, name: str) -> None:
        """Delete a blob; nothing happens when it is gone."""
        self.path(name).unlink(missing_ok=True)

    def sweep(self, known: set[str]) -> None:
        """Delete what no record names: uploads that a crash cut short."""
        for path in self._directory.iterdir():
            if path.name not in known:
                path.unlink(missing_ok=True)
