# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile

import pytest

from scale_airflow.rescale.emulator.archives import is_archive, unpack


def _tar(path, mode, *members):
    with tarfile.open(path, mode) as archive:
        for name, content, changes in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in changes.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def work(tmp_path):
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


def test_archives_are_known_by_their_names():
    assert all(map(is_archive, ("a.zip", "A.ZIP", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz")))
    assert not any(map(is_archive, ("a.gz", "a.7z.001", "zip", "a.zip.txt")))


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz")])
def test_tar_archives(work, tmp_path, name, mode):
    link = {"type": tarfile.SYMTYPE, "linkname": "file"}
    hard = {"type": tarfile.LNKTYPE, "linkname": "d/file"}
    _tar(tmp_path / name, mode, ("d/file", b"1", {}), ("d/link", b"", link), ("d/hard", b"", hard))
    assert unpack(tmp_path / name, work) == []
    assert (work / "d/link").read_bytes() == b"1"
    assert (work / "d/hard").read_bytes() == b"1"
    assert os.access(work / "d/file", os.X_OK)


def test_nothing_leaves_the_directory(work, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    out = {"type": tarfile.SYMTYPE, "linkname": str(outside)}
    up = {"type": tarfile.SYMTYPE, "linkname": "../outside"}
    device = {"type": tarfile.CHRTYPE}
    members = [
        ("../a", b"x", {}),
        ("/b", b"x", {}),
        ("out", b"", out),
        ("out2", b"", up),
        ("null", b"", device),
        ("good", b"x", {}),
    ]
    _tar(tmp_path / "a.tar", "w", *members)
    notes = unpack(tmp_path / "a.tar", work)
    assert len(notes) == 5
    assert "left out '../a'" in notes[0]
    assert os.listdir(work) == ["good"]
    (work / "there").symlink_to(outside)
    _tar(tmp_path / "b.tar", "w", ("there/a", b"x", {}))
    assert len(unpack(tmp_path / "b.tar", work)) == 1
    assert os.listdir(outside) == []


def test_zip_archives_with_links_and_odd_names(work, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("d/", "")
        archive.writestr("d/file", "1")
        for name, aim in (("d/in", "file"), ("d/out", "../../x")):
            link = zipfile.ZipInfo(name)
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, aim)
        archive.writestr("../x", "1")
    assert len(unpack(tmp_path / "a.zip", work)) == 2
    assert (work / "d/in").read_text() == "1"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar"])
def test_a_damaged_archive_is_said_to_be_so(work, tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\3\4 rubbish" * 100)
    (note,) = unpack(tmp_path / name, work)
    assert note.startswith(f"{name} can't be unpacked: ")
