# SPDX-License-Identifier: Apache-2.0
"""Multipart forms, read as they come: a file goes to the disk and through the hashes on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesHeaderParser

from scale_airflow.rescale.emulator.blobs import Blob, Blobs, BlobWriter
from scale_airflow.rescale.emulator.refusals import invalid, refused

LARGEST_HEADER = 2**14
LARGEST_FIELD = 2**16
# Written and hashed at once, in a thread, while the next piece arrives.
WRITE_SIZE = 2**20


@dataclass
class Form:
    """A received form: the file under its name, and the plain fields."""

    file_name: str | None = None
    blob: Blob | None = None
    fields: dict[str, str] = field(default_factory=dict)


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names.

    :raises RefusedError: 415 for no form, 400 without a boundary.
    """
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() != "multipart/form-data":
        raise refused(f'Unsupported media type "{header.get_content_type()}" in request.', 415)
    name = header.get_param("boundary")
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise refused("Multipart form parse error - Invalid boundary in multipart: None")
    return name.encode("utf-8", "replace")


async def read_form(more: Callable[[], Awaitable[bytes]], boundary: bytes, blobs: Blobs) -> Form:
    """Read a form to its end; its field ``file`` becomes a blob.

    :param more: returns the next bytes, none at the end.
    :raises RefusedError: 400 for a form that is broken, has no ``file``, or more than one.
    :raises OSError: the disk is full. In no case is anything left of the file then.
    """
    form = Form()
    try:
        await _Parts(more, boundary, blobs).read(form)
        if form.blob is None:
            raise invalid({"file": ["No file was submitted."]})
        if not form.file_name:
            raise invalid({"file": ["No filename could be determined."]})
    except BaseException:
        if form.blob is not None:
            blobs.remove(form.blob.name)
        raise
    return form


class _Parts:
    def __init__(self, more: Callable[[], Awaitable[bytes]], boundary: bytes, blobs: Blobs) -> None:
        self._source = more
        self._blobs = blobs
        self._delimiter = b"\r\n--" + boundary
        # As if the delimiter's line break stood before the first one, too.
        self._data = b"\r\n"

    async def read(self, form: Form) -> None:
        async for _ in self._until(self._delimiter):
            pass
        while True:
            if await self._take(2) == b"--":
                break
            headers = await self._headers()
            name = headers.get_param("name", header="Content-Disposition")
            file_name = headers.get_filename()
            if name == "file" and file_name is not None:
                if form.blob is not None:
                    raise invalid({"file": ["More than one file was submitted."]})
                form.file_name = file_name
                form.blob = await self._file()
            else:
                value = await self._field()
                if isinstance(name, str):
                    form.fields[name] = value
        while await self._more():
            self._data = b""

    async def _more(self) -> bool:
        piece = await self._source()
        self._data = self._data + piece if self._data else piece
        return bool(piece)

    async def _need_more(self) -> None:
        if not await self._more():
            raise refused("Multipart form parse error - the form ends too early.")

    async def _take(self, count: int) -> bytes:
        while len(self._data) < count:
            await self._need_more()
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    async def _headers(self) -> Message:
        while (place := self._data.find(b"\r\n\r\n")) < 0:
            if len(self._data) > LARGEST_HEADER:
                raise refused("Multipart form parse error - the header of a part is too long.")
            await self._need_more()
        head, self._data = self._data[:place], self._data[place + 4 :]
        # Names come as UTF-8, which the parser would take for broken.
        text = head.decode("utf-8", "replace").strip("\r\n").encode("utf-8")
        parsed = BytesHeaderParser().parsebytes(text)
        disposition = _unicode_header(text, b"content-disposition")
        if disposition is not None:
            del parsed["Content-Disposition"]
            parsed["Content-Disposition"] = disposition
        return parsed

    async def _until(self, end: bytes) -> AsyncIterator[bytes]:
        keep = len(end) - 1
        while (place := self._data.find(end)) < 0:
            if len(self._data) > keep:
                piece, self._data = self._data[:-keep], self._data[-keep:]
                yield piece
            await self._need_more()
        piece, self._data = self._data[:place], self._data[place + len(end) :]
        if piece:
            yield piece

    async def _field(self) -> str:
        value = b""
        async for piece in self._until(self._delimiter):
            value += piece
            if len(value) > LARGEST_FIELD:
                raise refused("Multipart form parse error - a field is too long.")
        return value.decode("utf-8", "replace")

    async def _file(self) -> Blob:
        with self._blobs.writer() as writer:
            pending: asyncio.Task[None] | None = None
            pieces: list[bytes] = []
            count = 0
            try:
                async for piece in self._until(self._delimiter):
                    pieces.append(piece)
                    count += len(piece)
                    if count >= WRITE_SIZE:
                        if pending is not None:
                            await pending
                        pending = asyncio.ensure_future(asyncio.to_thread(_write, writer, pieces))
                        pieces, count = [], 0
            finally:
                if pending is not None:
                    await pending
            await asyncio.to_thread(_write, writer, pieces)
            return await asyncio.to_thread(writer.finish)


def _write(writer: BlobWriter, pieces: list[bytes]) -> None:
    for piece in pieces:
        writer.write(piece)


def _unicode_header(head: bytes, name: bytes) -> str | None:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(name + b":"):
            return line.split(b":", 1)[1].strip().decode("utf-8", "replace")
    return None
