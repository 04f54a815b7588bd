# SPDX-License-Identifier: Apache-2.0
"""Downloads from a server that does what it likes: the file is right, or there is none and a clear error."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.rescale.transfers.file_server import Handler, Served, serving

from scale_airflow.errors import (
    CorruptTransfer,
    RescaleBadAnswer,
    RescaleNotFound,
    RescaleServerError,
    RescaleUnauthorized,
    RescaleUnreachable,
    TransferError,
    UnsafeName,
)
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.transfers import Downloaded, Downloader, Progress
from scale_airflow.rescale.transfers.landing import DiskFull
from scale_airflow.rescale.transfers.names import PARTS_FOLDER

POLICY = RequestPolicy(
    connect_timeout=5, read_timeout=0.5, tries=3, first_pause=0.01, pause_cap=0.02, longest_pause=5
)
BIG = random.Random(3).randbytes(5_000_000)
SMALL = b"a few bytes"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as made:
        yield made


def fetch(served: Served, files: list[RemoteFile], place: Path, **options: Any) -> list[Downloaded]:
    connections = options.pop("connections", 4)
    with Downloader(served.credentials, policy=POLICY, connections=connections) as downloader:
        return downloader.download(files, place, **options)


def names_in(place: Path) -> list[str]:
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


def test_files_of_all_sizes_arrive_in_order(served: Served, tmp_path: Path) -> None:
    files = [
        served.file("big", BIG),
        served.file("empty", b""),
        served.file("small", SMALL, relativePath="run/1/small.txt"),
    ]
    found = fetch(served, files, tmp_path)
    assert [each.path.read_bytes() for each in found] == [BIG, b"", SMALL]
    assert [each.sha512 for each in found] == [file.sha512 for file in files]
    assert not any(each.kept for each in found)
    assert names_in(tmp_path) == ["big", "empty", "run/1/small.txt"]
    assert served.connections <= 4
    # A small file is asked for as it is, an empty one not at all.
    assert served.ranges.count(None) == 1


def test_what_is_there_with_the_right_checksum_is_not_fetched(served: Served, tmp_path: Path) -> None:
    files = [served.file("big", BIG), served.file("small", SMALL)]
    fetch(served, files, tmp_path)
    served.ranges.clear()
    assert all(each.kept for each in fetch(served, files, tmp_path))
    assert served.ranges == []
    (tmp_path / "small").write_bytes(b"A few bytes")
    assert [each.kept for each in fetch(served, files, tmp_path)] == [True, False]
    assert (tmp_path / "small").read_bytes() == SMALL


def test_progress_is_told_and_ends_at_the_whole(served: Served, tmp_path: Path) -> None:
    told: list[Progress] = []
    fetch(served, [served.file("big", BIG), served.file("small", SMALL)], tmp_path, progress=told.append)
    total = len(BIG) + len(SMALL)
    assert (told[-1].total_done, told[-1].total, told[-1].files_done) == (total, total, 2)


def test_what_the_listener_raises_ends_it(served: Served, tmp_path: Path) -> None:
    def listener(progress: Progress) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        fetch(served, [served.file("big", BIG)], tmp_path, progress=listener)
    assert all(name.startswith(PARTS_FOLDER) for name in names_in(tmp_path))
    assert threading.active_count() < 20


def test_names_may_be_chosen_and_clashes_are_refused_first(served: Served, tmp_path: Path) -> None:
    files = [served.file(run, SMALL, relativePath="log") for run in ("one", "two")]
    with pytest.raises(UnsafeName, match="several files"):
        fetch(served, files, tmp_path)
    assert served.ranges == []
    fetch(served, files, tmp_path, names=lambda file: f"{file.id}/{file.relative_path}")
    assert names_in(tmp_path) == ["one/log", "two/log"]


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a\0b", f"{PARTS_FOLDER}/x"])
def test_no_file_leaves_the_directory(served: Served, tmp_path: Path, path: str) -> None:
    file = served.file("evil", SMALL, relativePath=path)
    with pytest.raises(UnsafeName):
        fetch(served, [file], tmp_path / "here")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("told", "verified"),
    [
        ({"fileChecksums": [], "md5": hashlib.md5(BIG).hexdigest()}, "md5"),
        ({"fileChecksums": None}, "size"),
    ],
)
def test_old_files_have_weaker_checksums_and_that_is_said(
    served: Served, tmp_path: Path, told: dict[str, Any], verified: str, caplog: pytest.LogCaptureFixture
) -> None:
    (found,) = fetch(served, [served.file("old", BIG, **told)], tmp_path)
    assert (found.verified, found.sha512) == (verified, hashlib.sha512(BIG).hexdigest())
    assert ("no checksum" in caplog.text) == (verified == "size")


def test_a_wrong_md5_is_found(served: Served, tmp_path: Path) -> None:
    file = served.file("old", BIG, fileChecksums=[], md5="0" * 32)
    with pytest.raises(CorruptTransfer, match="md5"):
        fetch(served, [file], tmp_path)


def test_a_server_without_ranges_gives_the_file_over_one_connection(served: Served, tmp_path: Path) -> None:
    def answer(handler: Handler, content: bytes) -> bool:
        handler.give(200, content)
        return True

    served.answer = answer
    (found,) = fetch(served, [served.file("big", BIG)], tmp_path)
    assert found.path.read_bytes() == BIG


def test_a_break_without_ranges_skips_what_is_there(served: Served, tmp_path: Path) -> None:
    cuts = iter([2_000_000, 3_500_000])

    def answer(handler: Handler, content: bytes) -> bool:
        handler.give(200, content, cut=next(cuts, None))
        return True

    served.answer = answer
    (found,) = fetch(served, [served.file("big", BIG)], tmp_path, connections=1)
    assert found.path.read_bytes() == BIG
    assert served.ranges[1] == f"bytes=2000000-{len(BIG) - 1}"


def test_a_broken_piece_goes_on_where_it_broke(served: Served, tmp_path: Path) -> None:
    broken: list[tuple[int, int]] = []

    def answer(handler: Handler, content: bytes) -> bool:
        asked = handler.asked(content)
        if asked is None or len(broken) >= 3 or asked[1] - asked[0] < 400_000:
            return False
        broken.append(asked)
        handler.give_range(content, cut=300_000)
        return True

    served.answer = answer
    (found,) = fetch(served, [served.file("big", BIG)], tmp_path)
    assert found.path.read_bytes() == BIG
    assert broken
    for start, _ in broken:
        assert any(
            told is not None and told.startswith(f"bytes={start + 300_000}-") for told in served.ranges
        )


@pytest.mark.parametrize("size", [len(SMALL), len(BIG)])
def test_a_server_that_stops_in_the_middle_is_left(served: Served, tmp_path: Path, size: int) -> None:
    content = BIG[:size]
    stalled = threading.Semaphore(1)
    release = threading.Event()

    def answer(handler: Handler, content: bytes) -> bool:
        if not stalled.acquire(blocking=False):
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        release.wait(20)
        handler.close_connection = True
        return True

    served.answer = answer
    (found,) = fetch(served, [served.file("file", content)], tmp_path)
    release.set()
    assert found.path.read_bytes() == content


@pytest.mark.parametrize(
    "told",
    [
        {"Content-Range": "bytes 1-2/5000000"},
        {"Content-Range": "bytes */5000000"},
        {"Content-Range": "garbage"},
        {},
    ],
)
def test_a_range_that_was_not_asked_for_is_not_believed(
    served: Served, tmp_path: Path, told: dict[str, str]
) -> None:
    def answer(handler: Handler, content: bytes) -> bool:
        handler.give(206, content[:3], **told)
        return True

    served.answer = answer
    with pytest.raises(RescaleBadAnswer, match=r"big.*Content-Range"):
        fetch(served, [served.file("big", BIG)], tmp_path)
    assert "big" not in names_in(tmp_path)


def test_metadata_that_do_not_fit_are_told(served: Served, tmp_path: Path) -> None:
    for size in (len(BIG) - 1, len(BIG) + 5_000_000):
        file = served.file("big", BIG, decryptedSize=size)
        with pytest.raises(TransferError, match="not what its metadata describe"):
            fetch(served, [file], tmp_path)
    file = served.file("small", SMALL, decryptedSize=3)
    with pytest.raises(RescaleBadAnswer, match="answered with 11 bytes, but the file's metadata tell 3"):
        fetch(served, [file], tmp_path)
    assert names_in(tmp_path) == []


def test_416_means_that_the_file_is_another(served: Served, tmp_path: Path) -> None:
    def answer(handler: Handler, content: bytes) -> bool:
        handler.give(416, b"")
        return True

    served.answer = answer
    with pytest.raises(TransferError, match="List the files anew"):
        fetch(served, [served.file("big", BIG)], tmp_path)


def test_what_the_listener_raises_at_once_leaves_the_file_free(served: Served, tmp_path: Path) -> None:
    file = served.file("big", BIG)

    def listener(progress: Progress) -> None:
        raise KeyError("enough")

    for _ in range(2):
        with pytest.raises(KeyError):
            fetch(served, [file], tmp_path, progress=listener)
    assert fetch(served, [file], tmp_path)[0].path.read_bytes() == BIG


def test_some_proxy_s_page_in_place_of_bytes_is_not_taken(served: Served, tmp_path: Path) -> None:
    pages = threading.Semaphore(1)

    def answer(handler: Handler, content: bytes) -> bool:
        if not pages.acquire(blocking=False):
            return False
        handler.give(200, b"<html>")
        return True

    served.answer = answer
    files = [served.file("big", BIG), served.file("small", SMALL)]
    assert [each.path.read_bytes() for each in fetch(served, files, tmp_path)] == [BIG, SMALL]


def test_a_file_that_changes_meanwhile_is_fetched_anew_once(served: Served, tmp_path: Path) -> None:
    file = served.file("big", BIG)
    served.contents["big"] = bytes(len(BIG))

    def answer(handler: Handler, content: bytes) -> bool:
        if len(served.ranges) == 4:
            served.etag, served.contents["big"] = '"two"', BIG
        return False

    served.answer = answer
    (found,) = fetch(served, [file], tmp_path, connections=2)
    assert found.path.read_bytes() == BIG


@pytest.mark.parametrize("size", [len(SMALL), len(BIG)])
def test_wrong_bytes_are_fetched_again_once_then_refused(served: Served, tmp_path: Path, size: int) -> None:
    content = BIG[:size]
    file = served.file("file", content)
    served.contents["file"] = bytes([content[0] ^ 1]) + content[1:]
    with pytest.raises(CorruptTransfer, match=r"file: its bytes came twice.*sha512") as caught:
        fetch(served, [file], tmp_path)
    assert caught.value.name == "file"
    assert names_in(tmp_path) == []
    asked = [told for told in served.ranges if told is None or told.startswith("bytes=0-")]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, RescaleUnauthorized),
        (403, RescaleUnauthorized),
        (404, RescaleNotFound),
        (500, RescaleServerError),
    ],
)
def test_refusals_name_the_file(served: Served, tmp_path: Path, status: int, error: type[Exception]) -> None:
    def answer(handler: Handler, content: bytes) -> bool:
        handler.give(status, b'{"detail": "Invalid token."}')
        return True

    served.answer = answer
    with pytest.raises(error, match=r"^big: .*Invalid token"):
        fetch(served, [served.file("big", BIG)], tmp_path)
    with pytest.raises(error) as caught:
        fetch(served, [served.file("small", SMALL)], tmp_path)
    assert "key-of-the-test" not in str(caught.value)
    assert [name for name in names_in(tmp_path) if not name.startswith(PARTS_FOLDER)] == []


def test_nobody_there_is_told(served: Served, tmp_path: Path) -> None:
    def answer(handler: Handler, content: bytes) -> bool:
        handler.cut()
        return True

    served.answer = answer
    with pytest.raises(RescaleUnreachable, match=r"^big: GET"):
        fetch(served, [served.file("big", BIG)], tmp_path)


def test_busy_servers_are_given_time_and_fewer_connections(served: Served, tmp_path: Path) -> None:
    refusals = iter([429, 503, 429])

    def answer(handler: Handler, content: bytes) -> bool:
        if (status := next(refusals, None)) is None:
            return False
        handler.give(status, b"", **{"Retry-After": "0"})
        return True

    served.answer = answer
    (found,) = fetch(served, [served.file("big", BIG)], tmp_path)
    assert found.path.read_bytes() == BIG


def test_more_bytes_than_asked_for_are_not_taken(served: Served, tmp_path: Path) -> None:
    def answer(handler: Handler, content: bytes) -> bool:
        first, last = handler.asked(content) or (0, len(content) - 1)
        told = f"bytes {first}-{last}/{len(content)}"
        handler.send_response(206)
        handler.send_header("Content-Range", told)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(content[first : last + 1] + b"more" * 1000)
        handler.close_connection = True
        return True

    served.answer = answer
    (found,) = fetch(served, [served.file("big", BIG)], tmp_path)
    assert found.path.read_bytes() == BIG


def test_a_redirect_to_a_store_is_followed_without_the_key(served: Served, tmp_path: Path) -> None:
    seen: list[str | None] = []
    with serving() as store:
        store.file("big", BIG)
        store.file("small", SMALL)

        def redirect(handler: Handler, content: bytes) -> bool:
            handler.give(302, b"", Location=f"{store.url}{handler.path}")
            return True

        def note(handler: Handler, content: bytes) -> bool:
            seen.append(handler.headers.get("Authorization"))
            return False

        served.answer, store.answer = redirect, note
        files = [served.file("big", BIG), served.file("small", SMALL)]
        found = fetch(served, files, tmp_path)
    assert [each.path.read_bytes() for each in found] == [BIG, SMALL]
    assert set(seen) == {None}


@pytest.mark.parametrize("told", [{"isDeleted": True}, {"isUploaded": False}])
def test_files_that_are_not_there_are_told_before(
    served: Served, tmp_path: Path, told: dict[str, Any]
) -> None:
    with pytest.raises(TransferError, match=r"deleted|not yet uploaded"):
        fetch(served, [served.file("big", BIG, **told)], tmp_path)
    assert served.ranges == []


def test_what_an_attempt_has_left_is_used_by_the_next(served: Served, tmp_path: Path) -> None:
    file = served.file("big", BIG)

    def answer(handler: Handler, content: bytes) -> bool:
        if sum(map(bool, served.ranges)) <= 2:
            return False
        handler.give(401, b"")
        return True

    served.answer = answer
    with pytest.raises(RescaleUnauthorized):
        fetch(served, [file], tmp_path, connections=1)
    left = [told for told in served.ranges if told is not None][:2]
    assert (tmp_path / PARTS_FOLDER / "big.part").exists()
    served.answer = lambda handler, content: False
    served.ranges.clear()
    (found,) = fetch(served, [file], tmp_path)
    assert found.path.read_bytes() == BIG
    assert not set(left) & set(served.ranges)
    assert not (tmp_path / PARTS_FOLDER).exists()


def test_an_unfinished_file_that_somebody_has_spoilt_is_found_out(served: Served, tmp_path: Path) -> None:
    file = served.file("big", BIG)

    def answer(handler: Handler, content: bytes) -> bool:
        if sum(map(bool, served.ranges)) <= 2:
            return False
        handler.give(401, b"")
        return True

    served.answer = answer
    with pytest.raises(RescaleUnauthorized):
        fetch(served, [file], tmp_path, connections=1)
    with (tmp_path / PARTS_FOLDER / "big.part").open("r+b") as part:
        part.write(b"spoilt")
    served.answer = lambda handler, content: False
    (found,) = fetch(served, [file], tmp_path)
    assert found.path.read_bytes() == BIG


def test_two_downloads_of_one_file_do_not_mix(served: Served, tmp_path: Path) -> None:
    file = served.file("big", BIG)
    begun, go_on = threading.Event(), threading.Event()

    def answer(handler: Handler, content: bytes) -> bool:
        begun.set()
        return not go_on.wait(20)

    served.answer = answer
    first = threading.Thread(target=fetch, args=(served, [file], tmp_path))
    first.start()
    assert begun.wait(20)
    try:
        with pytest.raises(TransferError, match="somebody else"):
            fetch(served, [file], tmp_path)
    finally:
        go_on.set()
        first.join()
    assert (tmp_path / "big").read_bytes() == BIG


def test_a_small_file_that_can_not_be_stored_leaves_nothing(served: Served, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    with pytest.raises(TransferError, match=r"'small' can't be stored.*directory"):
        fetch(served, [served.file("small", SMALL)], tmp_path)
    assert names_in(tmp_path) == []
    assert os.listdir(tmp_path) == ["small"]


@pytest.mark.mounts
def test_a_full_disk_is_told_and_nothing_is_left(served: Served, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "scale-test", place], check=True)
    try:
        with pytest.raises(DiskFull, match=r"big can't be stored: there is no room in"):
            fetch(served, [served.file("big", BIG)], place)
        assert served.ranges == []
        small = [served.file(f"small-{number}", BIG[:900_000]) for number in range(4)]
        with pytest.raises(DiskFull, match="small-"):
            fetch(served, small, place)
        # What is whole stays, what is not is gone.
        assert all((place / name).read_bytes() == BIG[:900_000] for name in names_in(place))
        assert PARTS_FOLDER not in os.listdir(place)
    finally:
        subprocess.run(["umount", place], check=True)
