# SPDX-License-Identifier: Apache-2.0
"""The scratch folder and the places of inputs in it."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.execution.fake_runtime import make_order, stored_file

from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.order import ExecutionOrder, FileRef, OrderInput, WorkspaceRef
from scale_airflow.execution.staging import (
    FOLDER,
    Scratch,
    check_disk,
    stage_inputs,
    workspace_brokers,
)


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "work", 7)


def order(root: Path, *files: FileRef, kind: str = "files") -> ExecutionOrder:
    return make_order(root, "x", inputs=(OrderInput("in put", kind, None, files),))  # type: ignore[arg-type]


def test_the_folders_of_scale(scratch: Scratch, tmp_path: Path) -> None:
    scratch.create()
    scratch.create()
    found = sorted(str(path.relative_to(scratch.root)) for path in scratch.root.rglob("*"))
    assert found == [
        "inputs",
        "inputs/input_data",
        "inputs/input_work",
        "outputs",
        "outputs/output_data",
        "outputs/output_work",
    ]
    assert scratch.root == tmp_path / "work" / "job_exe_7"
    assert scratch.root.stat().st_mode & 0o777 == 0o700
    assert scratch.output_data.stat().st_mode & 0o777 == 0o777


def test_a_work_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExecutionFailure, match="work_dir") as caught:
        Scratch(tmp_path / "file", 7).create()
    assert caught.value.error_name == "filesystem-io"


@pytest.mark.parametrize("name", ["job_exe_0", "job_exe_07", "job_exe_", "job_exe_1x", "xjob_exe_1"])
def test_other_folders_are_none_of_ours(name: str) -> None:
    assert FOLDER.match(name) is None


def test_remove_does_not_follow_links(scratch: Scratch, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    scratch.create()
    (scratch.output_data / "link").symlink_to(outside)
    locked = scratch.output_data / "locked" / "deeper"
    locked.mkdir(parents=True)
    locked.chmod(0)
    locked.parent.chmod(0)
    scratch.remove()
    scratch.remove()
    assert not scratch.root.exists()
    scratch.root.symlink_to(outside)
    scratch.remove()
    assert (outside / "keep").exists()


def test_clear_keeps_the_notes(scratch: Scratch) -> None:
    scratch.create()
    scratch.notes.write_text("{}")
    (scratch.output_data / "x").touch()
    scratch.clear()
    assert [path.name for path in scratch.root.iterdir()] == ["worker.json"]


def test_names_that_repeat_get_a_counter(tmp_path: Path, scratch: Scratch) -> None:
    files = [stored_file(tmp_path, f"{n}/{name}", number=n) for n, name in enumerate("aaba", 1)]
    files.append(dataclasses.replace(stored_file(tmp_path, "5/x"), file_name="1_a"))
    brokers = workspace_brokers(order(tmp_path), mounts={}, allowed_roots=(tmp_path,))
    staged = stage_inputs(order(tmp_path, *files), scratch, brokers)
    names = [file.target.name for file in staged.by_input["in put"]]
    assert names == ["a", "1_a", "b", "2_a", "1_1_a"]
    assert {file.target.parent for file in staged.files} == {scratch.input_data / "in put"}
    assert [file.source for file in staged.files][:2] == [tmp_path / "data/1/a", tmp_path / "data/2/a"]
    assert not scratch.root.exists()


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "", "..", "a\0b"])
def test_a_file_name_that_is_none(tmp_path: Path, scratch: Scratch, name: str) -> None:
    file = dataclasses.replace(stored_file(tmp_path, "x"), file_name=name)
    brokers = workspace_brokers(order(tmp_path), mounts={}, allowed_roots=(tmp_path,))
    with pytest.raises(ExecutionFailure, match="no file name"):
        stage_inputs(order(tmp_path, file), scratch, brokers)


def test_every_missing_file_is_named(tmp_path: Path, scratch: Scratch) -> None:
    files = [stored_file(tmp_path, name, number=n) for n, name in enumerate("abc", 1)]
    (tmp_path / "data" / "a").unlink()
    (tmp_path / "data" / "c").unlink()
    (tmp_path / "data" / "c").symlink_to("b")
    brokers = workspace_brokers(order(tmp_path), mounts={}, allowed_roots=(tmp_path,))
    with pytest.raises(ExecutionFailure) as caught:
        stage_inputs(order(tmp_path, *files), scratch, brokers)
    assert "file 1 (a)" in str(caught.value)
    assert "file 3 (c)" in str(caught.value)
    assert "file 2" not in str(caught.value)
    assert caught.value.error_name == "nfs"


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest.mark.parametrize("make", [os.mkfifo, make_socket])
def test_an_input_that_is_no_file_is_not_handed_to_a_job(
    tmp_path: Path, scratch: Scratch, make: Callable[[Path], None]
) -> None:
    # A socket, such as the engine's, would open the host.
    file = stored_file(tmp_path, "docker.sock")
    (tmp_path / "data" / "docker.sock").unlink()
    make(tmp_path / "data" / "docker.sock")
    brokers = workspace_brokers(order(tmp_path), mounts={}, allowed_roots=(tmp_path,))
    with pytest.raises(ExecutionFailure, match="not a regular file"):
        stage_inputs(order(tmp_path, file), scratch, brokers)


def test_workspaces_that_cannot_be_used(tmp_path: Path) -> None:
    made = order(tmp_path)
    for document, words, name in (
        ({"broker": {"type": "host", "path": str(tmp_path / "none")}}, "is not there", "filesystem-io"),
        ({"broker": {"type": "host", "path": "/etc"}}, "allowed_roots", "filesystem-io"),
        ({"broker": {"type": "nfs", "mount": f"h:{tmp_path}/none"}}, "is not there", "nfs"),
        ({"broker": {"type": "nfs"}}, "mount", "nfs"),
    ):
        wrong = dataclasses.replace(
            made, workspaces=(WorkspaceRef(1, "raw", {"version": "1.0", **document}),)
        )
        with pytest.raises(ExecutionFailure, match=words) as caught:
            workspace_brokers(wrong, mounts={}, allowed_roots=(tmp_path,))
        assert caught.value.error_name == name
        assert "'raw'" in str(caught.value)


def test_disk_before_and_in_use(scratch: Scratch) -> None:
    scratch.create()
    check_disk(scratch, 0)
    with pytest.raises(ExecutionFailure, match="MiB of disk") as caught:
        check_disk(scratch, 1e12)
    assert caught.value.error_name == "filesystem-io"
    before = scratch.used_mib()
    with (scratch.output_data / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (scratch.output_data / "full").write_bytes(b"x" * (2 << 20))
    assert 1.9 < scratch.used_mib() - before < 2.2
