# SPDX-License-Identifier: Apache-2.0
"""What is sent: files as they are, directories as archives that are always the same."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from scale_airflow.errors import TransferError, UnsafeName
from scale_airflow.rescale.transfers.sources import FileSource, HeldSource, remote_name, zip_directory


def test_a_file_is_given_whole_and_in_slices(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = os.urandom(700_001)
    path.write_bytes(content)
    source = FileSource(path, "name")
    assert b"".join(map(bytes, source.blocks())) == content
    slices = list(source.slices(300_000))
    assert b"".join(slices) == content
    assert [len(each) for each in slices] == [300_000, 300_000, 100_001]
    source.check()


@pytest.mark.parametrize("change", ["cut", "longer", "replaced", "gone"])
def test_a_file_that_changes_is_told(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(600_000))
    source = FileSource(path, "name")
    if change == "cut":
        os.truncate(path, 300_000)
        with pytest.raises(TransferError, match="changed while it was sent"):
            list(source.blocks())
    elif change == "longer":
        path.write_bytes(bytes(600_001))
    elif change == "replaced":
        (tmp_path / "other").write_bytes(bytes(600_000))
        (tmp_path / "other").replace(path)
    else:
        path.unlink()
        with pytest.raises(TransferError, match="can't be read"):
            list(source.blocks())
    with pytest.raises(TransferError):
        source.check()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="can't be sent: No such file"):
        FileSource(tmp_path / "none", "none")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TransferError, match="no regular file"):
        FileSource(tmp_path / "pipe", "pipe")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "a\nb", "x" * 256])
def test_no_directory_or_control_character_is_a_name(name: str) -> None:
    with pytest.raises(UnsafeName):
        remote_name(name)
    assert remote_name("it's ü.dat") == "it's ü.dat"


def make(folder: Path) -> None:
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("a" * 1000)
    (folder / "run.sh").write_text("echo")
    (folder / "run.sh").chmod(0o700)


def archived(folder: Path) -> bytes:
    target = io.BytesIO()
    zip_directory(folder, target)
    return target.getvalue()


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two")
    os.utime(tmp_path / "two" / "run.sh", (1, 1))
    assert archived(tmp_path / "one") == archived(tmp_path / "two")
    with zipfile.ZipFile(io.BytesIO(archived(tmp_path / "one"))) as archive:
        assert sorted(archive.namelist()) == ["run.sh", "sub/", "sub/a.txt", "sub/empty/"]
        assert archive.getinfo("run.sh").external_attr >> 16 & 0o777 == 0o755
        assert archive.getinfo("sub/a.txt").external_attr >> 16 & 0o777 == 0o644
        assert archive.testzip() is None


def test_links_are_named_not_sent(tmp_path: Path) -> None:
    make(tmp_path / "one")
    (tmp_path / "one" / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "one" / "sub" / "pipe")
    with pytest.raises(TransferError, match="'link', 'sub/pipe' are links or no regular files"):
        archived(tmp_path / "one")


def test_what_is_held_can_be_given_again() -> None:
    source = HeldSource(io.BytesIO(b"held"), "name")
    assert source.size == 4
    assert [b"".join(map(bytes, source.blocks())) for _ in range(2)] == [b"held", b"held"]
    source.check()
    source.close()
