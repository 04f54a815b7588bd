# SPDX-License-Identifier: Apache-2.0
"""The root file system that the terrain image is made from where no image registry can be reached."""

from __future__ import annotations

import io
import os
import posixpath
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "terrain"


@pytest.fixture(scope="module")
def host_root() -> Any:
    sys.path.insert(0, str(EXAMPLE))
    try:
        import host_root
    finally:
        sys.path.remove(str(EXAMPLE))
    return host_root


@pytest.fixture(scope="module")
def members(host_root: Any) -> dict[str, tarfile.TarInfo]:
    target = io.BytesIO()
    host_root.collect(["rasterio", "pip"]).write_tar(target)
    target.seek(0)
    with tarfile.open(fileobj=target) as tar:
        return {member.name: member for member in tar.getmembers()}


def resolve(members: dict[str, tarfile.TarInfo], path: str) -> tarfile.TarInfo:
    """Walk to a path inside the archive as a kernel would, through its symbolic links."""
    current, steps = "", path.strip("/").split("/")
    for _ in range(200):
        if not steps:
            return members[current]
        step = steps.pop(0)
        here = (
            posixpath.normpath(posixpath.join(current, step)) if step != ".." else posixpath.dirname(current)
        )
        member = members.get(here)
        if member is not None and member.issym():
            link = member.linkname
            steps = [part for part in link.split("/") if part not in ("", ".")] + steps
            current = "" if link.startswith("/") else current
        else:
            current = here
    raise AssertionError(f"{path}: a loop of links")


def test_every_link_leads_to_something_inside(members: dict[str, tarfile.TarInfo]) -> None:
    links = [name for name, member in members.items() if member.issym()]
    assert links
    for name in links:
        assert resolve(members, name) is not None


def test_python_and_the_shell_are_where_they_are_looked_for(members: dict[str, tarfile.TarInfo]) -> None:
    for path in ("usr/local/bin/python3", "bin/sh"):
        member = resolve(members, path)
        assert member.isfile()
        assert member.mode == 0o755


def test_packages_come_with_what_they_require_and_without_their_tests(
    members: dict[str, tarfile.TarInfo],
) -> None:
    folders = {name.split("-packages/", 1)[1].split("/")[0] for name in members if "-packages/" in name}
    assert {"rasterio", "rasterio.libs", "numpy", "affine", "click", "pip"} <= folders
    assert not [
        name for name in members if "/numpy/lib/tests/" in name or name.endswith("EXTERNALLY-MANAGED")
    ]


def test_every_user_can_read_it_and_paths_stay_inside(members: dict[str, tarfile.TarInfo]) -> None:
    for name, member in members.items():
        assert ".." not in name.split("/")
        assert not name.startswith("/")
        assert (member.uid, member.gid) == (0, 0)
        assert member.issym() or member.mode & 0o444 == 0o444
    assert members["tmp"].mode == 0o1777


def test_libraries_that_python_loads_are_there(members: dict[str, tarfile.TarInfo]) -> None:
    executable = getattr(sys, "_base_executable", sys.executable)
    named = subprocess.run(["ldd", executable], capture_output=True, text=True, check=True).stdout
    paths = [word for line in named.splitlines() for word in line.split() if word.startswith("/")]
    assert paths
    for path in paths:
        assert resolve(members, path).size == os.stat(path).st_size


def test_the_digest_changes_with_the_files_only(host_root: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first, second = host_root.RootFileSystem(), host_root.RootFileSystem()
    for root in (first, second):
        root.add_path(tmp_path / "a")
    before = first.digest()
    assert before == second.digest()
    (tmp_path / "a").write_text("22")
    assert first.digest() == second.digest() != before
    second.contents["b"] = b"more"
    assert first.digest() != second.digest()


def test_a_package_that_is_missing_is_named_with_its_remedy(host_root: Any) -> None:
    with pytest.raises(host_root.HostError, match=r"no-such-package is not installed in .*pip install"):
        host_root.collect(["no-such-package"])
