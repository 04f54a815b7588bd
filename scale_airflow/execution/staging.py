# SPDX-License-Identifier: Apache-2.0
"""The scratch folder of an execution, with its inputs laid out where Scale's algorithms look for them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scale_airflow import crash_points
from scale_airflow.errors import ExecutionFailure, ScaleError, WorkspaceError
from scale_airflow.execution import trees
from scale_airflow.execution.order import ExecutionOrder, FileRef, OrderInput
from scale_airflow.workspaces.broker import Broker
from scale_airflow.workspaces.confined import split
from scale_airflow.workspaces.mounts import broker_for

FOLDER = re.compile(r"^job_exe_([1-9][0-9]{0,18})$")
MANIFEST = "results_manifest.json"
"""What an algorithm calls its manifest, in its output directory."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Scratch:
    """The folder ``job_exe_<id>`` of one execution; the same path for the worker and the Docker engine."""

    work_dir: Path
    execution_id: int

    @property
    def root(self) -> Path:
        """The execution's own folder."""
        return self.work_dir / f"job_exe_{self.execution_id}"

    @property
    def inputs(self) -> Path:
        """What the job may read."""
        return self.root / "inputs"

    @property
    def input_data(self) -> Path:
        """A folder for each file input."""
        return self.inputs / "input_data"

    @property
    def input_work(self) -> Path:
        """Reserved for the staging of inputs."""
        return self.inputs / "input_work"

    @property
    def outputs(self) -> Path:
        """What the job may write."""
        return self.root / "outputs"

    @property
    def output_data(self) -> Path:
        """Where the job leaves its products and its manifest: ``${job_output_dir}``."""
        return self.outputs / "output_data"

    @property
    def output_work(self) -> Path:
        """The job's working directory."""
        return self.outputs / "output_work"

    @property
    def notes(self) -> Path:
        """What the worker remembers for the case that another has to go on (no job sees it)."""
        return self.root / "worker.json"

    def create(self) -> None:
        """Make the folders.

        :raises ExecutionFailure: (``filesystem-io``) if that can't be done.
        """
        try:
            crash_points.reach("scratch.create.before")
            for folder in (self.input_data, self.input_work, self.output_data, self.output_work):
                folder.mkdir(parents=True, exist_ok=True)
            # The image's user may be anyone; on the host the folder above lets only the worker's user in.
            self.root.chmod(0o700)
            for folder in (self.outputs, self.output_data, self.output_work):
                folder.chmod(0o777)
            crash_points.reach("scratch.create.after")
        except OSError as error:
            raise ExecutionFailure(
                f"The scratch folder {self.root} can't be made: {error.strerror}. Check [scale] work_dir.",
                error_name="filesystem-io",
            ) from error

    def clear(self) -> None:
        """Throw away what an earlier start of this execution has left, but not the worker's notes.

        :raises OSError: if something can't be removed.
        """
        for folder in (self.inputs, self.outputs):
            if folder.exists():
                crash_points.reach("scratch.clear.before")
                trees.remove(folder)
                crash_points.reach("scratch.clear.after")

    def remove(self) -> None:
        """Remove the whole folder, which need not exist.

        :raises OSError: if something in it can't be removed.
        """
        if self.root.is_symlink():
            self.root.unlink()
        elif self.root.exists():
            crash_points.reach("scratch.remove.before")
            trees.remove(self.root)
            crash_points.reach("scratch.remove.after")

    def used_mib(self) -> float:
        """Return how much disk the job's outputs take, holes not counted."""
        return self.measure()[0]

    def measure(self) -> tuple[float, bool]:
        """Return the same, and whether all of it could be seen (see :func:`trees.used_bytes`)."""
        used, complete = trees.used_bytes(self.outputs)
        return used / _MIB, complete


@dataclass(frozen=True, slots=True)
class StagedFile:
    """An input file: where it lies, and where the job finds it."""

    reference: FileRef
    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class StagedInputs:
    """The input files of an execution, by input; an input that was not given is not in it."""

    by_input: Mapping[str, tuple[StagedFile, ...]]

    @property
    def files(self) -> tuple[StagedFile, ...]:
        """All files of all inputs."""
        return tuple(staged for group in self.by_input.values() for staged in group)


