# SPDX-License-Identifier: Apache-2.0
"""Uploads to a server that stores other bytes, answers nonsense, or does not want them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from itertools import count
from pathlib import Path

import pytest
from unit.rescale.transfers.file_server import Handler, Served, serving

from scale_airflow.errors import (
    CorruptTransfer,
    RescaleBadAnswer,
    RescaleRefused,
    RescaleUnauthorized,
    TransferError,
    UnsafeName,
)
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.transfers import Progress, Uploader

POLICY = RequestPolicy(connect_timeout=5, read_timeout=5, tries=3, first_pause=0.01, pause_cap=0.02)
CONTENT = bytes(range(256)) * 3000


@dataclass
class Store:
    """What arrived, and what is said about it."""

    answers: list[dict[str, object]] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    refuse: int | None = None
    wait: threading.Event | None = None
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def post(self, handler: Handler) -> None:
        self.headers.append(handler.headers)
        if self.refuse is not None:
            # Without reading what comes: this closes the connection while it is being sent.
            handler.close_connection = True
            handler.give(self.refuse, b'{"detail": "File too large."}', Connection="close")
            return
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.bodies.append(body)
        if self.wait is not None:
            self.wait.wait(20)
        told = self.answers.pop(0) if self.answers else self.right(body)
        handler.give(201, json.dumps(told).encode() if told else b"<html>")

    def right(self, body: bytes) -> dict[str, object]:
        content = body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
        return {
            "id": f"file{next(self.numbers)}",
            "name": "input",
            "decryptedSize": len(content),
            "fileChecksums": [{"hashFunction": "sha512", "fileHash": hashlib.sha512(content).hexdigest()}],
        }

    def delete(self, handler: Handler) -> None:
        self.deleted.append(handler.path.split("/")[-2])
        handler.give(204, b"")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    with serving() as made:
        assert made.handler is not None
        made.handler.do_POST = lambda handler: store.post(handler)  # type: ignore[attr-defined]
        made.handler.do_DELETE = lambda handler: store.delete(handler)  # type: ignore[attr-defined]
        yield made


@pytest.fixture
def uploader(served: Served) -> Iterator[Uploader]:
    with Uploader(served.credentials, policy=POLICY, connections=2) as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "input"
    made.write_bytes(CONTENT)
    return made


def test_the_length_is_told_and_nothing_is_chunked(store: Store, uploader: Uploader, path: Path) -> None:
    (file,) = uploader.upload([path])
    (headers,), (body,) = store.headers, store.bodies
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Transfer-Encoding"] is None
    assert b'name="file"; filename="input"' in body
    assert CONTENT in body
    assert file.id == "file1"


def test_other_bytes_than_those_sent_are_deleted_and_refused(
    store: Store, uploader: Uploader, path: Path
) -> None:
    wrong = {
        "name": "input",
        "decryptedSize": len(CONTENT),
        "fileChecksums": [{"hashFunction": "sha512", "fileHash": "0" * 128}],
    }
    store.answers = [{"id": "one", **wrong}, {"id": "two", **wrong}]
    with pytest.raises(CorruptTransfer, match=r"input: other bytes .* twice"):
        uploader.upload([path])
    assert store.deleted == ["one", "two"]


def test_wrong_once_is_sent_again(store: Store, uploader: Uploader, path: Path) -> None:
    store.answers = [{"id": "short", "name": "input", "decryptedSize": 3}]
    (file,) = uploader.upload([path])
    assert file.id == "file1"
    assert store.deleted == ["short"]


def test_where_no_checksum_is_told_the_size_has_to_fit(store: Store, uploader: Uploader, path: Path) -> None:
    store.answers = [{"id": "bare", "name": "input", "decryptedSize": len(CONTENT)}]
    assert uploader.upload([path])[0].id == "bare"


def test_nonsense_is_no_file(store: Store, uploader: Uploader, path: Path) -> None:
    store.answers = [{}, {}, {}]
    with pytest.raises(RescaleBadAnswer, match=r"^input: "):
        uploader.upload([path])


@pytest.mark.parametrize(("status", "error"), [(413, RescaleRefused), (401, RescaleUnauthorized)])
def test_a_server_that_does_not_want_it_is_heard_while_it_is_sent(
    store: Store, uploader: Uploader, tmp_path: Path, status: int, error: type[Exception]
) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(8_000_000))
    store.refuse = status
    with pytest.raises(error, match="File too large"):
        uploader.upload([large])


def test_an_answer_that_is_on_its_way_is_waited_for_so_that_its_file_is_deleted(
    store: Store, uploader: Uploader, tmp_path: Path
) -> None:
    """Both are sent; then the caller wants no more. What came about there must not stay."""
    paths = [tmp_path / "one", tmp_path / "two"]
    for each in paths:
        each.write_bytes(CONTENT)
    answering = store.wait = threading.Event()

    def listener(progress: Progress) -> None:
        if len(store.bodies) == 2:
            threading.Timer(0.2, answering.set).start()
            raise TimeoutError("enough")

    with pytest.raises(TimeoutError, match="enough"):
        uploader.upload(paths, progress=listener)
    assert sorted(store.deleted) == ["file1", "file2"]


def test_names_and_files_are_looked_at_before_anything_is_sent(
    store: Store, uploader: Uploader, path: Path, tmp_path: Path
) -> None:
    with pytest.raises(TransferError, match="No such file"):
        uploader.upload([path, tmp_path / "none"])
    with pytest.raises(UnsafeName):
        uploader.upload([path], names=lambda path: "a/b")
    assert store.bodies == []
    assert uploader.upload([]) == []
