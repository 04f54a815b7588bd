# SPDX-License-Identifier: Apache-2.0
"""The broker of workspaces that are plain directories of this host: ``nfs`` and ``host``."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from scale_airflow import crash_points
from scale_airflow.errors import WorkspaceError
from scale_airflow.workspaces.broker import ContentChanged, PathTaken, StoredFile, Transfer
from scale_airflow.workspaces.confined import ConfinedDirectory, MissingPath, UnsafePath, kind_of, split

_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)
_SWEPT_AT_ONCE = 500
_NO_LINK = {
    errno.EXDEV,
    errno.EPERM,
    errno.EACCES,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EINVAL,
}


class DirectoryBroker:
    """Files of a workspace below ``root``, a directory of this host.

    :param root: absolute, with its links resolved (see :func:`scale_airflow.workspaces.mounts.resolve`).
    :param error_name: ``nfs`` for a file server's share, ``filesystem-io`` for a disk of the host.
    """

    def __init__(self, root: Path, *, error_name: str = "filesystem-io"):
        self.root = root
        self.error_name = error_name

    def local_path(self, relative: str) -> Path:
        """Return the file's path on this host; see :class:`Broker`."""
        with self.open(relative):
            return self.root.joinpath(*Path(relative).parts)

    def open(self, relative: str) -> BinaryIO:
        """Open the file for reading; see :class:`Broker`."""
        with self._failing(relative), ConfinedDirectory(self.root) as directory:
            return os.fdopen(directory.open_file(relative), "rb")

    def exists(self, relative: str) -> bool:
        """Tell whether a regular file is stored at the path; see :class:`Broker`."""
        try:
            with self.open(relative):
                return True
        except MissingPath:
            return False

    def store(
        self, source: Path, relative: str, *, how: Transfer = "copy", checksum: str | None = None
    ) -> StoredFile:
        """Store a file: linked on one file system, else copied, then shown under its name at once."""
        with (
            self._failing(relative),
            _source(source) as content,
            ConfinedDirectory(self.root) as directory,
            directory.parent(relative, create=True) as (fd, name),
        ):
            crash_points.reach("workspace.store.before")
            stored = self._already(content, fd, name, relative, checksum)
            if stored is None and how != "copy":
                stored = _store_link(source, content, fd, name, relative, checksum)
            if stored is None:
                stored = _store_copy(content, fd, name, relative, checksum)
                if stored is None:  # somebody else's file came up meanwhile
                    stored = self._already(content, fd, name, relative, checksum)
            if stored is None:
                raise WorkspaceError(
                    f"{relative!r} in {self.root} appeared and vanished while it was stored."
                )
            os.fsync(fd)
            crash_points.reach("workspace.store.after")
        return stored

    def delete(self, relative: str) -> bool:
        """Delete the file; see :class:`Broker`."""
        with self._failing(relative), ConfinedDirectory(self.root) as directory:
            try:
                with directory.parent(relative) as (fd, name):
                    crash_points.reach("workspace.delete.before")
                    os.unlink(name, dir_fd=fd)
                    os.fsync(fd)
                    crash_points.reach("workspace.delete.after")
            except (FileNotFoundError, MissingPath):
                return False
        return True

    def add_name(self, relative: str, target: str, *, checksum: str | None = None) -> None:
        """Let the file be found at ``target`` too: linked, else copied; see :class:`Broker`."""
        with (
            self._failing(target),
            self.open(relative) as content,
            ConfinedDirectory(self.root) as directory,
            directory.parent(relative) as (old_fd, old_name),
            directory.parent(target, create=True) as (fd, name),
        ):
            if _is_named(content, fd, name) or self._already(content, fd, name, target, checksum):
                os.fsync(fd)  # whoever has done it may not have come so far
                return
            try:
                crash_points.reach("workspace.add_name.before")
                os.link(old_name, name, src_dir_fd=old_fd, dst_dir_fd=fd, follow_symlinks=False)
                crash_points.reach("workspace.add_name.after")
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                if _store_copy(content, fd, name, target, checksum) is None:
                    self._already(content, fd, name, target, checksum)
            os.fsync(fd)

    def drop_name(self, relative: str, kept: str) -> bool:
        """Delete the file at ``relative``, unless it is the last one or another; see :class:`Broker`."""
        if split(relative) == split(kept):
            raise PathTaken(f"{relative!r} in {self.root} is where the file is to be.")
        with self._failing(relative), self.open(kept) as content, ConfinedDirectory(self.root) as directory:
            try:
                with directory.parent(relative) as (fd, name):
                    _drop_temporary(fd, name)
                    if not _is_named(content, fd, name) and not self._already(
                        content, fd, name, relative, None
                    ):
                        return False
                    crash_points.reach("workspace.drop_name.before")
                    os.unlink(name, dir_fd=fd)
                    os.fsync(fd)
                    crash_points.reach("workspace.drop_name.after")
            except (FileNotFoundError, MissingPath):
                return False
        return True

    def sweep(self, folder: str, choose: Callable[[Sequence[str]], Collection[str]]) -> int:
        """Delete what is chosen of the files in ``folder``; see :class:`Broker`."""
        removed = 0
        with self._failing(folder), ConfinedDirectory(self.root) as directory:
            folders = []
            for here, files in directory.walk(folder):
                folders.append(here)
                for start in range(0, len(files), _SWEPT_AT_ONCE):
                    some = files[start : start + _SWEPT_AT_ONCE]
                    removed += sum(map(self.delete, sorted({*some}.intersection(choose(some)))))
            for here in reversed(folders):
                _remove_empty(directory, here)
        return removed

    def _already(
        self, content: BinaryIO, fd: int, name: str, relative: str, checksum: str | None
    ) -> StoredFile | None:
        """Return the stored file if the same content already lies at the path, None if nothing does."""
        try:
            there = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(there.st_mode):
            raise PathTaken(f"{relative!r} in {self.root} is taken: it is {kind_of(there.st_mode)}.")
        mine = os.fstat(content.fileno())
        if there.st_size == mine.st_size:
            wanted = checksum or _sha256(content)
            with self.open(relative) as stored:
                if _sha256(stored) == wanted:
                    return StoredFile("/".join(split(relative)), there.st_size, wanted)
        raise PathTaken(f"{relative!r} in {self.root} is taken by a file with other content.")

    @contextmanager
    def _failing(self, relative: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorkspaceError(
                f"{relative!r} in {self.root} can't be read or written: {error.strerror or error}."
            ) from error


@contextmanager
def _source(path: Path) -> Iterator[BinaryIO]:
    """Open the file to store; only a regular file that is no link will do."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MissingPath(f"There is no file {path}.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafePath(f"{path} is a link, not a regular file.") from None
        raise WorkspaceError(f"{path} can't be read: {error.strerror}.") from error
    with os.fdopen(fd, "rb") as content:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise UnsafePath(f"{path} is {kind_of(mode)}, not a regular file.")
        yield content


def _store_link(
    source: Path, content: BinaryIO, fd: int, name: str, relative: str, checksum: str | None
) -> StoredFile | None:
    """Give the source's content the new name too; None where that can't be done."""
    facts = os.fstat(content.fileno())
    # A second name elsewhere would let its holder change what is stored.
    if facts.st_dev != os.fstat(fd).st_dev or facts.st_nlink != 1:
        return None
    digest = checksum or _sha256(content)
    with suppress(PermissionError):
        os.fchmod(content.fileno(), 0o644)
    os.fsync(content.fileno())
    try:
        crash_points.reach("workspace.link.before")
        os.link(source, name, dst_dir_fd=fd, follow_symlinks=False)
        crash_points.reach("workspace.link.after")
    except FileExistsError:
        return None
    except OSError as error:
        if error.errno in _NO_LINK:
            return None
        raise
    return StoredFile("/".join(split(relative)), facts.st_size, digest)


def _is_named(content: BinaryIO, fd: int, name: str) -> bool:
    """Tell whether the open file has this name (too)."""
    try:
        there = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(content.fileno()))


def _remove_empty(directory: ConfinedDirectory, folder: str) -> None:
    """Remove a directory if nothing is in it."""
    with suppress(FileNotFoundError, MissingPath), directory.parent(folder) as (fd, name):
        try:
            crash_points.reach("workspace.remove_folder.before")
            os.rmdir(name, dir_fd=fd)
            crash_points.reach("workspace.remove_folder.after")
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _store_copy(
    content: BinaryIO, fd: int, name: str, relative: str, checksum: str | None
) -> StoredFile | None:
    """Copy under a temporary name, then give it its name; None if the name is taken by then."""
    with _temporary(fd, name) as (temporary, target):
        crash_points.reach("workspace.copy.before")
        size, digest = _copy(content, target)
        crash_points.reach("workspace.copy.after")
        if checksum is not None and digest != checksum:
            raise ContentChanged(f"{relative!r} is not stored: the file changed after it was read.")
        os.fchmod(target, 0o644)
        os.fsync(target)
        if not _publish(fd, temporary, name):
            return None
    return StoredFile("/".join(split(relative)), size, digest)


def _temporary_name(name: str) -> str:
    return f".{hashlib.sha256(name.encode()).hexdigest()[:16]}.part"


def _drop_temporary(fd: int, name: str) -> None:
    """Remove the temporary file that a crash has left for this name, unless somebody is at it."""
    temporary = _temporary_name(name)
    try:
        left = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return
    try:
        fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(temporary, dir_fd=fd)
    except OSError:
        return
    finally:
        os.close(left)


@contextmanager
def _temporary(fd: int, name: str) -> Iterator[tuple[str, int]]:
    """Make the temporary file; one that a crash has left is taken over, one in use is not."""
    temporary = _temporary_name(name)
    target = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd)
    try:
        fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.fstat(target).st_nlink == 1
    except OSError:
        mine = False
    if not mine:
        os.close(target)
        temporary = f".{secrets.token_hex(8)}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(temporary, flags, 0o600, dir_fd=fd)
    try:
        os.ftruncate(target, 0)
        yield temporary, target
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=fd)
        os.close(target)


def _publish(fd: int, temporary: str, name: str) -> bool:
    """Give the complete temporary file its name unless the name is taken; tell whether it worked."""
    try:
        crash_points.reach("workspace.publish.before")
        os.link(temporary, name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
        crash_points.reach("workspace.publish.after")
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        # A file system without links. Rename would replace another file, so look first.
        try:
            os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
            return True
        return False
    return True


def _copy(content: BinaryIO, target: int) -> tuple[int, str]:
    """Copy from the beginning, leaving holes where there are only zeros; return size and sha256."""
    content.seek(0)
    digest = hashlib.sha256()
    size = 0
    while block := content.read(_BLOCK):
        digest.update(block)
        if block == _ZEROS[: len(block)]:
            os.lseek(target, len(block), os.SEEK_CUR)
        else:
            _write(target, block)
        size += len(block)
    os.ftruncate(target, size)
    return size, digest.hexdigest()


def _write(target: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(target, view) :]


def _sha256(content: BinaryIO) -> str:
    content.seek(0)
    digest = hashlib.sha256()
    while block := content.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
