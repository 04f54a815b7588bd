# SPDX-License-Identifier: Apache-2.0
"""Rename without ever replacing another file, on every file system that Linux mounts."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from functools import lru_cache
from typing import Any

_NOREPLACE = 1
# The C library or the kernel lacks the call, or the file system the flag (NFS does).
_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_LINK = {errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV}


def rename_without_replacing(source: str, source_fd: int, destination: str, destination_fd: int) -> None:
    """Rename a file.

    :param source_fd: descriptor of the directory that holds ``source``; ``destination_fd`` alike.
    :raises FileExistsError: if there is anything at the destination; both stay as they were.
    :raises FileNotFoundError: if there is no source.
    :raises OSError: anything else that the system refuses.
    """
    if not _rename_atomically(source, source_fd, destination, destination_fd):
        _rename_by_link(source, source_fd, destination, destination_fd)


def _rename_atomically(source: str, source_fd: int, destination: str, destination_fd: int) -> bool:
    """Try the system call that does it in one step; tell whether it is there."""
    call = _renameat2()
    if call is None:
        return False
    if call(source_fd, os.fsencode(source), destination_fd, os.fsencode(destination), _NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), source, None, destination)


def _rename_by_link(source: str, source_fd: int, destination: str, destination_fd: int) -> None:
    """Give the file its second name, which fails where something is, then take the first one away."""
    try:
        os.link(source, destination, src_dir_fd=source_fd, dst_dir_fd=destination_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    else:
        with suppress(FileNotFoundError):
            os.unlink(source, dir_fd=source_fd)
        return
    # A file system without links: look first. Only this process writes to the destination's directory.
    try:
        os.stat(destination, dir_fd=destination_fd, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source, destination, src_dir_fd=source_fd, dst_dir_fd=destination_fd)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), source, None, destination)


@lru_cache(maxsize=1)
def _renameat2() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    try:
        call = library.renameat2
    except AttributeError:
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    call.restype = ctypes.c_int
    return call
