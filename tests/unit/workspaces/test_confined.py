# SPDX-License-Identifier: Apache-2.0
"""Nothing outside a confined directory is reached, whatever the path or the links in it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from scale_airflow.errors import WorkspaceError
from scale_airflow.workspaces.confined import ConfinedDirectory, MissingPath, UnsafePath, split


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "/etc/passwd",
        "..",
        "a/../../b",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "x" * 256,
        "é" * 128,
        "bad\udcff",
    ],
)
def test_paths_that_name_no_file_below_are_refused(path: str) -> None:
    with pytest.raises(UnsafePath):
        split(path)


def test_dots_and_double_slashes_are_nothing() -> None:
    assert split("./a//b/./c") == ("a", "b", "c")


def test_reads_a_file_through_directories(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c d").write_bytes(b"x")
    with ConfinedDirectory(tmp_path) as directory, os.fdopen(directory.open_file("a/b/c d"), "rb") as file:
        assert file.read() == b"x"


@pytest.mark.parametrize("path", ["link", "dirlink/secret", "sub/up/secret"])
def test_links_are_refused_as_file_and_on_the_way(tmp_path: Path, path: str) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("s")
    (inside / "link").symlink_to(outside / "secret")
    (inside / "dirlink").symlink_to(outside)
    (inside / "sub" / "up").symlink_to("../../outside")
    with ConfinedDirectory(inside) as directory, pytest.raises(UnsafePath):
        directory.open_file(path)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dir").mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    with ConfinedDirectory(tmp_path) as directory:
        for name in ("pipe", "dir", "socket"):
            with pytest.raises(UnsafePath):
                directory.open_file(name)
        with pytest.raises(UnsafePath, match=r"runs through"):
            directory.open_file("pipe/x")
    server.close()


def test_missing_things_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingPath, match="does not exist"), ConfinedDirectory(tmp_path / "none"):
        pass
    with ConfinedDirectory(tmp_path) as directory:
        with pytest.raises(MissingPath):
            directory.open_file("none")
        with pytest.raises(MissingPath):
            directory.open_file("none/none")
        with pytest.raises(WorkspaceError):
            directory.open_file("x" * 250 + "/y")


def test_creates_the_way_and_stays_inside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "evil").symlink_to(outside)
    with ConfinedDirectory(root) as directory:
        with directory.parent("a/b/c", create=True) as (fd, name):
            assert name == "c"
            assert os.path.samestat(os.fstat(fd), (root / "a" / "b").stat())
        with pytest.raises(UnsafePath), directory.parent("evil/b/c", create=True):
            pass
    assert list(outside.iterdir()) == []


def test_descriptors_are_closed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with ConfinedDirectory(tmp_path) as directory:
            for path in ("a/none", "a", "none/x"):
                with pytest.raises(WorkspaceError):
                    directory.open_file(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_device_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # To open one can be an act: a watchdog starts, a tape winds back. A pipe stands for it.
    os.mkfifo(tmp_path / "pipe")
    opened: list[int] = []
    real = os.open

    def watched(path: object, flags: int, *rest: object, **named: object) -> int:
        opened.append(flags)
        return real(path, flags, *rest, **named)  # type: ignore[arg-type]

    with ConfinedDirectory(tmp_path) as directory:
        monkeypatch.setattr(os, "open", watched)
        with pytest.raises(UnsafePath, match="a pipe, not a regular"):
            directory.open_file("pipe")
    assert opened
    assert all(flags & os.O_PATH for flags in opened)


def test_a_directory_that_was_replaced_by_a_link_is_not_entered(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "here").symlink_to(outside)
    with ConfinedDirectory(tmp_path / "here"):
        pass
    with pytest.raises(UnsafePath, match="a link"):
        ConfinedDirectory(tmp_path / "here", follow=False)
    with pytest.raises(MissingPath):
        ConfinedDirectory(tmp_path / "none", follow=False)
    with ConfinedDirectory(outside, follow=False):
        pass
