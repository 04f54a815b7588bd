# SPDX-License-Identifier: Apache-2.0
"""Local names of remote files: a server's word never leads out of the directory that somebody chose."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from scale_airflow.errors import UnsafeName
from scale_airflow.workspaces.confined import UnsafePath, split

PARTS_FOLDER = ".rescale-transfers"
"""Where files lie that are not whole yet, in the directory of the download. No file may have its name."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def safe_relative_path(text: str) -> str:
    """Return a remote file's path as one that stays below the directory, without ``.`` and empty components.

    Backslashes, drive letters and spaces are characters like others here: they lead nowhere on POSIX.

    :raises UnsafeName: if the path is absolute or empty, has ``..``, NUL or another control character, a
        component of more than 255 bytes, or the name of the folder for unfinished files.
    """
    try:
        parts = split(text)
    except UnsafePath as error:
        raise UnsafeName(
            f"Rescale names a file {text!r}, which can't be stored: {error}", name=text
        ) from None
    if parts[0] == PARTS_FOLDER:
        raise UnsafeName(
            f"Rescale names a file {text!r}, but {PARTS_FOLDER} is kept for files that are not whole yet.",
            name=text,
        )
    return "/".join(parts)


def refuse_clashes(paths: Iterable[str]) -> None:
    """Refuse paths of which two are the same, or one is a directory of another.

    :raises UnsafeName: naming every clash.
    """
    seen: set[str] = set()
    twice: set[str] = set()
    for path in paths:
        (twice if path in seen else seen).add(path)
    faults = [f"{path!r} is the name of several files" for path in sorted(twice)]
    for path in sorted(seen):
        above = path.split("/")[:-1]
        folders = ("/".join(above[: length + 1]) for length in range(len(above)))
        faults += [
            f"{folder!r} is a file, and a directory of {path!r}" for folder in folders if folder in seen
        ]
    if faults:
        raise UnsafeName(
            f"The files can't lie in one directory: {'; '.join(faults[:20])}. Download them into different "
            "directories, or choose their names.",
            name=sorted(twice)[0] if twice else "",
        )


def part_name(file_id: str) -> str:
    """Return the name of the unfinished file of a remote file, whatever characters its id has."""
    return file_id if _PLAIN.fullmatch(file_id) else hashlib.sha256(file_id.encode()).hexdigest()
