# SPDX-License-Identifier: Apache-2.0
"""Whatever a job has left can be measured and removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution import trees
from scale_airflow.execution.disk import DiskWatch
from scale_airflow.execution.staging import Scratch

MIB = 1 << 20


def nest(folder: Path, depth: int, name: str) -> None:
    """Make a chain of folders, deeper than any path can say."""
    fd = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        deeper = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)


@pytest.mark.parametrize(("depth", "name"), [(1500, "d"), (60, "d" * 255)])
def test_folders_however_deep(tmp_path: Path, depth: int, name: str) -> None:
    scratch = Scratch(tmp_path, 7)
    scratch.create()
    nest(scratch.output_data, depth, name)
    (scratch.output_data / "x").write_bytes(b"x" * MIB)
    used, complete = scratch.measure()
    assert used >= 1
    assert complete == (len(name) == 1)
    scratch.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_can_t_be_measured_is_no_way_around_the_limit(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, 7)
    scratch.create()
    nest(scratch.output_data, 60, "d" * 255)
    with pytest.raises(ExecutionFailure, match="nests folders so deep"):
        DiskWatch(scratch, 1.0, factor=0.0).settle()
    scratch.remove()


def test_links_are_removed_and_closed_folders_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    folder = tmp_path / "folder"
    for name in ("a/b/c", "a/d", "e"):
        (folder / name).mkdir(parents=True)
    (folder / "a/b/link").symlink_to(outside)
    (folder / "link").symlink_to(outside)
    os.mkfifo(folder / "a/d/pipe")
    (folder / "a/b/c").chmod(0)
    (folder / "a/b").chmod(0)
    (folder / "a").chmod(0o500)
    folder.chmod(0)
    trees.remove(folder)
    assert not folder.exists()
    assert (outside / "keep").exists()
    with pytest.raises(FileNotFoundError):
        trees.remove(folder)


def test_holes_and_what_vanishes_do_not_count(tmp_path: Path) -> None:
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "full").write_bytes(b"x" * (2 * MIB))
    used, complete = trees.used_bytes(tmp_path)
    assert 2 * MIB <= used < 3 * MIB
    assert complete
    assert trees.used_bytes(tmp_path / "none") == (0, True)
