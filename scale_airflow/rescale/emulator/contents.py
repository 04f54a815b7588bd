# SPDX-License-Identifier: Apache-2.0
"""The bytes of a file: whole or a range, from the service itself or from the storage that it points to."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from yarl import URL

from scale_airflow.rescale.emulator.answers import Answer, FileSlice
from scale_airflow.rescale.emulator.faults import Fault
from scale_airflow.rescale.emulator.records import FileRecord
from scale_airflow.rescale.emulator.refusals import RefusedError, not_found, refused
from scale_airflow.rescale.emulator.state import State

STORAGE = "/storage/"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


def contents_answer(
    record: FileRecord, path: Path, headers: Mapping[str, str], fault: Fault | None
) -> Answer:
    """Return a file's bytes as the headers of the request ask for them.

    :param path: where the bytes are.
    :raises RefusedError: 416 for a range behind the end.
    """
    tag = f'"{record.md5 or record.blob}"'
    answer_headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(record.name, safe='')}",
        "Accept-Ranges": "bytes",
        "ETag": tag,
    }
    if tag in headers.get("If-None-Match", ""):
        return Answer(304, b"", {"ETag": tag})
    wanted = None
    if headers.get("If-Range") in (None, tag) and not (fault is not None and fault.kind == "ignore_range"):
        wanted = range_of(headers.get("Range", ""), record.size)
    first, count = wanted if wanted is not None else (0, record.size)
    part = FileSlice(path, first, count, record.id)
    if wanted is None:
        return Answer(200, headers=answer_headers, file=part)
    answer_headers["Content-Range"] = f"bytes {first}-{first + count - 1}/{record.size}"
    return Answer(206, headers=answer_headers, file=part)


def range_of(header: str, size: int) -> tuple[int, int] | None:
    """Return first byte and count of a Range header, the end clamped; None: no range, or several.

    :raises RefusedError: 416 when it begins behind the end.
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first_text, last_text = match.group(1)[:20], match.group(2)[:20]
    if first_text == "":
        count = min(int(last_text), size)
        first = size - count
    else:
        first = int(first_text)
        last = min(int(last_text), size - 1) if last_text else size - 1
        if last_text and int(last_text) < first:
            return None
        count = last - first + 1
    if first >= size or count <= 0:
        detail = {"detail": "Requested Range Not Satisfiable"}
        raise RefusedError(416, detail, {"Content-Range": f"bytes */{size}"})
    return first, count


def signed_address(url: URL, record: FileRecord) -> str:
    """Return where the storage has a file, on a host that is not the service's: the address is the key.

    :param url: of the request for the contents.
    """
    host = "127.0.0.1" if url.host == "localhost" else "localhost"
    return str(url.origin().with_host(host).with_path(f"{STORAGE}{record.id}/{_signature(record)}"))


def stored_file(state: State, path: str, headers: Mapping[str, str]) -> FileRecord:
    """Return the file that an address of the storage names.

    :raises RefusedError: 404 for none; 400 for a request that has a key of the service's as well: the real
        storage refuses that, and the key is not its business.
    """
    file_id, _, signature = path.removeprefix(STORAGE).partition("/")
    record = state.files.get(file_id)
    if (
        record is None
        or record.is_deleted
        or not hmac.compare_digest(signature.encode(), _signature(record).encode())
    ):
        raise not_found()
    if "Authorization" in headers:
        raise refused("Only one auth mechanism allowed.")
    return record


def _signature(record: FileRecord) -> str:
    return hmac.new(record.blob.encode(), record.id.encode(), hashlib.sha256).hexdigest()
