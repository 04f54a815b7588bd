# SPDX-License-Identifier: Apache-2.0
"""Files of the cloud storage: upload, list, metadata, contents, lines, delete."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from scale_airflow.rescale.emulator import contents
from scale_airflow.rescale.emulator.answers import Answer, empty_answer, json_answer
from scale_airflow.rescale.emulator.exchange import Exchange
from scale_airflow.rescale.emulator.multipart import boundary_of, read_form
from scale_airflow.rescale.emulator.paging import page_of
from scale_airflow.rescale.emulator.records import INPUT_FILE, FileRecord
from scale_airflow.rescale.emulator.refusals import invalid, not_found, refused
from scale_airflow.rescale.emulator.routing import Endpoint
from scale_airflow.rescale.emulator.sending import connection_of, cut
from scale_airflow.rescale.emulator.views import file_document

TYPE_IDS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12)
# "lines" puts the whole file into one document.
LARGEST_LINES = 64 * 2**20
_ORDERINGS = {
    "dateUploaded": lambda one: (one.uploaded, one.number),
    "name": lambda one: one.name,
    "decryptedSize": lambda one: one.size,
    "typeId": lambda one: one.type_id,
}


async def upload(exchange: Exchange) -> Answer:
    """Answer row 33: take an upload; its length must be known before."""
    if exchange.request.headers.get("Content-Length") is None:
        raise refused("Length Required: Transfer-Encoding: chunked is not supported.", 411)
    boundary = boundary_of(exchange.request.headers.get("Content-Type", ""))
    form = await read_form(_Arriving(exchange).more, boundary, exchange.emulator.blobs)
    blob, name = form.blob, _base_name(form.file_name or "")
    assert blob is not None
    record = FileRecord(
        id=exchange.state.new_id(),
        name=name,
        relative_path=name,
        type_id=_type_id(form.fields.get("type_id", form.fields.get("typeId"))),
        size=blob.size,
        uploaded=exchange.emulator.clock.now(),
        owner=exchange.caller.email,
        blob=blob.name,
        number=exchange.state.next_number(),
        sha512=blob.sha512,
        md5=blob.md5,
    )
    exchange.state.put(record)
    return json_answer(file_document(record, exchange.origin), 201)


class _Arriving:
    """The body of an upload: shaped, counted, and cut where a fault says so."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._received = 0

    async def more(self) -> bytes:
        """Return the next bytes; none at the end."""
        emulator, request, fault = self._exchange.emulator, self._exchange.request, self._exchange.fault
        piece = await request.content.readany()
        self._received += len(piece)
        emulator.counters.bytes_received += len(piece)
        if fault is not None and fault.kind == "cut_upload" and self._received >= fault.after_bytes:
            cut(request)
        await emulator.shaping.received(connection_of(request), len(piece))
        return piece


def _base_name(name: str) -> str:
    # As Django does with the name of an upload.
    return name.replace("\\", "/").rsplit("/", 1)[-1].replace("\x00", "") or "file"


def _type_id(text: str | None) -> int:
    return int(text) if text in {str(one) for one in TYPE_IDS} and text else INPUT_FILE


async def list_files(exchange: Exchange) -> Answer:
    """Answer row 34: the caller's files, uploaded ones and results."""
    files = [
        one
        for one in exchange.state.files.values()
        if one.owner == exchange.caller.email and not one.is_deleted
    ]
    return files_answer(exchange, files, newest_first=True)


def files_answer(exchange: Exchange, files: Iterable[FileRecord], *, newest_first: bool = False) -> Answer:
    """Answer a page of files, searched and ordered as the address says."""
    words = re.split(r"[\s,]+", exchange.query.get("search", "").lower())
    found = [one for one in files if all(word in one.name.lower() for word in words)]
    ordering = exchange.query.get("ordering", "-dateUploaded" if newest_first else "")
    by = _ORDERINGS.get(ordering.lstrip("-"))
    if by is not None:
        found.sort(key=by, reverse=ordering.startswith("-"))
    return json_answer(page_of(found, exchange.url, lambda one: file_document(one, exchange.origin)))


