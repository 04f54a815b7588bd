# SPDX-License-Identifier: Apache-2.0
"""What every workspace can do with its files, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from scale_airflow.errors import WorkspaceError

Transfer = Literal["copy", "link"]


class PathTaken(WorkspaceError):  # noqa: N818 - named like its siblings in errors.py
    """Another file with other content is already stored at the path."""


class ContentChanged(WorkspaceError):  # noqa: N818
    """The content is not what was read before: something writes to the file."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that lies complete in its workspace: relative path, size in bytes, sha256 in hex."""

    path: str
    file_size: int
    checksum: str


class Broker(Protocol):
    """One workspace. All paths are relative to it, with ``/`` between the components.

    Every method raises :class:`WorkspaceError` when the storage can't be read or written, or when a path
    leaves the workspace.
    """

    error_name: str
    """The Scale error that a fault of this storage counts as: ``nfs`` or ``filesystem-io``."""

    def local_path(self, relative: str) -> Path:
        """Return where this host sees the file, so that a job can read it in place.

        :raises MissingPath: if there is no such file.
        """

    def open(self, relative: str) -> BinaryIO:
        """Open the file for reading."""

    def exists(self, relative: str) -> bool:
        """Tell whether a regular file is stored at the path."""

    def store(
        self, source: Path, relative: str, *, how: Transfer = "copy", checksum: str | None = None
    ) -> StoredFile:
        """Store the file ``source`` so that it is complete at once or not at all.

        Storing the same content again is no error and changes nothing.

        :param how: ``copy`` makes a file of its own; ``link`` may share the content of ``source``, for
            callers who know that nobody writes to it any more.
        :param checksum: sha256 of the content where the caller has just read it, to save a second reading.
        :raises PathTaken: if other content lies at the path.
        :raises ContentChanged: if what was copied is not what the caller has read; then nothing is stored.
        """

    def delete(self, relative: str) -> bool:
        """Delete the file; tell whether there was one."""

    def add_name(self, relative: str, target: str, *, checksum: str | None = None) -> None:
        """Let the stored file be found at ``target`` too, complete at once or not at all; may be repeated.

        :param checksum: sha256 of the file where it is known; a copy of other content is refused.
        :raises MissingPath: if there is no such file.
        :raises PathTaken: if other content lies at the target.
        :raises ContentChanged: if it had to be copied and its content is not the known one.
        """

    def drop_name(self, relative: str, kept: str) -> bool:
        """Delete the file at ``relative``, which is stored at ``kept`` too; tell whether there was one.

        :raises MissingPath: if there is none at ``kept``: the last one of a file is never deleted.
        :raises PathTaken: if what lies at ``relative`` is another file than the one at ``kept``.
        """

    def sweep(self, folder: str, choose: Callable[[Sequence[str]], Collection[str]]) -> int:
        """Delete what is chosen of the files in and below ``folder``, and then the directories left empty.

        :param choose: is given paths, some at a time, and returns those to delete.
        :returns: how many files were deleted; 0 also if there is no such folder.
        """
