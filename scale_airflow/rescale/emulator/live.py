# SPDX-License-Identifier: Apache-2.0
"""Looks into the directory of a run that runs: its files, their last lines, a packed copy. All blocks."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path, PurePosixPath

from scale_airflow.rescale.emulator.staging import LOG_NAME, Place, files_below

# No more of a file's end is read to find its last lines.
_MOST = 4 * 2**20
_BLOCK = 2**16


def live_file(place: Place, path: str) -> Path | None:
    """Return where a file of the work directory is; None when it is not there or lies elsewhere."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or "\0" in path:
        return None
    if relative.as_posix() == LOG_NAME:
        return place.log if place.log.exists() else None
    try:
        real = (place.work / relative).resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return real if real.is_file() and real.is_relative_to(place.work.resolve()) else None


def directory(place: Place) -> list[str]:
    """Return the paths of all files of the work directory, sorted."""
    return list(files_below(place.work))


def last_lines(path: Path, count: int) -> tuple[str, list[str]]:
    """Return ``("text", the last lines with their ends)``, or ``("binary", [])``.

    :raises OSError: when the file is gone.
    """
    if count <= 0:
        return "text", []
    with path.open("rb") as file:
        size = at = file.seek(0, os.SEEK_END)
        data = b""
        while at > 0 and data.count(b"\n") <= count and size - at < _MOST:
            step = min(_BLOCK, at)
            at -= step
            file.seek(at)
            data = file.read(step) + data
    if b"\0" in data:
        return "binary", []
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    return "text", lines[-count:]


def pack(place: Place, target: Path) -> int:
    """Write the work directory into a zip archive; return how many files it holds.

    A file that goes away meanwhile is left out; one that changes is packed as it is read.
    """
    count = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for relative, path in files_below(place.work).items():
            with contextlib.suppress(FileNotFoundError):
                archive.write(path, relative)
                count += 1
    return count
