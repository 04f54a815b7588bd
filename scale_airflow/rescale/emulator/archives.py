# SPDX-License-Identifier: Apache-2.0
"""Unpacks zip and tar archives into a work directory, and never anywhere else."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

_TAR_ENDS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_MODE = 0o755  # as that of inputs: an archive's script is run with ./
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True)
class _Member:
    name: str
    link: str | None = None
    is_directory: bool = False


def is_archive(name: str) -> bool:
    """Tell from a file's name whether the service unpacks it."""
    return name.lower().endswith((".zip", *_TAR_ENDS))


def unpack(archive: Path, directory: Path) -> list[str]:
    """Unpack an archive; return a sentence for each member that was left out, and one for damage.

    Left out are members that would leave the directory, by name or through a link, and devices.
    """
    unpacked = _unpack_zip if archive.name.lower().endswith(".zip") else _unpack_tar
    try:
        return [
            f"{archive.name}: left out {name!r}, which is not a file below the work directory."
            for name in unpacked(archive, directory.resolve())
        ]
    except _DAMAGE as error:
        return [f"{archive.name} can't be unpacked: {error}."]


def _unpack_zip(archive: Path, directory: Path) -> list[str]:
    left_out = []
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            link = opened.read(info).decode("utf-8", "replace") if is_link else None
            with _opened(directory, _Member(info.filename, link, info.is_dir())) as target:
                if target is None:
                    left_out.append(info.filename)
                elif not isinstance(target, Path):
                    with opened.open(info) as source:
                        shutil.copyfileobj(source, target, 2**20)
    return left_out


def _unpack_tar(archive: Path, directory: Path) -> list[str]:
    left_out = []
    with tarfile.open(archive) as opened:
        for info in opened:
            plain = info.isfile() or info.isdir() or info.issym()
            source = opened.extractfile(info) if info.isfile() or info.islnk() else None
            if not (plain or (info.islnk() and source)):
                left_out.append(info.name)
                continue
            link = info.linkname if info.issym() else None
            with _opened(directory, _Member(info.name, link, info.isdir())) as target:
                if target is None:
                    left_out.append(info.name)
                elif not isinstance(target, Path) and source is not None:
                    shutil.copyfileobj(source, target, 2**20)
    return left_out


@contextmanager
def _opened(directory: Path, member: _Member) -> Iterator[IO[bytes] | Path | None]:
    """Make a member's place: an open file, the path of a directory or link, None for one that must not be."""
    relative = PurePosixPath(member.name)
    parts = [part for part in relative.parts if part != "."]
    if relative.is_absolute() or ".." in parts or "\0" in member.name:
        yield None
        return
    target = directory.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    inside = target.parent.resolve().is_relative_to(directory)
    if inside and member.link is not None:
        aim = target.parent.resolve() / member.link
        inside = not os.path.isabs(member.link) and aim.resolve().is_relative_to(directory)
    if not inside:
        yield None
    elif member.is_directory:
        target.mkdir(exist_ok=True)
        yield target
    elif member.link is not None:
        target.unlink(missing_ok=True)
        target.symlink_to(member.link)
        yield target
    else:
        target.unlink(missing_ok=True)
        with target.open("xb") as file:
            yield file
        target.chmod(_MODE)
