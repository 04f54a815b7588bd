# SPDX-License-Identifier: Apache-2.0
"""Output goes line by line to the task log, whole to the API server, once, and bounded."""

from __future__ import annotations

import base64
import itertools
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.execution.fake_runtime import RecordingLog

from scale_airflow.errors import ScaleApiError
from scale_airflow.execution import log_sender
from scale_airflow.execution.log_sender import ChunkSender
from scale_airflow.execution.logs import OutputSink
from scale_airflow.execution.order import LogChunk, Stream


class Server:
    """Keeps each sequence number's first chunk, as the API server does."""

    def __init__(self) -> None:
        self.chunks: dict[tuple[str, int], bytes] = {}
        self.calls = 0
        self.before: Callable[[LogChunk], None] = lambda chunk: None
        self.after: Callable[[LogChunk], None] = lambda chunk: None

    def take(self, chunk: LogChunk) -> None:
        self.calls += 1
        self.before(chunk)
        self.chunks.setdefault((chunk.stream, chunk.sequence), zlib.decompress(base64.b64decode(chunk.data)))
        self.after(chunk)

    def text(self, stream: Stream) -> bytes:
        numbers = sorted(number for name, number in self.chunks if name == stream)
        assert numbers == list(range(len(numbers)))
        return b"".join(self.chunks[stream, number] for number in numbers)


@pytest.fixture
def server() -> Server:
    return Server()


def make_sink(sender: ChunkSender | None = None, limit: int = 1 << 20) -> tuple[OutputSink, RecordingLog]:
    log = RecordingLog()
    return OutputSink(sender, limit=limit, loggers={"stdout": log, "stderr": log}), log


@given(text=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=6))
@settings(max_examples=60, deadline=None)
def test_lines_do_not_depend_on_how_bytes_arrive(text: bytes, cuts: list[int]) -> None:
    sink, log = make_sink()
    places = [0, *sorted(cuts), len(text)]
    for start, end in itertools.pairwise(places):
        sink.write("stdout", text[start:end])
    sink.close(0)
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    assert log.lines["info"] == [
        "[stdout] " + line.decode("utf-8", "backslashreplace").rstrip("\r") for line in lines
    ]


def test_streams_are_told_apart() -> None:
    sink, log = make_sink()
    sink.write("stdout", b"a")
    sink.write("stderr", b"b\n")
    sink.write("stdout", b"c\n")
    assert log.lines["info"] == ["[stderr] b", "[stdout] ac"]


def test_artifact_lines_are_found_wherever_they_pass() -> None:
    sink, _ = make_sink()
    sink.write("stderr", b"ARTIFACT:b:two\n")
    for piece in (b"ARTI", b"FACT:a:o", b"ne\nno ARTIFACT:x:y\n", b"ARTIFACT:c:\xff"):
        sink.write("stdout", piece)
    sink.write("stdout", b"\n" + b"x" * 70_000 + b"ARTIFACT:d:inside\n")
    sink.write("stdout", b"x" * 65_536 + b"ARTIFACT:e:rest of a long line\nARTIFACT:f:last")
    sink.close(0)
    assert sink.artifact_text.split("\n") == [
        "ARTIFACT:a:one",
        "ARTIFACT:c:\udcff",
        "ARTIFACT:f:last",
        "ARTIFACT:b:two",
    ]
    assert not sink.too_many_artifacts
    sink.write("stdout", b"\nARTIFACT:" + b"x" * 10_000 + b"\n")
    assert sink.too_many_artifacts


def test_the_task_log_is_bounded_and_artifacts_are_still_found() -> None:
    sink, log = make_sink(limit=1000)
    for _ in range(100):
        sink.write("stdout", b"0123456789" * 5 + b"\n")
    sink.write("stdout", b"ARTIFACT:a:b\n")
    assert len(log.lines["info"]) == 20
    assert log.lines["info"][-1] == "[stdout] [scale] Output above 1000 bytes is not logged."
    assert sink.artifact_text == "ARTIFACT:a:b"


