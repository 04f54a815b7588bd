# SPDX-License-Identifier: Apache-2.0
"""The directory of a download: unfinished files in a hidden folder, whole ones under their names.

Nothing has its final name before it is whole, checked and on the disk. Paths are walked without following
links, so that a link in the directory leads nothing out of it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scale_airflow.errors import TransferError, UnsafeName, WorkspaceError
from scale_airflow.rescale.transfers.names import PARTS_FOLDER, part_name
from scale_airflow.workspaces.confined import ConfinedDirectory, MissingPath, UnsafePath

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_ALLOCATION = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PART = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class DiskFull(TransferError):  # noqa: N818 - named like its siblings in errors.py
    """There is no room for a file where it should lie."""


@contextmanager
def disk_errors(name: str, directory: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that names the file and the place.

    :raises DiskFull: if there is no room, or none within the quota.
    :raises TransferError: for everything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            with suppress(OSError):
                free = f" ({shutil.disk_usage(directory).free:,} bytes are free)"
                raise DiskFull(
                    f"{name} can't be stored: there is no room in {directory}{free}. Free some, or choose "
                    "another directory.",
                    name=name,
                ) from error
        raise TransferError(
            f"{name} can't be stored in {directory}: {error.strerror or error}.", name=name
        ) from error


def _shared_folder(name: str, parent: int) -> int:
    """Make a folder or open it, so that no other download that ends removes it meanwhile."""
    while True:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        try:
            folder = os.open(name, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            continue  # removed just now, by a download that has ended
        with suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.stat(name, dir_fd=parent).st_ino == os.fstat(folder).st_ino:
                return folder
        os.close(folder)


class Part:
    """An unfinished file, held by this process alone, with its journal if it has one."""

    def __init__(self, name: str, fd: int, journal_fd: int | None) -> None:
        self.name = name
        self.fd = fd
        self.journal_fd = journal_fd

    def close(self) -> None:
        """Let go of it; it stays for a later attempt."""
        os.close(self.fd)
        if self.journal_fd is not None:
            os.close(self.journal_fd)


class Landing:
    """Where files land; use it as a context manager.

    :param directory: made if it is not there.
    :raises TransferError: if it can't be made or written to.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with disk_errors("The download", directory):
            directory.mkdir(parents=True, exist_ok=True)
        try:
            self._confined = ConfinedDirectory(directory)
        except WorkspaceError as error:
            raise TransferError(str(error)) from error
        self._folders: set[str] = set()
        with disk_errors("The download", directory), self._confined.parent(PARTS_FOLDER) as (fd, name):
            self._parts = _shared_folder(name, fd)

    def __enter__(self) -> Landing:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # others use it, or unfinished files lie in it
            fcntl.flock(self._parts, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rmdir(self.directory / PARTS_FOLDER)
        os.close(self._parts)
        self._confined.__exit__(None, None, None)

    def open_part(self, file_id: str, *, journal: bool) -> Part:
        """Open the unfinished file of a remote file: a new one, or what an earlier attempt has left.

        :raises TransferError: if another process, or another download of this one, has it open.
        """
        name = part_name(file_id)
        held = self._hold(f"{name}.journal" if journal else f"{name}.part", file_id)
        if not journal:
            return Part(name, held, None)
        try:
            with disk_errors(file_id, self.directory):
                return Part(name, os.open(f"{name}.part", _PART, 0o666, dir_fd=self._parts), held)
        except TransferError:
            os.close(held)
            raise

    def allocate(self, part: Part, shown: str, size: int) -> None:
        """Give the unfinished file all its room, so that a full disk shows before anything is fetched.

        :raises DiskFull: if there is none.
        """
        with disk_errors(shown, self.directory):
            if os.fstat(part.fd).st_size > size:
                os.ftruncate(part.fd, size)
            if not size:
                return
            try:
                os.posix_fallocate(part.fd, 0, size)
            except OSError as error:
                if error.errno not in _NO_ALLOCATION:
                    raise
                os.ftruncate(part.fd, size)

    def place(self, part: Part, relative: str) -> Path:
        """Give a whole file its final name, which it has only when its bytes are on the disk.

        :raises UnsafeName: if a directory on the way is a link.
        :raises TransferError: if there is a directory of that name.
        """
        try:
            with disk_errors(relative, self.directory):
                os.fsync(part.fd)
                with self._confined.parent(relative, create=True) as (fd, name):
                    os.replace(f"{part.name}.part", name, src_dir_fd=self._parts, dst_dir_fd=fd)
        except UnsafePath as error:
            raise UnsafeName(f"{relative!r} can't be stored: {error}", name=relative) from None
        except WorkspaceError as error:
            raise TransferError(f"{relative!r} can't be stored: {error}", name=relative) from None
        self._folders.add(relative.rpartition("/")[0])
        if part.journal_fd is not None:
            self._unlink(f"{part.name}.journal")
        return self.directory / relative

    def discard(self, part: Part) -> None:
        """Delete an unfinished file and its journal."""
        self._unlink(f"{part.name}.part")
        if part.journal_fd is not None:
            self._unlink(f"{part.name}.journal")

    @contextmanager
    def existing(self, relative: str) -> Iterator[int | None]:
        """Give a descriptor of the regular file that has the final name already, None if there is none.

        :raises UnsafeName: if a directory on the way is a link.
        """
        try:
            fd: int | None = self._confined.open_file(relative)
        except MissingPath:
            fd = None
        except UnsafePath as error:
            if self._is_replaceable(relative):
                fd = None
            else:
                raise UnsafeName(f"{relative!r} can't be stored: {error}", name=relative) from None
        except WorkspaceError:
            fd = None  # not ours to read, perhaps ours to replace
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)

    def settle(self) -> None:
        """Make the new names themselves survive a crash of the machine."""
        for folder in sorted(self._folders):
            # Some file systems don't sync directories.
            with suppress(WorkspaceError, OSError), self._confined.parent(f"{folder}/-") as (fd, _):
                os.fsync(fd)

    def _is_replaceable(self, relative: str) -> bool:
        """Whether it is only the last component that is a link: renaming replaces it, and follows nothing."""
        try:
            with self._confined.parent(relative) as (fd, name):
                return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
        except (WorkspaceError, OSError):
            return False

    def _hold(self, name: str, file_id: str) -> int:
        """Open a file of the hidden folder so that nobody else does."""
        while True:
            with disk_errors(file_id, self.directory):
                fd = os.open(
                    name,
                    _PART | os.O_APPEND if name.endswith(".journal") else _PART,
                    0o666,
                    dir_fd=self._parts,
                )
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with suppress(FileNotFoundError):
                    if os.stat(name, dir_fd=self._parts).st_ino == os.fstat(fd).st_ino:
                        return fd
                os.close(fd)  # whoever held it has just finished: begin with a new one
            except BlockingIOError:
                os.close(fd)
                raise TransferError(
                    f"The file {file_id} is being downloaded into {self.directory} by somebody else. Wait "
                    "for its end, or choose another directory.",
                    name=file_id,
                ) from None
            except OSError:
                return fd  # a file system without locks: then nobody can tell

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._parts)
