# SPDX-License-Identifier: Apache-2.0
"""Measures and removes what a job has left, however deep it nests folders and whichever of them it closed."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def used_bytes(folder: Path) -> tuple[int, bool]:
    """Return the bytes of disk below a folder, holes not counted, and whether all of it could be seen.

    What lies under a path longer than the system takes (4096 bytes) can't be. What vanishes meanwhile does
    not count.
    """
    used, complete = 0, True
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as error:
            complete = complete and error.errno != errno.ENAMETOOLONG
    return used, complete


def remove(folder: Path) -> None:
    """Remove a folder and all below it; links are removed, not followed.

    Only folders that lie directly in ``folder`` are entered: what they hold is moved up there before its
    turn comes, so neither depth nor the length of a path matters.

    :raises FileNotFoundError: if the folder is not there, or no longer.
    :raises OSError: if something in it can't be removed.
    """
    mark = f".removed-{uuid.uuid4().hex}"
    moved = 0
    with _opened(os.fspath(folder)) as top:
        while folders := _remove_files(top):
            for name in folders:
                with suppress(FileNotFoundError), _opened(name, top) as below:  # another may remove it too
                    for inner in _remove_files(below):
                        _open_up(inner, below)
                        os.rename(inner, f"{mark}-{moved}", src_dir_fd=below, dst_dir_fd=top)
                        moved += 1
                    os.rmdir(name, dir_fd=top)
    folder.rmdir()


def _remove_files(folder: int) -> list[str]:
    """Remove all but the folders of an open folder; return their names."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in found if is_folder]


@contextmanager
def _opened(name: str, above: int | None = None) -> Iterator[int]:
    _open_up(name, above)
    folder = os.open(name, _FOLDER, dir_fd=above)
    try:
        yield folder
    finally:
        os.close(folder)


def _open_up(name: str, above: int | None) -> None:
    """Give a folder that a job has closed back to ourselves."""
    place = os.open(name, _PLACE, dir_fd=above)
    try:
        if os.fstat(place).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{place}", 0o700)
    finally:
        os.close(place)
