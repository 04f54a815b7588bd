# SPDX-License-Identifier: Apache-2.0
"""The input files of a job: local files and directories, objects of any store, files at Rescale."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import ObjectStoragePath

from scale_airflow.errors import Fault, InvalidDocument
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.rescale.transfers.names import safe_relative_path
from scale_airflow.rescale.transfers.upload import Uploader

_FORM = (
    'a path, {"path": …}, {"id": …} or {"name": …, "content": …}; with "decompress" and "analysis" if '
    'wanted, and {"path": …, "volumes": true} for a large file'
)
_SOURCES = ("path", "id", "content")


@dataclass(frozen=True)
class JobInput:
    """One input of a job.

    :param path: what is uploaded; a directory becomes one zip archive.
    :param file_id: a file that Rescale has already.
    :param content: the text of a small file, whose name is ``name``.
    :param volumes: whether a large file is sent as compressed volumes, which the job puts together again.
    :param decompress: whether Rescale unpacks an archive in the job's directory.
    :param analysis: the position of the analysis that reads it.
    """

    path: str | ObjectStoragePath | None
    file_id: str | None
    decompress: bool = True
    analysis: int = 0
    content: str | None = None
    name: str = ""
    volumes: bool = False

    def reference(self, file_id: str) -> tuple[int, dict[str, Any]]:
        """Return what the job's body says of it."""
        return self.analysis, {"id": file_id, "decompress": self.decompress}


def read_inputs(inputs: Sequence[Any] | None) -> list[JobInput]:
    """Read what a DAG's author wrote.

    :raises InvalidDocument: with every fault.
    """
    faults: list[Fault] = []
    found: list[JobInput] = []
    for index, given in enumerate(inputs or ()):
        read = _read(given)
        if isinstance(read, JobInput):
            found.append(read)
        else:
            faults.append(Fault(f"/inputs/{index}", f"{read}; it must be {_FORM}", "rescale-job.input"))
    if faults:
        raise InvalidDocument("Rescale job", faults)
    return found


def _read(given: Any) -> JobInput | str:
    if isinstance(given, (str, Path, ObjectStoragePath)):
        return JobInput(given if isinstance(given, ObjectStoragePath) else str(given), None)
    if not isinstance(given, Mapping):
        return f"is {type(given).__name__}"
    unknown = sorted(set(given) - {*_SOURCES, "name", "decompress", "analysis", "volumes"})
    if unknown:
        return f"has the unknown keys {', '.join(unknown)}"
    if sum(given.get(name) is not None for name in _SOURCES) != 1:
        return f"must have one of {', '.join(_SOURCES)}"
    if ("content" in given) != ("name" in given):
        return "has a content without a name, or a name without a content"
    decompress, analysis = given.get("decompress", True), given.get("analysis", 0)
    if not isinstance(decompress, bool) or isinstance(analysis, bool) or not isinstance(analysis, int):
        return "has a decompress that is not true or false, or an analysis that is not a position (0 …)"
    volumes = given.get("volumes", False)
    if not isinstance(volumes, bool) or (volumes and given.get("path") is None):
        return "has volumes that are not true or false, or that are of no path"
    path, file_id, content = (given.get(name) for name in _SOURCES)
    return JobInput(
        path if path is None or isinstance(path, ObjectStoragePath) else str(path),
        None if file_id is None else str(file_id),
        decompress,
        analysis,
        None if content is None else str(content),
        str(given.get("name") or ""),
        volumes,
    )


def upload_inputs(
    hook: RescaleHook, inputs: Sequence[JobInput], log: Any
) -> list[tuple[int, dict[str, Any]]]:
    """Upload what has to be, unless it is there unchanged, and return what the job's body says of each.

    Those that are sent as volumes are left to :func:`upload_volumes`.

    :raises TransferError: if something can't be read or sent.
    """
    inputs = [one for one in inputs if not one.volumes]
    ids: dict[int, str] = {index: one.file_id for index, one in enumerate(inputs) if one.file_id is not None}
    sent = [(index, one) for index, one in enumerate(inputs) if one.file_id is None]
    if sent:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rescale-inputs-")))
            paths = [_local(one, folder / str(index), log) for index, one in sent]
            uploader = stack.enter_context(Uploader(hook.credentials(), **transfer_arguments(hook)))
            for (index, _), file in zip(sent, uploader.upload(paths), strict=True):
                ids[index] = file.id
                log.info("Input %s is there: %s (%s bytes)", file.name, file.id, file.size)
    return [one.reference(ids[index]) for index, one in enumerate(inputs)]


def upload_volumes(
    hook: RescaleHook, inputs: Sequence[JobInput], log: Any
) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, str]]]:
    """Upload large files as volumes; return what the job's body says of them, and the preludes of commands.

    :raises TransferError: if something can't be read or sent.
    """
    references: list[tuple[int, dict[str, Any]]] = []
    preludes: list[tuple[int, str]] = []
    large = [one for one in inputs if one.volumes]
    if large:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rescale-inputs-")))
            uploader = stack.enter_context(Uploader(hook.credentials(), **transfer_arguments(hook)))
            for index, one in enumerate(large):
                made = uploader.upload_volumes(_local(one, folder / str(index), log))
                log.info(
                    "Input %s is there in %d volumes (%d bytes sent)", made.name, len(made.files), made.sent
                )
                references += [(one.analysis, file) for file in made.input_files]
                preludes.append((one.analysis, made.prelude))
    return references, preludes


def _local(given: JobInput, folder: Path, log: Any) -> Path:
    """Return where an input lies on this machine; an object of a store is fetched first."""
    path = given.path
    if given.content is not None:
        target = folder / safe_relative_path(given.name)
        target.parent.mkdir(parents=True)
        target.write_text(given.content, encoding="utf-8")
        return target
    if isinstance(path, str) and "://" in path:
        path = ObjectStoragePath(path)
    if not isinstance(path, ObjectStoragePath):
        return Path(str(path))
    if path.protocol == "file":
        return Path(path.path)
    folder.mkdir()
    target = folder / path.name
    log.info("Fetching %s", path)
    _fetch(path, target)
    return target


def _fetch(source: ObjectStoragePath, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for child in source.iterdir():
            _fetch(child, target / child.name)
        return
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(1 << 20):
            writer.write(block)


def transfer_arguments(hook: RescaleHook) -> dict[str, Any]:
    """Return what transfers take over from a connection."""
    return hook.settings.transfer_arguments(hook.purpose)
