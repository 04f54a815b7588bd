# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scale_airflow.errors import WorkspaceError
from scale_airflow.execution.ingest import directory as module
from scale_airflow.execution.ingest.batch import clear
from scale_airflow.execution.ingest.directory import StrikeDirectory
from scale_airflow.execution.ingest.messages import ClearOrder, ListedFile, MoveOrder


@pytest.fixture
def strike(tmp_path: Path) -> Iterator[StrikeDirectory]:
    (tmp_path / "in").mkdir()
    with StrikeDirectory(tmp_path / "in") as opened:
        yield opened


def drop(strike: StrikeDirectory, name: str, text: str = "content", age: int = 0) -> ListedFile:
    path = strike.path / name
    path.write_text(text)
    os.utime(path, ns=(10**18 - age, 10**18 - age))
    found = strike.find(name)
    assert found is not None
    return found


def order(file: ListedFile, destination: str | None = None) -> MoveOrder:
    return MoveOrder(7, file.name, destination or f"ingesting/{file.name}", file.identity)


def test_it_makes_its_sub_directories_and_can_be_opened_again(strike: StrikeDirectory) -> None:
    assert sorted(os.listdir(strike.path)) == ["deferred", "duplicate", "ingesting"]
    with StrikeDirectory(strike.path):
        pass


def test_it_lists_regular_files_the_oldest_first(strike: StrikeDirectory) -> None:
    drop(strike, "young")
    drop(strike, "old", age=5)
    drop(strike, ".nfs0000beef")
    drop(strike, ".hidden", age=2)
    (strike.path / "link").symlink_to(strike.path / "old")
    os.mkfifo(strike.path / "pipe")
    (strike.path / "folder").mkdir()
    assert [file.name for file in strike.files()] == ["old", ".hidden", "young"]


def test_a_hostile_name_is_listed_safely_and_moved(strike: StrikeDirectory) -> None:
    raw = os.fsdecode(b"evil\n\xff")
    (strike.path / raw).write_text("content")
    (file,) = strike.files()
    assert file.name == "evil\ufffd0A\ufffdFF"
    assert file.problem is not None
    assert strike.move(order(file, f"deferred/{file.name}")).outcome == "moved"
    assert os.listdir(strike.path / "deferred") == [raw]


def test_a_move_can_be_repeated(strike: StrikeDirectory) -> None:
    file = drop(strike, "x")
    first, again = strike.move(order(file)), strike.move(order(file))
    assert first.outcome == again.outcome == "moved"
    assert first.file == again.file is not None
    assert strike.files() == []
    assert strike.kept() == ["x"]


def test_a_move_leaves_what_lies_at_its_destination(strike: StrikeDirectory) -> None:
    file = drop(strike, "x", "mine")
    (strike.path / "ingesting" / "x").write_text("somebody else's")
    assert strike.move(order(file)).outcome == "taken"
    assert (strike.path / "x").read_text() == "mine"
    assert (strike.path / "ingesting" / "x").read_text() == "somebody else's"


def test_the_next_file_of_a_name_is_not_taken_for_one_that_moved_already(strike: StrikeDirectory) -> None:
    first = drop(strike, "x", "first")
    strike.move(order(first))
    drop(strike, "x", "the second one")
    assert strike.move(order(first)).outcome == "moved"
    assert (strike.path / "x").read_text() == "the second one"
    assert (strike.path / "ingesting" / "x").read_text() == "first"


def test_a_rename_by_links_that_was_interrupted_is_completed(strike: StrikeDirectory) -> None:
    file = drop(strike, "x")
    os.link(strike.path / "x", strike.path / "ingesting" / "x")
    assert strike.move(order(file)).outcome == "moved"
    assert strike.files() == []
    assert (strike.path / "ingesting" / "x").read_text() == "content"


def test_a_file_that_is_gone_or_became_something_else_has_vanished(strike: StrikeDirectory) -> None:
    file = drop(strike, "x")
    (strike.path / "x").unlink()
    assert strike.move(order(file)).outcome == "vanished"
    (strike.path / "x").symlink_to("/etc/passwd")
    assert strike.move(order(file)).outcome == "vanished"
    assert strike.kept() == []


def test_what_the_system_refuses_is_said(strike: StrikeDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    file = drop(strike, "x")

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(module, "rename_without_replacing", refuse)
    result = strike.move(order(file))
    assert (result.outcome, result.message) == (
        "failed",
        "It can't be moved to ingesting/x: Read-only file system.",
    )


def test_only_the_file_that_is_meant_is_removed(strike: StrikeDirectory) -> None:
    old = drop(strike, "x", "old")
    strike.move(order(old))
    (strike.path / "ingesting" / "x").write_text("something newer")
    strike.remove("ingesting/x", old.identity)
    assert strike.kept() == ["x"]
    found = strike.find("ingesting/x")
    assert found is not None
    strike.remove("ingesting/x", found.identity)
    strike.remove("ingesting/x", found.identity)
    assert strike.kept() == []


def test_a_duplicate_is_moved_aside_once_however_often_it_is_asked(strike: StrikeDirectory) -> None:
    drop(strike, "duplicate/x", "an earlier duplicate")
    file = drop(strike, "ingesting/x")
    request = ClearOrder(12, "x", "ingesting/x", file.identity, True)
    assert clear(strike, request).path == "duplicate/12.x"
    assert clear(strike, request).path == "duplicate/12.x"
    assert sorted(os.listdir(strike.path / "duplicate")) == ["12.x", "x"]
    assert (strike.path / "duplicate" / "x").read_text() == "an earlier duplicate"


def test_what_nobody_knows_goes_back_if_its_name_is_free(strike: StrikeDirectory) -> None:
    drop(strike, "ingesting/x")
    drop(strike, "x", "newer")
    assert not strike.give_back("x")
    (strike.path / "x").unlink()
    assert strike.give_back("x")
    assert [file.name for file in strike.files()] == ["x"]


@pytest.mark.parametrize(
    "path", ["../x", "ingesting/../x", "/etc/passwd", "other/x", "ingesting/", "a/b/c", ""]
)
def test_no_path_leaves_the_directory(strike: StrikeDirectory, path: str) -> None:
    with pytest.raises(WorkspaceError, match="not a path in a Strike directory"):
        strike.find(path)


def test_a_link_in_place_of_a_sub_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ingesting").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorkspaceError, match="ingesting can't be opened"):
        StrikeDirectory(tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="can't be opened: No such file or directory"):
        StrikeDirectory(tmp_path / "nowhere")
