# SPDX-License-Identifier: Apache-2.0
"""Reading a scene: a zip that holds ``elevation.png`` and ``georeference.csv``.

A scene comes from somewhere else, so nothing in it is trusted: members are looked up by their exact names
and are never extracted to a path that the archive chooses, an archive with a member that points outside
is refused as a whole, and what a member unpacks to is bounded while it is read.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from terrain_algorithms.georeference import MAX_CELLS, Georeference, parse_georeference
from terrain_algorithms.program import AlgorithmError, ExitCode

IMAGE = "elevation.png"
GEOREFERENCE = "georeference.csv"
MAX_MEMBERS = 100
MAX_IMAGE_BYTES = 2 * MAX_CELLS + 2**20
MAX_TABLE_BYTES = 64 * 1024
_CHUNK = 2**20


@dataclass(frozen=True)
class Scene:
    """The two files of a scene, as they are in the archive, and what the table says."""

    image: bytes
    table: bytes
    georeference: Georeference


def read_scene(path: Path) -> Scene:
    """Read a scene's archive and check that its image is the one its table describes.

    Raises:
        AlgorithmError: with exit code 2 for a bad archive, 3 for a bad table, 4 for a bad image.
    """
    image, table = _read_members(path, {IMAGE: MAX_IMAGE_BYTES, GEOREFERENCE: MAX_TABLE_BYTES})
    georeference = parse_georeference(table)
    columns, rows = _image_size(image)
    if (columns, rows) != (georeference.columns, georeference.rows):
        told = f"{georeference.columns} x {georeference.rows}"
        raise AlgorithmError(
            ExitCode.BAD_IMAGE, f"{IMAGE} has {columns} x {rows} cells, {GEOREFERENCE} says {told}"
        )
    return Scene(image, table, georeference)


def read_georeference(path: Path) -> Georeference:
    """Read only the table of a scene's archive.

    Raises:
        AlgorithmError: with exit code 2 for a bad archive, 3 for a bad table.
    """
    (table,) = _read_members(path, {GEOREFERENCE: MAX_TABLE_BYTES})
    return parse_georeference(table)


def _read_members(path: Path, limits: dict[str, int]) -> list[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_names(path, archive.namelist())
            return [_read_member(archive, name, limit) for name, limit in limits.items()]
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        struct.error,
    ) as error:
        # RuntimeError is zipfile's word for an encrypted member, NotImplementedError for a method it lacks.
        raise AlgorithmError(ExitCode.BAD_ARCHIVE, f"{path.name} is not a readable zip: {error}") from error


def _check_names(path: Path, names: list[str]) -> None:
    if len(names) > MAX_MEMBERS:
        raise AlgorithmError(
            ExitCode.BAD_ARCHIVE, f"{path.name} has {len(names)} members, {MAX_MEMBERS} are allowed"
        )
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in name:
            raise AlgorithmError(
                ExitCode.BAD_ARCHIVE, f"{path.name} has a member that points outside: {name!r}"
            )
    for name in (IMAGE, GEOREFERENCE):
        if names.count(name) != 1:
            raise AlgorithmError(
                ExitCode.BAD_ARCHIVE, f"{path.name} must hold {name!r} once, not {names.count(name)} times"
            )


def _read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Read a member to its end (which checks its CRC), but never more of it than allowed.

    The size in the archive's directory is only a claim, so the bytes that come out are counted.
    """
    content = bytearray()
    with archive.open(name) as member:
        while chunk := member.read(_CHUNK):
            content += chunk
            if len(content) > limit:
                raise AlgorithmError(
                    ExitCode.BAD_ARCHIVE, f"{name} unpacks to more than the {limit} bytes allowed"
                )
    return bytes(content)


def _image_size(image: bytes) -> tuple[int, int]:
    """Tell columns and rows from a PNG's first chunk, and that its cells are single 16 bit samples."""
    if image[:8] != b"\x89PNG\r\n\x1a\n" or len(image) < 33 or image[12:16] != b"IHDR":
        raise AlgorithmError(ExitCode.BAD_IMAGE, f"{IMAGE} is not a PNG image")
    columns, rows, depth, colour = struct.unpack(">IIBB", image[16:26])
    if (depth, colour) != (16, 0):
        raise AlgorithmError(ExitCode.BAD_IMAGE, f"{IMAGE} must hold one grey channel of 16 bit")
    return int(columns), int(rows)
