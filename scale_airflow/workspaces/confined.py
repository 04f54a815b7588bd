# SPDX-License-Identifier: Apache-2.0
"""File access that stays below one directory: every path is walked component by component, links refused."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from scale_airflow.errors import WorkspaceError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Finds a file without opening it: to open a device can be an act (a watchdog starts, a tape winds back).
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY_MODE = 0o755


class UnsafePath(WorkspaceError):  # noqa: N818 - named like its siblings in errors.py
    """A path names no file below its directory: it is absolute, climbs out, or runs through a link."""


class MissingPath(WorkspaceError):  # noqa: N818
    """There is nothing at the path."""


def split(text: str) -> tuple[str, ...]:
    """Return the components of a relative path.

    :raises UnsafePath: if it is empty, absolute, has ``..`` or a component that no file system takes.
    """
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    if text.startswith("/"):
        raise UnsafePath(f"The path {text!r} is absolute; it must be relative.")
    if not parts:
        raise UnsafePath(f"The path {text!r} names no file.")
    for part in parts:
        if part == "..":
            raise UnsafePath(f"The path {text!r} leaves its directory.")
        try:
            encoded = part.encode("utf-8")
        except UnicodeEncodeError:
            raise UnsafePath(f"The path {text!r} is not valid UTF-8.") from None
        if any(character < " " or character == "\x7f" for character in part):
            raise UnsafePath(f"The path {text!r} contains a control character.")
        if len(encoded) > 255:
            raise UnsafePath(f"The path {text!r} has a component of more than 255 bytes.")
    return parts


class ConfinedDirectory:
    """An open directory whose methods reach nothing outside of it, whatever links lie in it.

    Use it as a context manager. ``path`` itself may be a link; who makes one answers for it.

    :param follow: whether it may be. False where somebody else could have put a link in its place.
    :raises MissingPath: if the directory does not exist.
    :raises UnsafePath: if it is a link, or no directory, and that is not allowed.
    :raises WorkspaceError: if it can't be opened.
    """

    def __init__(self, path: Path, *, follow: bool = True):
        self.path = path
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            self._fd = os.open(path, flags if follow else _DIRECTORY)
        except FileNotFoundError:
            raise MissingPath(f"The directory {path} does not exist.") from None
        except OSError as error:
            if not follow and error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise UnsafePath(f"{path} is a link, or no directory.") from None
            raise WorkspaceError(f"The directory {path} can't be opened: {error.strerror}.") from error

    def __enter__(self) -> ConfinedDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    @contextmanager
    def parent(self, relative: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Give a descriptor of the directory that holds ``relative``, and the last component.

        :param create: make missing directories on the way.
        :raises MissingPath: if a directory on the way does not exist.
        :raises UnsafePath: if one is a link or no directory, or the path climbs out.
        """
        parts = split(relative)
        fd = os.dup(self._fd)
        try:
            for part in parts[:-1]:
                deeper = self._enter(fd, part, relative, create)
                os.close(fd)
                fd = deeper
            yield fd, parts[-1]
        finally:
            os.close(fd)

    def open_file(self, relative: str) -> int:
        """Return a descriptor, open for reading, of the regular file ``relative``.

        :raises MissingPath: if there is none.
        :raises UnsafePath: if it is a link, a directory, a device, a pipe or a socket.
        """
        with self.parent(relative) as (fd, name):
            try:
                place = os.open(name, _PLACE, dir_fd=fd)
            except OSError as error:
                raise self._explain(error, relative) from error
        try:
            mode = os.fstat(place).st_mode
            if stat.S_ISLNK(mode):
                raise UnsafePath(f"{relative!r} in {self.path} is a link.")
            if not stat.S_ISREG(mode):
                raise UnsafePath(f"{relative!r} in {self.path} is {kind_of(mode)}, not a regular file.")
            return os.open(f"/proc/self/fd/{place}", _FILE)
        except OSError as error:
            raise self._explain(error, relative) from error
        finally:
            os.close(place)

    def walk(self, folder: str) -> Iterator[tuple[str, list[str]]]:
        """Give ``folder`` and every directory below it, each with the paths of what is no directory in it.

        Directories come before those in them. Links are not followed. Names that no path of ours may have are
        left out. Nothing is given for a folder that does not exist.

        :raises UnsafePath: if the folder is, or is behind, a link.
        """
        ahead = [folder]
        while ahead:
            here = ahead.pop()
            files: list[str] = []
            below: list[str] = []
            try:
                # The last component is not looked at: the descriptor is that of the directory itself.
                with self.parent(f"{here}/-") as (fd, _), os.scandir(fd) as entries:
                    for entry in entries:
                        path = f"{here}/{entry.name}"
                        if _is_nameable(path):
                            (below if entry.is_dir(follow_symlinks=False) else files).append(path)
            except MissingPath:
                continue
            ahead += sorted(below, reverse=True)
            yield here, sorted(files)

    def _enter(self, fd: int, part: str, relative: str, create: bool) -> int:
        if create:
            try:
                os.mkdir(part, DIRECTORY_MODE, dir_fd=fd)
            except FileExistsError:
                pass
            except OSError as error:
                raise self._explain(error, relative) from error
        try:
            return os.open(part, _DIRECTORY, dir_fd=fd)
        except OSError as error:
            raise self._explain(error, relative) from error

    def _explain(self, error: OSError, relative: str) -> WorkspaceError:
        if error.errno == errno.ENOENT:
            return MissingPath(f"There is no {relative!r} in {self.path}.")
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return UnsafePath(
                f"{relative!r} in {self.path} runs through a link, or through what is no directory."
            )
        if error.errno in (errno.ENXIO, errno.ENODEV):
            return UnsafePath(f"{relative!r} in {self.path} is not a regular file.")
        return WorkspaceError(f"{relative!r} in {self.path} can't be opened: {error.strerror}.")


def _is_nameable(path: str) -> bool:
    try:
        return bool(split(path))
    except UnsafePath:
        return False


def kind_of(mode: int) -> str:
    """Return in words what a file of this ``st_mode`` is."""
    for test, words in (
        (stat.S_ISREG, "a regular file"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if test(mode):
            return words
    return "something unknown"
