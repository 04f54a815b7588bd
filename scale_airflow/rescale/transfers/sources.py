# SPDX-License-Identifier: Apache-2.0
"""What is sent to Rescale: bytes of known number, from a file or from memory, as often as it takes."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from scale_airflow.errors import TransferError, UnsafeName
from scale_airflow.rescale.transfers.pieces import BLOCK

_DATE = (1980, 1, 1, 0, 0, 0)
"""The same in every archive, so that unchanged files make an unchanged archive."""


class Source(Protocol):
    """Bytes to send."""

    name: str
    size: int

    def blocks(self) -> Iterator[memoryview]:
        """Give all bytes, from the first on; a block's memory is used again for the next."""

    def check(self) -> None:
        """Make sure that what was given is still what is there; raises TransferError."""


class FileSource:
    """A file of this machine.

    :param name: what it is called at Rescale.
    :raises TransferError: if it is no regular file, or can't be read.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        told = self._stat()
        if not stat.S_ISREG(told.st_mode):
            raise TransferError(f"{path} is no regular file and can't be sent.", name=name)
        self.size = told.st_size
        self._stamp = _stamp(told)

    def blocks(self) -> Iterator[memoryview]:
        """Give the file's bytes.

        :raises TransferError: if there are fewer than there were.
        """
        buffer = memoryview(bytearray(BLOCK))
        rest = self.size
        try:
            with self.path.open("rb", buffering=0) as file:
                while rest:
                    count = file.readinto(buffer[: min(BLOCK, rest)])
                    if not count:
                        raise self._changed()
                    yield buffer[:count]
                    rest -= count
        except OSError as error:
            raise TransferError(f"{self.path} can't be read: {error.strerror}.", name=self.name) from error

    def slices(self, size: int) -> Iterator[bytes]:
        """Give the file's bytes in objects of their own.

        :raises TransferError: as :meth:`blocks`.
        """
        slice_ = bytearray()
        for block in self.blocks():
            slice_ += block
            while len(slice_) >= size:
                yield bytes(slice_[:size])
                del slice_[:size]
        if slice_:
            yield bytes(slice_)

    def check(self) -> None:
        """Make sure that nobody has changed the file since.

        :raises TransferError: if somebody has.
        """
        if _stamp(self._stat()) != self._stamp:
            raise self._changed()

    def _stat(self) -> os.stat_result:
        try:
            return self.path.stat()
        except OSError as error:
            raise TransferError(f"{self.path} can't be sent: {error.strerror}.", name=self.name) from error

    def _changed(self) -> TransferError:
        return TransferError(
            f"{self.path} was changed while it was sent. Send it when nobody writes to it.", name=self.name
        )


class HeldSource:
    """Bytes in an open file that only we know: in memory, or unnamed on the disk."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file, self.name = file, name
        file.seek(0, os.SEEK_END)
        self.size = file.tell()  # what seek returns is nothing in Python 3.10's SpooledTemporaryFile

    def blocks(self) -> Iterator[memoryview]:
        """Give the bytes."""
        self.file.seek(0)
        while block := self.file.read(BLOCK):
            yield memoryview(block)

    def check(self) -> None:
        """Nobody else can change them."""

    def close(self) -> None:
        """Give the room back."""
        self.file.close()


def remote_name(text: str, *, travels: bool = True) -> str:
    """Return the name of an input, which is that of a file in the job's directory.

    :param travels: whether the name itself is sent: Rescale's server takes off what is before a backslash.
    :raises UnsafeName: if it is none.
    """
    wrong = text in ("", ".", "..") or "/" in text or not text.isprintable() or len(text.encode()) > 255
    if wrong or (travels and "\\" in text):
        raise UnsafeName(
            f"{text!r} can't be the name of a job's input: it must be that of a file, without directories, "
            f"{'backslashes, ' if travels else ''}control characters, and at most 255 bytes long.",
            name=text,
        )
    return text


def zip_directory(directory: Path, target: IO[bytes]) -> None:
    """Write a directory as a zip archive, with paths relative to it, always the same for the same files.

    Empty directories are kept. What is no regular file or directory is refused, links too.

    :raises TransferError: if the directory can't be read, or has such things in it, all of which are named.
    """
    strange: list[str] = []
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in sorted(directory.rglob("*")):
                relative = path.relative_to(directory).as_posix()
                mode = path.lstat().st_mode
                if stat.S_ISDIR(mode):
                    archive.writestr(_entry(f"{relative}/", mode), b"")
                elif stat.S_ISREG(mode):
                    with path.open("rb") as source, archive.open(_entry(relative, mode), "w") as entry:
                        while block := source.read(BLOCK):
                            entry.write(block)
                else:
                    strange.append(relative)
    except (OSError, ValueError) as error:
        raise TransferError(f"{directory} can't be archived: {error}.", name=directory.name) from error
    if strange:
        raise TransferError(
            f"{directory} can't be sent: {', '.join(map(repr, strange[:20]))} are links or no regular files. "
            "Put what the job needs in their place.",
            name=directory.name,
        )


def _entry(relative: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(relative, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    # Only whether it may be run is told on: what else the mode says is about this machine.
    runs = stat.S_ISDIR(mode) or bool(mode & 0o100)
    entry.external_attr = (stat.S_IFMT(mode) | (0o755 if runs else 0o644)) << 16
    return entry


def _stamp(told: os.stat_result) -> tuple[int, int, int]:
    return told.st_ino, told.st_size, told.st_mtime_ns
