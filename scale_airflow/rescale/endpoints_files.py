# SPDX-License-Identifier: Apache-2.0
"""Files: what Rescale knows about them. Their contents travel in ``scale_airflow.rescale.transfers``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scale_airflow.rescale.calls import Call, Scope, path_of
from scale_airflow.rescale.documents import Fields
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.paging import PAGE_SIZE, PagedCall


def list_files(
    *,
    search: str | None = None,
    ordering: str | None = "-dateUploaded",
    page_size: int | None = PAGE_SIZE,
) -> PagedCall[RemoteFile]:
    """List the user's files, newest first. Rescale API: list all files.

    :param search: part of the name.
    """
    query = {"search": search, "ordering": ordering}
    return PagedCall(path_of("files"), RemoteFile.from_document, query=query, page_size=page_size)


def get_file(file_id: str) -> Call[RemoteFile]:
    """Return what Rescale knows about a file. Rescale API: get metadata of a file."""
    return Call("GET", path_of("files", file_id), RemoteFile.from_document)


def update_file(file_id: str, changes: Mapping[str, Any]) -> Call[RemoteFile]:
    """Change a file's metadata."""
    return Call("PATCH", path_of("files", file_id), RemoteFile.from_document, body=dict(changes))


def delete_file(file_id: str) -> Call[None]:
    """Delete a file. A job that has it as an input can't be submitted any more.

    Rescale API: delete a file.
    """
    return Call("DELETE", path_of("files", file_id), _nothing, reads="nothing")


def get_file_lines(file_id: str) -> Call[tuple[str, ...]]:
    """Return the lines of a small text file, with their ends.

    Rescale API: get plaintext content of a file.
    """
    return Call("GET", path_of("files", file_id, "lines"), _lines, scope=Scope.FILE_ACCESS)


def get_file_contents(file_id: str, *, first: int | None = None, last: int | None = None) -> Call[bytes]:
    """Return a small file, or a part of one, in memory. Rescale API: download a file.

    :param first: the first byte of the part, from 0.
    :param last: the last byte of the part; None for the file's end.
    """
    ranged = first is not None or last is not None
    return Call(
        "GET",
        path_of("files", file_id, "contents"),
        bytes,
        scope=Scope.FILE_ACCESS,
        reads="bytes",
        leaves_origin=True,
        headers={"Range": f"bytes={first or 0}-{'' if last is None else last}"} if ranged else {},
    )


def _lines(document: Any) -> tuple[str, ...]:
    return tuple(map(str, Fields(document, "file").rows("lines")))


def _nothing(_: Any) -> None:
    return None
