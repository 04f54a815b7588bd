# SPDX-License-Identifier: Apache-2.0
"""Which directory of this host a document's mount is, and whether it may be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from scale_airflow.definitions.workspace_configuration import HostDirectory, NfsMount, WorkspaceConfiguration
from scale_airflow.errors import InvalidDocument, WorkspaceError
from scale_airflow.workspaces.directory import DirectoryBroker
from scale_airflow.workspaces.mounts import broker_for, local_directory, resolve


def test_the_document_wins_then_the_map_then_the_path() -> None:
    mounts = {"nas:/export": "/mnt/x"}
    assert local_directory(NfsMount.of("nas:/export", "/here"), mounts) == Path("/here")
    assert local_directory(NfsMount.of("nas:/export"), mounts) == Path("/mnt/x")
    assert local_directory(NfsMount.of("other:/export"), mounts) == Path("/export")
    assert local_directory(HostDirectory(Path("/own")), {"/own": "/not"}) == Path("/own")  # type: ignore[arg-type]


def test_only_below_the_allowed_roots_after_links(tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "allowed2"
    (allowed / "w").mkdir(parents=True)
    other.mkdir()
    (allowed / "out").symlink_to(other)
    (tmp_path / "in").symlink_to(allowed / "w")
    assert resolve(allowed / "w", [allowed]) == allowed / "w"
    assert resolve(allowed, [allowed]) == allowed
    assert resolve(tmp_path / "in", [allowed]) == allowed / "w"
    assert resolve(allowed / "w", [tmp_path / "none", tmp_path]) == allowed / "w"
    for wrong in (other, allowed / "out", allowed / ".." / "allowed2"):
        with pytest.raises(WorkspaceError, match="allowed_roots"):
            resolve(wrong, [allowed])
    with pytest.raises(WorkspaceError, match="none is set"):
        resolve(allowed, [])


def test_what_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path, words in (
        (tmp_path / "none", "is not there"),
        (tmp_path / "file", "not a directory"),
        (tmp_path / "loop", "reached|not there"),
        (Path("relative"), "absolute"),
    ):
        with pytest.raises(WorkspaceError, match=words):
            resolve(path, [tmp_path])


def test_brokers_of_documents(tmp_path: Path) -> None:
    host = {"version": "1.0", "broker": {"type": "host", "path": str(tmp_path)}}
    nfs = {"version": "1.0", "broker": {"type": "nfs", "mount": "h:/x"}}
    made = broker_for(host, mounts={}, allowed_roots=[tmp_path])
    assert isinstance(made, DirectoryBroker)
    assert (made.root, made.error_name) == (tmp_path, "filesystem-io")
    parsed = WorkspaceConfiguration.parse(nfs)
    made = broker_for(parsed, mounts={"h:/x": str(tmp_path)}, allowed_roots=[tmp_path])
    assert made.error_name == "nfs"
    with pytest.raises(InvalidDocument):
        broker_for({"broker": {"type": "ftp"}}, mounts={}, allowed_roots=[tmp_path])
