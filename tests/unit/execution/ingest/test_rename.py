# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.execution.ingest import rename
from scale_airflow.execution.ingest.rename import rename_without_replacing


@pytest.fixture(params=["in one step", "by links", "without links"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the file system can do."""
    if request.param != "in one step":

        def refused(*arguments: Any) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

        monkeypatch.setattr(rename, "_renameat2", lambda: refused)
    if request.param == "without links":

        def no_links(*arguments: Any, **keywords: Any) -> None:
            raise PermissionError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", no_links)
    return str(request.param)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def test_a_file_gets_its_new_name(kind: str, tmp_path: Path, fd: int) -> None:
    (tmp_path / "a").write_text("content")
    rename_without_replacing("a", fd, "b", fd)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_text() == "content"
    assert (tmp_path / "b").stat().st_nlink == 1


@pytest.mark.parametrize("there", ["file", "directory", "link to nowhere"])
def test_nothing_is_ever_replaced(kind: str, there: str, tmp_path: Path, fd: int) -> None:
    (tmp_path / "a").write_text("new")
    target = tmp_path / "b"
    if there == "file":
        target.write_text("old")
    elif there == "directory":
        target.mkdir()
    else:
        target.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        rename_without_replacing("a", fd, "b", fd)
    assert (tmp_path / "a").read_text() == "new"
    assert there != "file" or target.read_text() == "old"


def test_a_missing_source_is_said(kind: str, fd: int) -> None:
    with pytest.raises(FileNotFoundError):
        rename_without_replacing("a", fd, "b", fd)


def test_names_that_are_no_utf8_are_renamed_too(kind: str, tmp_path: Path, fd: int) -> None:
    raw = os.fsdecode(b"latin\xe4")
    (tmp_path / raw).write_text("content")
    rename_without_replacing(raw, fd, raw + "2", fd)
    assert os.listdir(tmp_path) == [raw + "2"]
