# SPDX-License-Identifier: Apache-2.0
"""Relative paths inside workspaces and job directories, which never lead out of them."""

from __future__ import annotations

from pathlib import PurePosixPath

from scale_airflow.definitions.faults import quote
from scale_airflow.errors import WorkspaceError


def relative_path(text: str) -> PurePosixPath:
    """Return ``text`` as a relative path without ``.`` components.

    :raises WorkspaceError: the path is empty, absolute, contains NUL or a ``..`` component.
    """
    problem = path_problem(text)
    if problem is not None:
        raise WorkspaceError(f"The path {quote(text)} {problem}.")
    return PurePosixPath(text)


def path_problem(text: str) -> str | None:
    """Return what keeps ``text`` from being a relative path, as the end of a sentence, or None."""
    if "\0" in text:
        return "contains the character NUL"
    path = PurePosixPath(text)
    if not path.parts:
        return "is empty"
    if path.is_absolute():
        return "is absolute, but must be relative"
    if ".." in path.parts:
        return 'contains "..", which could lead out of its directory'
    return None