def workspace_brokers(
    order: ExecutionOrder, *, mounts: Mapping[str, str], allowed_roots: Sequence[Path]
) -> dict[int, Broker]:
    """Return the brokers of the order's workspaces by id.

    :raises ExecutionFailure: (``nfs`` or ``filesystem-io``) if one's directory can't be used on this host.
    """
    brokers: dict[int, Broker] = {}
    for workspace in order.workspaces:
        try:
            brokers[workspace.id] = broker_for(
                workspace.configuration, mounts=mounts, allowed_roots=allowed_roots
            )
        except ScaleError as error:
            kind = workspace.configuration.get("broker", {}).get("type")
            raise ExecutionFailure(
                f"The workspace {workspace.name!r} can't be used: {error}",
                error_name="nfs" if kind == "nfs" else "filesystem-io",
            ) from error
    return brokers


def stage_inputs(order: ExecutionOrder, scratch: Scratch, brokers: Mapping[int, Broker]) -> StagedInputs:
    """Find every input file on this host and choose its place below ``inputs/input_data``.

    Nothing is copied: a backend mounts or links each file to its place.

    :raises ExecutionFailure: (``nfs`` or ``filesystem-io``) naming each file that is not there.
    """
    by_input: dict[str, tuple[StagedFile, ...]] = {}
    problems: list[str] = []
    error_name = "filesystem-io"
    for entry in order.inputs:
        if entry.type == "property" or not entry.files:
            continue
        staged = []
        for file, target in _targets(entry, scratch.input_data / entry.name):
            try:
                source = brokers[file.workspace_id].local_path(file.path)
            except WorkspaceError as error:
                problems.append(f"input {entry.name!r}, file {file.id} ({file.file_name}): {error}")
                error_name = brokers[file.workspace_id].error_name
                continue
            staged.append(StagedFile(file, source, target))
        by_input[entry.name] = tuple(staged)
    if problems:
        raise ExecutionFailure(
            "Input files can't be read: " + "; ".join(problems[:20]), error_name=error_name
        )
    return StagedInputs(by_input)


def _targets(entry: OrderInput, folder: Path) -> Iterator[tuple[FileRef, Path]]:
    """Give each file a place of its own: a repeated name gets ``<counter>_`` before it."""
    taken: set[str] = set()
    for file in entry.files:
        try:
            (plain,) = split(file.file_name)
        except (WorkspaceError, ValueError):
            raise ExecutionFailure(
                f"Input {entry.name!r}: the name of file {file.id}, {file.file_name!r}, is no file name.",
                error_name="filesystem-io",
            ) from None
        name, counter = plain, 0
        while name in taken:
            counter += 1
            name = f"{counter}_{plain}"
        taken.add(name)
        yield file, folder / name


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """How large one output file may be as a whole, holes counted; ``reason`` is what follows "100 MiB"."""

    size: float = float("inf")
    reason: str = ""

    def check(self, path: str, facts: os.stat_result) -> None:
        """Refuse a file that is mostly holes and too large for what comes after it.

        What really lies on the disk does so already, and was watched while it came.

        :raises WorkspaceError: naming the figures.
        """
        held = facts.st_blocks * 512
        if facts.st_size > max(self.size, held):
            raise WorkspaceError(
                f"the file {path!r} is {facts.st_size / _MIB:.0f} MiB long, of which {held / _MIB:.0f} MiB "
                f"are no holes; as a whole it is larger than the {self.size / _MIB:.0f} MiB {self.reason}."
            )


def check_disk(scratch: Scratch, disk_mib: float) -> None:
    """Check that the scratch folder's file system has room for the job.

    :raises ExecutionFailure: (``filesystem-io``) if it has not.
    """
    free = shutil.disk_usage(scratch.work_dir).free / _MIB
    if free < disk_mib:
        raise ExecutionFailure(
            f"The job needs {disk_mib:.0f} MiB of disk, and {scratch.work_dir} has {free:.0f} MiB left.",
            error_name="filesystem-io",
        )
