# SPDX-License-Identifier: Apache-2.0
"""Where files land: nothing half, nothing outside, nothing that two write at once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scale_airflow.errors import TransferError, UnsafeName
from scale_airflow.rescale.transfers.landing import DiskFull, Landing
from scale_airflow.rescale.transfers.names import PARTS_FOLDER


@pytest.fixture
def landing(tmp_path: Path) -> Iterator[Landing]:
    with Landing(tmp_path / "here") as made:
        yield made


def put(landing: Landing, relative: str, file_id: str = "id", content: bytes = b"x") -> Path:
    part = landing.open_part(file_id, journal=False)
    try:
        os.pwrite(part.fd, content, 0)
        return landing.place(part, relative)
    finally:
        part.close()


def test_a_whole_file_gets_its_name_and_nothing_else_is_left(tmp_path: Path) -> None:
    with Landing(tmp_path / "new" / "here") as landing:
        path = put(landing, "a/b/c.txt", content=b"whole")
        landing.settle()
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in (tmp_path / "new" / "here").iterdir()] == ["a"]


def test_a_link_on_the_way_leads_nowhere(landing: Landing, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (landing.directory / "a").symlink_to(outside)
    with pytest.raises(UnsafeName, match="link"):
        put(landing, "a/x")
    with pytest.raises(UnsafeName), landing.existing("a/x"):
        pass
    assert list(outside.iterdir()) == []


def test_a_link_with_the_file_s_name_is_replaced_not_followed(landing: Landing, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    (landing.directory / "a").symlink_to(outside)
    with landing.existing("a") as fd:
        assert fd is None
    assert put(landing, "a").read_bytes() == b"x"
    assert outside.read_text() == "theirs"


def test_a_directory_of_that_name_is_told(landing: Landing) -> None:
    (landing.directory / "a").mkdir()
    with pytest.raises(TransferError, match="a can't be stored"):
        put(landing, "a")


@pytest.mark.parametrize("journal", [True, False])
def test_only_one_has_an_unfinished_file(landing: Landing, journal: bool) -> None:
    held = landing.open_part("id", journal=journal)
    with pytest.raises(TransferError, match="somebody else"), Landing(landing.directory) as other:
        other.open_part("id", journal=journal)
    held.close()
    again = landing.open_part("id", journal=journal)
    landing.discard(again)
    again.close()


def test_an_unfinished_file_stays_for_later(tmp_path: Path) -> None:
    with Landing(tmp_path) as landing:
        part = landing.open_part("id", journal=True)
        landing.allocate(part, "name", 1000)
        part.close()
    assert (tmp_path / PARTS_FOLDER / "id.part").stat().st_size == 1000
    with Landing(tmp_path) as landing:
        part = landing.open_part("id", journal=True)
        landing.discard(part)
        part.close()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_unfinished_files_is_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    here = tmp_path / "here"
    here.mkdir()
    (here / PARTS_FOLDER).symlink_to(outside)
    with pytest.raises(TransferError, match="can't be stored"):
        Landing(here)


def test_a_place_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransferError, match="can't be stored in"):
        Landing(tmp_path / "file" / "below")


@pytest.mark.mounts
def test_a_full_disk_shows_before_anything_is_fetched(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "scale-test", place], check=True)
    try:
        with Landing(place) as landing:
            part = landing.open_part("id", journal=True)
            with pytest.raises(
                DiskFull, match=r"big\.bin can't be stored: there is no room in .* bytes are free"
            ):
                landing.allocate(part, "big.bin", 2 << 20)
            landing.discard(part)
            part.close()
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_download_that_ends_takes_nothing_from_one_that_goes_on(tmp_path: Path) -> None:
    with Landing(tmp_path) as one:
        with Landing(tmp_path) as other:
            part = other.open_part("a", journal=False)
            other.place(part, "a")
            part.close()
        late = one.open_part("b", journal=True)
        one.place(late, "b")
        late.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]
