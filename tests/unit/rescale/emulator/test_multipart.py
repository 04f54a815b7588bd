# SPDX-License-Identifier: Apache-2.0
"""Forms come in pieces of any size, and say the same however they are cut."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from scale_airflow.rescale.emulator import multipart
from scale_airflow.rescale.emulator.blobs import Blobs
from scale_airflow.rescale.emulator.multipart import boundary_of, read_form
from scale_airflow.rescale.emulator.refusals import RefusedError

# Nearly, but not quite, what ends a part.
CONTENT = b"\r\n--b\r--bou\r\n-\r\n--boundar\r\n\r\n--\x00\xff" * 3
FORM = (
    b"a preamble that nobody reads\r\n--boundary\r\n"
    b'Content-Disposition: form-data; name="type_id"\r\n\r\n2\r\n--boundary\r\n'
    b'content-disposition: form-data; name="file"; filename="\xc3\xbc \\"x\\".bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + CONTENT + b"\r\n--boundary--\r\nan epilogue"
)


def pieces(data: bytes, size: int) -> Callable[[], Awaitable[bytes]]:
    cut = iter([data[start : start + size] for start in range(0, len(data), size)])

    async def more() -> bytes:
        return next(cut, b"")

    return more


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, 10_000])
async def test_a_form_in_pieces(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "WRITE_SIZE", 16)
    blobs = Blobs(tmp_path)
    form = await read_form(pieces(FORM, size), b"boundary", blobs)
    assert (form.file_name, form.fields) == ('ü "x".bin', {"type_id": "2"})
    assert form.blob is not None
    assert blobs.path(form.blob.name).read_bytes() == CONTENT
    assert form.blob.sha512 == hashlib.sha512(CONTENT).hexdigest()
    assert form.blob.md5 == hashlib.md5(CONTENT).hexdigest()


@pytest.mark.parametrize("end", range(0, len(FORM) - len(b"--\r\nan epilogue"), 13))
async def test_a_form_that_ends_early_leaves_nothing(tmp_path: Path, end: int) -> None:
    with pytest.raises(RefusedError, match="Multipart form parse error - the form ends too early"):
        await read_form(pieces(FORM[:end], 50), b"boundary", Blobs(tmp_path))
    assert list((tmp_path / "blobs").iterdir()) == []


def part(name: str, content: bytes = b"x", file_name: str | None = None) -> bytes:
    file = "" if file_name is None else f'; filename="{file_name}"'
    head = f'--boundary\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (part("file") + b"--boundary--", "No file was submitted."),
        (part("other", file_name="a") + b"--boundary--", "No file was submitted."),
        (part("file", file_name="") + b"--boundary--", "No filename could be determined."),
        (part("file", file_name="a") * 2 + b"--boundary--", "More than one file was submitted."),
        (part("x", b"y" * 70_000) + b"--boundary--", "a field is too long"),
        (b"--boundary\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", "the header of a part is too long"),
    ],
)
async def test_forms_that_are_refused(tmp_path: Path, parts: bytes, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        await read_form(pieces(parts, 1000), b"boundary", Blobs(tmp_path))
    assert list((tmp_path / "blobs").iterdir()) == []


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=x; boundary="a b"', b"a b"),
    ],
)
def test_boundaries(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", 415),
        ("application/json", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
    ],
)
def test_content_types_that_are_no_form(content_type: str, status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        boundary_of(content_type)
    assert caught.value.status == status
