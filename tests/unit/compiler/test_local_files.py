# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from pathlib import Path

import pytest
from airflow.utils.file import list_py_file_paths

from scale_airflow.compiler.dag_files import DagFile
from scale_airflow.compiler.local_files import IGNORE_FILE, LocalDagFiles
from scale_airflow.errors import NotFound

# Airflow's own use of pathspec.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

FIRST = DagFile.of("scale_recipe.a.1.r1", "# airflow dag\nfirst = 1\n")
SECOND = DagFile.of("scale_recipe.a.1.r1", "# airflow dag\nsecond = 2\n")
OTHER = DagFile.of("scale_recipe.b.1.r1", "# airflow dag\nother = 3\n")


@pytest.fixture
def files(tmp_path: Path) -> LocalDagFiles:
    return LocalDagFiles(tmp_path / "dags")


def seen_by_airflow(files: LocalDagFiles) -> list[str]:
    return sorted(Path(path).name for path in list_py_file_paths(files.directory, safe_mode=True))


def test_a_file_is_written_once_and_read_back(files: LocalDagFiles) -> None:
    path = files.write(FIRST)
    written = path.stat()
    assert files.write(FIRST) == path
    assert path.stat().st_ino == written.st_ino
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    assert files.read(FIRST.file_name) == FIRST
    assert path == files.directory / files.relative_path_of(FIRST.file_name)


@pytest.mark.parametrize("damage", [b"", b"# airflow dag\nfirst = 2\n", FIRST.source.encode()[:-1]])
def test_a_damaged_file_is_noticed_and_replaced(files: LocalDagFiles, damage: bytes) -> None:
    path = files.write(FIRST)
    path.write_bytes(damage)
    assert not files.is_intact(FIRST.file_name)
    with pytest.raises(NotFound, match="missing or damaged"):
        files.read(FIRST.file_name)
    files.write(FIRST)
    assert files.read(FIRST.file_name) == FIRST


def test_a_file_that_is_not_there_is_not_intact(files: LocalDagFiles) -> None:
    assert not files.is_intact(FIRST.file_name)
    with pytest.raises(NotFound):
        files.read(FIRST.file_name)
    assert list(files.all_files()) == []


def test_no_name_leads_out_of_the_directory(files: LocalDagFiles) -> None:
    with pytest.raises(ValueError, match="not the name"):
        files.path_of("../../etc/passwd")


def test_hidden_files_stay_but_airflow_does_not_see_them(files: LocalDagFiles) -> None:
    files.write(FIRST)
    files.write(OTHER)
    assert seen_by_airflow(files) == sorted([FIRST.file_name, OTHER.file_name])
    files.hide(FIRST.dag_id)
    assert seen_by_airflow(files) == [OTHER.file_name]
    assert list(files.visible_files()) == [OTHER.file_name]
    assert files.is_hidden(FIRST.file_name)
    assert not files.is_hidden(OTHER.file_name)
    assert files.is_intact(FIRST.file_name)
    # What a worker does with the path that its task was given.
    assert list_py_file_paths(files.path_of(FIRST.file_name)) == [str(files.path_of(FIRST.file_name))]
    files.show(FIRST.file_name)
    assert seen_by_airflow(files) == sorted([FIRST.file_name, OTHER.file_name])
    assert list(files.all_files()) == sorted([FIRST.file_name, OTHER.file_name])


def test_of_two_files_of_one_dag_only_the_shown_one_is_seen(files: LocalDagFiles) -> None:
    files.write(FIRST)
    files.show(FIRST.file_name)
    files.write(SECOND)
    files.show(SECOND.file_name)
    assert seen_by_airflow(files) == [SECOND.file_name]
    files.show(FIRST.file_name)
    assert seen_by_airflow(files) == [FIRST.file_name]


def test_both_syntaxes_of_airflowignore_hide_the_same(
    files: LocalDagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(FIRST)
    files.write(OTHER)
    files.hide(FIRST.dag_id)
    monkeypatch.setenv("AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX", "regexp")
    assert seen_by_airflow(files) == [OTHER.file_name]


def test_writers_at_once_leave_complete_files_and_nothing_else(files: LocalDagFiles) -> None:
    large = DagFile.of("scale_job.large", "# airflow dag\n" + "x = 1\n" * 50_000)
    errors: list[BaseException] = []
    start = threading.Barrier(8)

    def write() -> None:
        try:
            start.wait()
            for _ in range(10):
                files.write(large)
                files.show(large.file_name)
                assert files.is_intact(large.file_name)
                files.hide(large.dag_id)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    left = {path.name for path in files.path_of(large.file_name).parent.iterdir()}
    assert left == {large.file_name, ".airflowignore"}


def test_files_are_shown_and_hidden_at_once(files: LocalDagFiles) -> None:
    files.write(FIRST)
    files.write(SECOND)
    errors: list[BaseException] = []
    start = threading.Barrier(4)
    hidden = files.path_of(FIRST.file_name).parent / IGNORE_FILE

    def turn() -> None:
        try:
            start.wait()
            for _ in range(150):
                files.show(FIRST.file_name)
                files.hide(FIRST.dag_id)
                hidden.unlink(missing_ok=True)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=turn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_writer_that_dies_leaves_nothing_that_counts(
    files: LocalDagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", die)
        with pytest.raises(OSError, match="no space"):
            files.write(FIRST)
    assert not files.is_intact(FIRST.file_name)
    assert seen_by_airflow(files) == []
    files.write(FIRST)
    assert files.read(FIRST.file_name) == FIRST


def test_the_directory_remembers_that_files_are_published_here(files: LocalDagFiles) -> None:
    assert not files.is_origin()
    files.mark_as_origin()
    assert LocalDagFiles(files.directory).is_origin()
    assert list(files.all_files()) == []
