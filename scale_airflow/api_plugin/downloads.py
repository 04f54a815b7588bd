# SPDX-License-Identifier: Apache-2.0
"""Downloads: whole files or a range of them (RFC 9110), always attachments that run nothing in a browser."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from scale_airflow.api_plugin.replies import refusal
from scale_airflow.services.file_content import FileContent

_BLOCK = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+", re.ASCII)


class UnsatisfiableRange(ValueError):  # noqa: N818 - it is no error of the program
    """The wanted range lies outside of the file."""


def download(request: Request, content: FileContent) -> Response:
    """Answer the content of a file, or the range of it that the request wants.

    :raises NotFound: if the file is no longer in its workspace.
    :raises WorkspaceError: if the workspace can't be read.
    """
    etag = f'"{content.etag}"'
    headers = _headers(content, etag)
    if _names(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    file = content.open()
    try:
        size = os.fstat(file.fileno()).st_size
        wanted = request.headers.get("range") if request.method in ("GET", "HEAD") else None
        if wanted is not None and request.headers.get("if-range", etag) != etag:
            wanted = None
        span = wanted_range(wanted, size)
    except UnsatisfiableRange:
        file.close()
        told = {"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes", "ETag": etag}
        return refusal(416, f"The range lies outside of the file, which has {size} bytes.", headers=told)
    except BaseException:
        file.close()
        raise
    first, last = span or (0, size - 1)
    headers["Content-Length"] = str(last - first + 1)
    if span is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    status = 200 if span is None else 206
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_blocks(file, first, last - first + 1), status_code=status, headers=headers)


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a Range header wants, or None for the whole file.

    Several ranges, other units and nonsense mean the whole file, as RFC 9110 allows.

    :raises UnsatisfiableRange: if the range lies outside of the file.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    start, end = match.groups()
    if not start:  # the last bytes
        first, last = max(0, size - int(end)), size - 1
    else:
        first, last = int(start), min(int(end) if end else size - 1, size - 1)
        if end and int(end) < first:
            return None
    if first > last:
        raise UnsatisfiableRange(header)
    return first, last


def _names(header: str, etag: str) -> bool:
    """Tell whether an If-None-Match header names the tag."""
    tags = {each.strip().removeprefix("W/") for each in header.split(",")}
    return "*" in tags or etag in tags


def _headers(content: FileContent, etag: str) -> dict[str, str]:
    media_type = content.media_type
    return {
        "Content-Type": media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream",
        "Content-Disposition": disposition(content.file_name),
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        # Named, so that nobody on the way compresses a range of bytes.
        "Content-Encoding": "identity",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


def disposition(file_name: str) -> str:
    """Return the header that makes a browser save the file under its name, whatever characters it has."""
    plain = re.sub(r"[^A-Za-z0-9 ._()+,=@\[\]{}~-]", "_", file_name) or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


def _blocks(file: BinaryIO, first: int, length: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        while length > 0 and (block := file.read(min(_BLOCK, length))):
            length -= len(block)
            yield block
