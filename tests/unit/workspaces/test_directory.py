# SPDX-License-Identifier: Apache-2.0
"""Files of directory workspaces are whole or absent, never overwritten, and stored twice without harm."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_airflow.errors import WorkspaceError
from scale_airflow.workspaces import directory as directory_module
from scale_airflow.workspaces.broker import ContentChanged, PathTaken, StoredFile, Transfer
from scale_airflow.workspaces.confined import MissingPath, UnsafePath
from scale_airflow.workspaces.directory import DirectoryBroker


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "workspace"
    made.mkdir()
    return made


@pytest.fixture
def broker(root: Path) -> DirectoryBroker:
    return DirectoryBroker(root)


def _file(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(directory_module.os, "link", refuse)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("how", ["copy", "link"])
def test_stores_with_size_and_checksum(
    broker: DirectoryBroker,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: Transfer,
    links: bool,
) -> None:
    if not links:
        _without_links(monkeypatch)
    source = _file(tmp_path / "out.tif", b"abc")
    stored = broker.store(source, "jobs/a b/out.tif", how=how)
    assert stored == StoredFile("jobs/a b/out.tif", 3, hashlib.sha256(b"abc").hexdigest())
    assert (root / "jobs/a b/out.tif").read_bytes() == b"abc"
    assert source.read_bytes() == b"abc"
    assert [entry.name for entry in (root / "jobs/a b").iterdir()] == ["out.tif"]
    assert (root / "jobs/a b/out.tif").stat().st_mode & 0o777 == 0o644


def test_a_copy_is_independent_of_its_source(broker: DirectoryBroker, root: Path, tmp_path: Path) -> None:
    source = _file(tmp_path / "a", b"abc")
    broker.store(source, "a", how="copy")
    source.write_bytes(b"xyz")
    assert (root / "a").read_bytes() == b"abc"


def test_a_file_with_a_second_name_is_copied(broker: DirectoryBroker, root: Path, tmp_path: Path) -> None:
    source = _file(tmp_path / "a", b"abc")
    os.link(source, tmp_path / "second")
    broker.store(source, "a", how="link")
    (tmp_path / "second").write_bytes(b"xyz")
    assert (root / "a").read_bytes() == b"abc"


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="/dev/shm is the other file system")
def test_stores_across_file_systems(broker: DirectoryBroker, root: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        source = _file(Path(other) / "a", b"abc")
        assert source.stat().st_dev != root.stat().st_dev
        assert broker.store(source, "a", how="link").file_size == 3
    assert (root / "a").read_bytes() == b"abc"


@pytest.mark.parametrize("links", [True, False])
def test_storing_again_changes_nothing_and_other_content_is_refused(
    broker: DirectoryBroker, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        _without_links(monkeypatch)
    first = broker.store(_file(tmp_path / "a", b"abc"), "x/a")
    assert broker.store(_file(tmp_path / "a", b"abc"), "x/a") == first
    for other in (b"abd", b"longer"):
        with pytest.raises(PathTaken):
            broker.store(_file(tmp_path / "a", other), "x/a")
        assert (tmp_path / "a").read_bytes() == other
    (root / "x" / "dir").mkdir()
    with pytest.raises(PathTaken, match="a directory"):
        broker.store(tmp_path / "a", "x/dir")
    assert (root / "x" / "a").read_bytes() == b"abc"


def test_what_a_crash_left_is_taken_over_and_what_is_in_use_is_not(
    broker: DirectoryBroker, root: Path, tmp_path: Path
) -> None:
    temporary = root / f".{hashlib.sha256(b'a').hexdigest()[:16]}.part"
    temporary.write_bytes(b"half of something longer than the file")
    broker.store(_file(tmp_path / "a", b"abc"), "a", how="copy")
    assert (root / "a").read_bytes() == b"abc"
    assert not temporary.exists()
    (root / "a").unlink()
    with temporary.open("wb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        broker.store(tmp_path / "a", "a", how="copy")
        assert temporary.exists()
    assert sorted(entry.name for entry in root.iterdir()) == sorted([temporary.name, "a"])


def test_a_sparse_file_stays_sparse(broker: DirectoryBroker, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"x")
    stored = broker.store(source, "sparse", how="copy")
    copied = (root / "sparse").stat()
    assert stored.file_size == copied.st_size == 64 << 20
    assert copied.st_blocks * 512 < 4 << 20


def test_sources_that_are_no_regular_files_are_refused(broker: DirectoryBroker, tmp_path: Path) -> None:
    _file(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(UnsafePath):
            broker.store(tmp_path / name, "a")
    with pytest.raises(MissingPath):
        broker.store(tmp_path / "none", "a")


def test_never_stores_through_a_link(broker: DirectoryBroker, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "evil").symlink_to(outside)
    with pytest.raises(UnsafePath):
        broker.store(_file(tmp_path / "a"), "evil/a")
    with pytest.raises(UnsafePath):
        broker.store(tmp_path / "a", "../outside/a")
    assert list(outside.iterdir()) == []


def test_local_path_open_exists_delete(broker: DirectoryBroker, root: Path, tmp_path: Path) -> None:
    _file(root / "d" / "f", b"abc")
    assert broker.local_path("d/f") == root / "d" / "f"
    with broker.open("d/f") as file:
        assert file.read() == b"abc"
    assert broker.exists("d/f")
    assert not broker.exists("d/none")
    with pytest.raises(MissingPath):
        broker.local_path("d/none")
    (root / "link").symlink_to(_file(tmp_path / "secret"))
    with pytest.raises(UnsafePath):
        broker.local_path("link")
    assert broker.delete("d/f")
    assert not broker.delete("d/f")
    assert not broker.delete("none/f")


def test_a_fault_of_the_file_system_names_the_file(
    broker: DirectoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: int, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(directory_module.os, "write", full)
    with pytest.raises(WorkspaceError, match=r"'x/a'.*No space left"):
        broker.store(_file(tmp_path / "a"), "x/a", how="copy")
    assert list((broker.root / "x").iterdir()) == []


@settings(deadline=None)
@given(content=st.binary(max_size=4096), how=st.sampled_from(["copy", "link"]))
def test_any_content_arrives(content: bytes, how: Transfer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "w"
        root.mkdir()
        stored = DirectoryBroker(root).store(_file(Path(folder) / "s", content), "a/b", how=how)
        assert (root / "a/b").read_bytes() == content
        assert stored.checksum == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_is_complete_and_may_be_given_again(
    broker: DirectoryBroker, root: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    _file(root / "old" / "a", b"abc")
    if not links:
        _without_links(monkeypatch)
    for _ in range(2):
        broker.add_name("old/a", "new/deep/a", checksum=hashlib.sha256(b"abc").hexdigest())
        assert (root / "new/deep/a").read_bytes() == b"abc"
    assert (root / "old/a").samefile(root / "new/deep/a") == links
    assert sorted(os.listdir(root / "new" / "deep")) == ["a"]
    for removed in (True, False):
        assert broker.drop_name("old/a", "new/deep/a") is removed
    assert not (root / "old/a").exists()
    assert (root / "new/deep/a").read_bytes() == b"abc"


def test_a_second_name_never_hides_another_file(broker: DirectoryBroker, root: Path) -> None:
    _file(root / "a", b"abc")
    _file(root / "taken", b"abd")
    with pytest.raises(PathTaken):
        broker.add_name("a", "taken")
    assert (root / "taken").read_bytes() == b"abd"
    with pytest.raises(MissingPath):
        broker.add_name("gone", "b")
    with pytest.raises(UnsafePath):
        broker.add_name("a", "../b")


def test_the_last_name_of_a_file_stays_and_so_does_another_file(broker: DirectoryBroker, root: Path) -> None:
    _file(root / "a", b"abc")
    _file(root / "other", b"abd")
    with pytest.raises(MissingPath):
        broker.drop_name("a", "gone")
    with pytest.raises(PathTaken):
        broker.drop_name("a", "./a")
    with pytest.raises(PathTaken):
        broker.drop_name("other", "a")
    assert sorted(os.listdir(root)) == ["a", "other"]


def test_a_copy_of_what_has_changed_is_not_shown(
    broker: DirectoryBroker, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_links(monkeypatch)
    before = hashlib.sha256(b"before").hexdigest()
    for how in ("copy", "link"):
        with pytest.raises(ContentChanged):
            broker.store(_file(tmp_path / "a", b"after!"), "x/a", how=how, checksum=before)
    _file(root / "a", b"after!")
    with pytest.raises(ContentChanged):
        broker.add_name("a", "x/b", checksum=before)
    assert os.listdir(root / "x") == []


def test_a_half_copy_goes_with_the_name_that_it_was_for(broker: DirectoryBroker, root: Path) -> None:
    _file(root / "a", b"abc")
    half = _file(root / "x" / f".{hashlib.sha256(b'b').hexdigest()[:16]}.part", b"ab")
    assert broker.drop_name("x/b", "a") is False
    assert not half.exists()


def test_sweeping_takes_what_is_chosen_and_what_is_empty(
    broker: DirectoryBroker, root: Path, tmp_path: Path
) -> None:
    for name in ("keep", "sub/keep", "go", "sub/go", "deep/er/go", ".half.part"):
        _file(root / "exe_7" / name)
    outside = _file(tmp_path / "outside" / "go")
    (root / "exe_7" / "link").symlink_to(outside.parent)
    os.mkfifo(root / "exe_7" / "pipe")
    _file(root / "exe_77" / "go")
    seen: list[str] = []

    def choose(paths: Sequence[str]) -> list[str]:
        seen.extend(paths)
        return [*(path for path in paths if not path.endswith("keep")), "exe_77/go", "../outside/go"]

    assert broker.sweep("exe_7", choose) == 6
    assert "exe_7/link" in seen
    left = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert left == ["exe_7/keep", "exe_7/sub/keep", "exe_77/go"]
    assert not (root / "exe_7" / "deep").exists()
    assert outside.exists()
    assert broker.sweep("exe_7", lambda paths: paths) == 2
    assert not (root / "exe_7").exists()
    assert broker.sweep("exe_7", lambda paths: paths) == 0
    (root / "exe_8").symlink_to(outside.parent)
    with pytest.raises(UnsafePath):
        broker.sweep("exe_8", lambda paths: paths)
    assert outside.exists()


def test_sweeping_a_large_and_deep_folder(broker: DirectoryBroker, root: Path) -> None:
    for number in range(700):
        _file(root / "exe" / f"{number}")
    folder = "exe" + "/d" * 60
    _file(root / folder / "x")
    asked: list[int] = []

    def choose(paths: Sequence[str]) -> Sequence[str]:
        asked.append(len(paths))
        return paths

    assert broker.sweep("exe", choose) == 701
    assert max(asked) <= 500
    assert os.listdir(root) == []
