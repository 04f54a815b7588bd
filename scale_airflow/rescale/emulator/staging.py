# SPDX-License-Identifier: Apache-2.0
"""Prepares a run's home (inputs, archives, templates), and takes the outputs from it in the end.

All of it blocks (copies and hashes) and runs in a thread; it reads and writes no state.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from scale_airflow.rescale.emulator.archives import is_archive, unpack
from scale_airflow.rescale.emulator.blobs import Blob, Blobs
from scale_airflow.rescale.emulator.templates import TemplateError, render

LOG_NAME = "process_output.log"


class StagingError(Exception):
    """A run's home can't be prepared; the text says why."""


@dataclass(frozen=True)
class Input:
    """A file to put into the work directory.

    :param blob: name of its bytes.
    :param name: name in the work directory; what precedes a slash is dropped.
    """

    blob: str
    name: str
    decompress: bool = True


@dataclass(frozen=True)
class Template:
    """A file to fill with a case's values.

    :param blob: name of the template's bytes.
    :param target: path in the work directory.
    """

    blob: str
    target: str


@dataclass(frozen=True)
class Place:
    """Where one attempt at a run lives: ``<root>/work/<job>/<run>/<attempt>``."""

    path: Path

    @property
    def home(self) -> Path:
        """``$HOME`` of the run, which is also where an SSH session begins."""
        return self.path / "home"

    @property
    def work(self) -> Path:
        """The commands' directory."""
        return self.home / "work"

    @property
    def log(self) -> Path:
        """Where the output goes: a second name of the one in ``work``, which ``rm *`` leaves alone."""
        return self.path / LOG_NAME

    @property
    def order(self) -> Path:
        """What the keeper is told."""
        return self.path / "order.json"

    @property
    def keeper(self) -> Path:
        """Who the keeper is."""
        return self.path / "keeper.json"

    @property
    def result(self) -> Path:
        """How the run ended."""
        return self.path / "result.json"

    @property
    def stop(self) -> Path:
        """Says that the run is to end (``stop`` or ``force``); beside the place, there before it is."""
        return self.path.with_name(f"{self.path.name}.stop")

    @property
    def baseline(self) -> Path:
        """What was in the work directory before the commands ran."""
        return self.path / "baseline.json"


@dataclass(frozen=True)
class Output:
    """A file that a run made or changed."""

    relative_path: str
    blob: Blob


@dataclass(frozen=True)
class Cargo:
    """All that goes into a run's home.

    :param devices: ids of attached storage devices → their directories; linked as ``~/storage_<id>``.
    """

    inputs: Sequence[Input] = ()
    templates: Sequence[Template] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, Path] = field(default_factory=dict)


def stage(place: Place, cargo: Cargo, blobs: Blobs) -> None:
    """Make a run's home from nothing.

    :raises StagingError: when an input is gone, a template can't be filled or the disk is full.
    """
    shutil.rmtree(place.path, ignore_errors=True)
    try:
        place.work.mkdir(parents=True)
        notes = []
        for one in cargo.inputs:
            name = PurePosixPath(one.name.replace("\\", "/")).name
            if name in ("", "..") or "\0" in name:
                raise StagingError(f"An input file can't be named {one.name!r}.")
            target = place.work / name
            target.unlink(missing_ok=True)
            blobs.place(one.blob, target)
            if one.decompress and is_archive(name):
                notes += unpack(target, place.work)
        if notes:
            place.log.write_text("".join(f"{note}\n" for note in notes), "utf-8")
        for device_id, directory in cargo.devices.items():
            (place.home / f"storage_{device_id}").symlink_to(directory)
        place.log.touch()
        if not (place.work / LOG_NAME).exists():
            os.link(place.log, place.work / LOG_NAME)
        place.baseline.write_text(json.dumps(_contents(place.work)), "utf-8")
        for template in cargo.templates:
            _fill(place, template, cargo.values, blobs)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise StagingError(f"The work directory can't be prepared: {error}.") from error


def harvest(place: Place, blobs: Blobs) -> list[Output]:
    """Take every new or changed file of the work directory, and the log, into the cloud storage.

    :raises OSError: when the disk is full.
    """
    try:
        before = json.loads(place.baseline.read_text("utf-8"))
    except OSError:
        before = {}
    found = [
        Output(relative_path, blobs.adopt(place.work / relative_path))
        for relative_path, mark in _contents(place.work).items()
        if before.get(relative_path) != mark and relative_path != LOG_NAME
    ]
    if place.log.exists():
        found.append(Output(LOG_NAME, blobs.adopt(place.log)))
    return found


def files_below(directory: Path) -> dict[str, Path]:
    """Return the regular files below a directory: POSIX path → where it is, sorted.

    Links to files are followed where they stay in the directory; names that are not text are left out.
    """
    root = directory.resolve()
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            try:
                real = path.resolve(strict=True)
                if not stat.S_ISREG(real.stat().st_mode) or not real.is_relative_to(root):
                    continue
                relative = path.relative_to(root).as_posix()
                relative.encode()
            except (OSError, UnicodeEncodeError, RuntimeError):
                continue
            found[relative] = real
    return dict(sorted(found.items()))


def _contents(directory: Path) -> dict[str, list[int]]:
    contents = {}
    for relative, path in files_below(directory).items():
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        contents[relative] = [status.st_size, status.st_mtime_ns, status.st_ino]
    return contents


def _fill(place: Place, template: Template, values: Mapping[str, str], blobs: Blobs) -> None:
    target = PurePosixPath(template.target)
    if target.is_absolute() or ".." in target.parts or target.name == "":
        raise StagingError(f"A template can't be written to {template.target!r}.")
    path = place.work / target
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(place.work.resolve()):
        raise StagingError(f"A template can't be written to {template.target!r}.")
    try:
        text = render(blobs.path(template.blob).read_text("utf-8"), values)
    except (TemplateError, UnicodeDecodeError) as error:
        raise StagingError(f"Template of {template.target}, {error}") from error
    path.unlink(missing_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)