def file_of(exchange: Exchange) -> FileRecord:
    """Return the file that the path names; 404 when the caller has no such file, or it was deleted."""
    record = exchange.state.files.get(exchange.values["file"])
    if record is None or record.is_deleted:
        raise not_found()
    if exchange.caller.email not in (record.owner, *record.shared_with):
        raise not_found()
    return record


async def get_file(exchange: Exchange) -> Answer:
    """Answer row 35: metadata."""
    return json_answer(file_document(file_of(exchange), exchange.origin))


async def update_file(exchange: Exchange) -> Answer:
    """Answer row 36: change name or type."""
    record = file_of(exchange)
    fields = await exchange.fields()
    faults: dict[str, list[str]] = {}
    name, type_id = fields.get("name", record.name), fields.get("typeId", record.type_id)
    if not isinstance(name, str) or not name or "/" in name or "\x00" in name:
        faults["name"] = ["This field may not be blank." if name == "" else "Not a valid file name."]
    if type_id not in TYPE_IDS or isinstance(type_id, bool):
        faults["typeId"] = [f'Invalid pk "{type_id}" - object does not exist.']
    if faults:
        raise invalid(faults)
    folder, slash, old = record.relative_path.rpartition("/")
    path = f"{folder}{slash}{name}" if old == record.name else record.relative_path
    changed = replace(record, name=name, type_id=type_id, relative_path=path)
    exchange.state.put(changed)
    return json_answer(file_document(changed, exchange.origin))


async def delete_file(exchange: Exchange) -> Answer:
    """Answer row 37: the bytes go, the links of jobs to it stay."""
    await delete_files(exchange, [file_of(exchange)])
    return empty_answer(204)


async def delete_files(exchange: Exchange, records: Iterable[FileRecord]) -> None:
    """Mark files as deleted and delete their bytes."""
    gone = [replace(one, is_deleted=True) for one in records if not one.is_deleted]
    if gone:
        exchange.state.put(*gone)
        for one in gone:
            await asyncio.to_thread(exchange.emulator.blobs.remove, one.blob)


async def get_contents(exchange: Exchange) -> Answer:
    """Answer row 38: the bytes, all or a range of them; or where the storage has them."""
    record = file_of(exchange)
    if exchange.emulator.settings.redirect_contents:
        return Answer(302, headers={"Location": contents.signed_address(exchange.url, record)})
    path = exchange.emulator.blobs.path(record.blob)
    return contents.contents_answer(record, path, exchange.request.headers, exchange.fault)


async def get_lines(exchange: Exchange) -> Answer:
    """Answer row 39: the lines of a plain text."""
    record = file_of(exchange)
    if record.size > LARGEST_LINES:
        raise refused("The file is too large to be shown as lines.")
    try:
        text = await asyncio.to_thread(_read_text, exchange.emulator.blobs.path(record.blob))
    except UnicodeDecodeError:
        raise refused("The file is not a plain text file.") from None
    return json_answer({"lines": list(io.StringIO(text))})


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    if b"\x00" in data[:8192]:
        raise UnicodeDecodeError("utf-8", data[:1], 0, 1, "binary")
    return data.decode("utf-8")


ENDPOINTS = [
    Endpoint("/files/contents/", "file-access", {"POST": upload, "PUT": upload}),
    Endpoint("/files/", "file-access", {"GET": list_files}),
    Endpoint(
        "/files/{file}/",
        "file-access",
        {"GET": get_file, "PUT": update_file, "PATCH": update_file, "DELETE": delete_file},
    ),
    Endpoint("/files/{file}/contents/", "file-access", {"GET": get_contents}),
    Endpoint("/files/{file}/lines/", "file-access", {"GET": get_lines}),
]