def test_one_endless_line_takes_no_memory() -> None:
    sink, log = make_sink(limit=1000)
    tracemalloc.start()
    try:
        for _ in range(2000):
            sink.write("stdout", b"x" * 10_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20
    assert log.lines["info"]


def test_everything_is_sent_once_and_in_order(server: Server) -> None:
    sender = ChunkSender(server.take, limit=1 << 30)
    sink, _ = make_sink(sender)
    expected = {"stdout": bytearray(), "stderr": bytearray()}
    for number in range(3000):
        stream: Stream = "stderr" if number % 3 else "stdout"
        data = (f"{number} " * 100).encode() + b"\n"
        expected[stream] += data
        sink.write(stream, data)
    assert sink.close(10)
    for stream in ("stdout", "stderr"):
        assert server.text(stream) == expected[stream]  # type: ignore[arg-type]


def test_output_is_sent_while_more_is_awaited(server: Server) -> None:
    sender = ChunkSender(server.take, limit=1 << 20)
    sender.write("stdout", b"early")
    end = time.monotonic() + 5
    while ("stdout", 0) not in server.chunks:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert sender.close(5)


def test_a_server_that_is_away_loses_and_doubles_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sender, "_PAUSES", (0.01,))
    monkeypatch.setattr(log_sender, "_CHUNK", 1000)
    trouble = iter([None, 503, "answer lost", None, 429, "answer lost", None])

    def before(chunk: LogChunk) -> None:
        server.next = next(trouble, None)  # type: ignore[attr-defined]
        if server.next is None or server.next == "answer lost":  # type: ignore[attr-defined]
            return
        raise ScaleApiError("away", status=server.next)  # type: ignore[attr-defined]

    def after(chunk: LogChunk) -> None:
        if server.next == "answer lost":  # type: ignore[attr-defined]
            raise ScaleApiError("away", status=None)

    server.before, server.after = before, after
    sender = ChunkSender(server.take, limit=1 << 20)
    data = bytes(range(256)) * 40
    sender.write("stdout", data)
    assert sender.close(10)
    assert server.text("stdout") == data


def test_a_writer_waits_for_a_slow_server_and_not_for_one_that_refuses(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sender, "_WAITING", 10_000)
    hold = threading.Event()

    def wait(chunk: LogChunk) -> None:
        hold.wait(10)

    server.before = wait
    sender = ChunkSender(server.take, limit=1 << 30)
    written: list[int] = []

    def write() -> None:
        for number in range(10):
            sender.write("stdout", b"x" * 4000)
            written.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert len(written) <= 4

    def refuse(chunk: LogChunk) -> None:
        raise ScaleApiError("The execution is over.", status=401)

    server.before = refuse
    hold.set()
    thread.join(5)
    assert not thread.is_alive()
    assert not sender.close(1)


def test_closing_gives_up_in_time(server: Server) -> None:
    def away(chunk: LogChunk) -> None:
        raise ScaleApiError("away")

    server.before = away
    sender = ChunkSender(server.take, limit=1 << 20)
    sender.write("stdout", b"x")
    started = time.monotonic()
    assert not sender.close(0.2)
    assert time.monotonic() - started < 3


def test_what_is_above_the_limit_is_not_kept(server: Server) -> None:
    sender = ChunkSender(server.take, limit=10)
    for _ in range(5):
        sender.write("stderr", b"0123")
    assert sender.close(5)
    assert server.text("stderr") == b"0123012301\n[scale] Output above 10 bytes is not kept.\n"


@given(
    first=st.integers(0, 5000),
    lost=st.booleans(),
    limit=st.sampled_from([1000, 4000, 1 << 20]),
)
@settings(max_examples=30, deadline=None)
def test_another_worker_goes_on_where_the_first_one_died(
    tmp_path_factory: pytest.TempPathFactory, first: int, lost: bool, limit: int
) -> None:
    """The second worker sees the whole output again; the server gets each byte once."""
    notes = tmp_path_factory.mktemp("notes") / "worker.json"
    whole = bytes(number * 7 % 251 for number in range(5000))
    server = Server()
    dead = ScaleApiError("dead", status=401)
    if lost:
        # The chunk that is under way when the worker dies may or may not have arrived.
        def die(chunk: LogChunk) -> None:
            if chunk.sequence >= 1:
                raise dead

        server.after = die
    sender = ChunkSender(server.take, limit=limit, notes=notes)
    for at in range(0, first, 700):
        sender.write("stdout", whole[at : min(at + 700, first)])
    sender.close(5)
    server.after = lambda chunk: None
    second = ChunkSender(server.take, limit=limit, notes=notes)
    for at in range(0, 5000, 512):
        second.write("stdout", whole[at : at + 512])
    assert second.close(5)
    text = server.text("stdout")
    expected = whole[:limit]
    assert text.startswith(expected)
    assert text[len(expected) :] in (b"", f"\n[scale] Output above {limit} bytes is not kept.\n".encode())


def test_a_job_that_starts_anew_goes_on_numbering(server: Server, tmp_path: Path) -> None:
    notes = tmp_path / "worker.json"
    first = ChunkSender(server.take, limit=100, notes=notes)
    first.write("stdout", b"one ")
    assert first.close(5)
    second = ChunkSender(server.take, limit=100, notes=notes)
    second.begin_anew()
    second.write("stdout", b"two")
    assert second.close(5)
    assert server.text("stdout") == b"one two"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stdout": {"sequence": "x"}}', "null"])
def test_notes_that_cannot_be_read_are_none(server: Server, tmp_path: Path, content: Any) -> None:
    (tmp_path / "n.json").write_text(content)
    sender = ChunkSender(server.take, limit=100, notes=tmp_path / "n.json")
    sender.write("stdout", b"x")
    assert sender.close(5)
    assert server.text("stdout") == b"x"
