# SPDX-License-Identifier: Apache-2.0
"""What a job has left behind: its results manifest and ARTIFACT lines, every named file checked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from scale_airflow.definitions.documents import load_json
from scale_airflow.definitions.geometry import footprint
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.json_values import check_values
from scale_airflow.definitions.media_types import guess
from scale_airflow.definitions.results_manifest import (
    GeoMetadata,
    ManifestFile,
    ManifestOutput,
    ParseResult,
    ResultsManifest,
    artifacts,
)
from scale_airflow.errors import ExecutionFailure, InvalidDocument, ScaleError, WorkspaceError
from scale_airflow.execution.order import ReportedParse
from scale_airflow.execution.staging import MANIFEST, SizeLimit
from scale_airflow.workspaces.confined import ConfinedDirectory, MissingPath, UnsafePath

MAX_DOCUMENT = 10 << 20
"""The largest manifest or GeoJSON file that is read, in bytes."""
MAX_REPORT = 24 << 20
"""How much of all this may go to the API server in one report, in bytes of JSON; it takes 32 MiB in all."""
_SHOWN = 20
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A product file that exists: its path relative to the output directory, and where its content lies."""

    path: str
    source: Path
    media_type: str
    geo: GeoMetadata


@dataclass(frozen=True, slots=True)
class FoundOutput:
    """The files of one output, in the manifest's order."""

    name: str
    is_list: bool
    files: tuple[FoundFile, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """The folder of a job that ran on another machine, and the one where all of it is now."""

    there: str
    here: str

    def path(self, path: str) -> str:
        """Return where a path of then is now; any other text as it is."""
        is_below = path == self.there or path.startswith(f"{self.there}/")
        return self.here + path[len(self.there) :] if is_below else path

    def document(self, document: Any) -> Any:
        """Return a JSON document with the paths of now."""
        if isinstance(document, str):
            return self.path(document)
        if isinstance(document, list):
            return [self.document(each) for each in document]
        if isinstance(document, dict):
            return {name: self.document(each) for name, each in document.items()}
        return document


@dataclass(frozen=True)
class Results:
    """Everything that a job's run has produced, checked against its interface."""

    outputs: tuple[FoundOutput, ...]
    parse_results: tuple[ReportedParse, ...]
    manifest: dict[str, Any]


class _Faults:
    """Gathers what is wrong with the results, so that all of it can be said at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, place: str, error: object) -> None:
        self.found.append(f"{place}: {error}" if place else str(error))

    def refuse(self, manifest: Mapping[str, Any] | None = None) -> None:
        if self.found:
            more = f" (and {len(self.found) - _SHOWN} more)" if len(self.found) > _SHOWN else ""
            raise ResultsFailure("Wrong results: " + "; ".join(self.found[:_SHOWN]) + more, manifest)


class ResultsFailure(ExecutionFailure):
    """The manifest or the files it names are wrong; counts as the Scale error ``unknown``.

    :param manifest: the manifest's document where it could be read; ARTIFACT lines can make it one that no
        database takes, then it is left out.
    """

    def __init__(self, message: str, manifest: Mapping[str, Any] | None = None):
        self.manifest = None if manifest is None or check_values(dict(manifest)) else dict(manifest)
        super().__init__(message, error_name="unknown", exit_code=0)


def collect_results(
    interface: JobInterface,
    output_directory: Path,
    artifact_text: str,
    *,
    too_many_artifacts: bool = False,
    size_limit: SizeLimit | None = None,
    moved: Moved | None = None,
) -> Results:
    """Read a job's results.

    :param artifact_text: the ``ARTIFACT:`` lines that the job has printed.
    :param size_limit: for files with holes.
    :param moved: what was written on another machine is read as if the job had run here.
    :raises ResultsFailure: naming each fault: an unreadable or invalid manifest, a required output that is
        missing, a file that does not exist, is no regular file, or lies outside the output directory.
    """
    if too_many_artifacts:
        raise ResultsFailure("Wrong results: more or longer ARTIFACT lines were printed than can be taken.")
    limit = size_limit or SizeLimit()
    with _open_outputs(output_directory) as directory:
        manifest = _read_manifest(directory, moved)
        printed = artifacts(artifact_text)
        if moved is not None:
            printed = [(name, moved.path(path)) for name, path in printed]
        found = list(dict.fromkeys(printed))
        try:
            manifest = manifest.with_artifacts(found).check(interface)
        except InvalidDocument as error:
            raise ResultsFailure(f"Wrong results: {error}", manifest.document) from None
        faults = _Faults()
        outputs = tuple(_find(output, interface, directory, limit, faults) for output in manifest.outputs)
        _check_unique(outputs, faults)
        parses = tuple(
            _parse(result, f"parse_results/{index}", directory, faults)
            for index, result in enumerate(manifest.parse_results)
        )
    faults.refuse(manifest.document)
    results = Results(outputs, parses, dict(manifest.document))
    _check_report(results)
    return results


def _open_outputs(path: Path) -> ConfinedDirectory:
    """Open the output directory itself, not what a job may have put in its place."""
    try:
        return ConfinedDirectory(path, follow=False)
    except WorkspaceError as error:
        raise ResultsFailure(f"Wrong results: the job took its output directory away: {error}") from None


def _check_report(results: Results) -> None:
    """Refuse what the API server would, before anything of it is stored."""
    size = sum(
        len(json.dumps(part))
        for part in (
            results.manifest,
            [file.path for output in results.outputs for file in output.files],
            [file.geo.geo_json for output in results.outputs for file in output.files],
            [(parse.geo_json, parse.meta_data) for parse in results.parse_results],
        )
    )
    if size > MAX_REPORT:
        raise ResultsFailure(
            f"Wrong results: manifest, geometry and metadata have {size / _MIB:.0f} MiB together; at most "
            f"{MAX_REPORT // _MIB} MiB can be reported. Give less of it, or make it a product."
        )


def _read_manifest(directory: ConfinedDirectory, moved: Moved | None) -> ResultsManifest:
    """Return the manifest; one that is not there is empty."""
    try:
        document = _read_json(directory, MANIFEST)
    except MissingPath:
        return ResultsManifest.parse({})
    except (ScaleError, OSError) as error:
        raise ResultsFailure(f"Wrong results: {MANIFEST} can't be read: {error}") from None
    if moved is not None:
        document = moved.document(document)
    try:
        return ResultsManifest.parse(document)
    except InvalidDocument as error:
        shown = document if isinstance(document, dict) else None
        raise ResultsFailure(f"Wrong results: {error}", shown) from None


def _read_json(directory: ConfinedDirectory, path: str) -> Any:
    """Read a JSON file of bounded size."""
    with os.fdopen(directory.open_file(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_DOCUMENT:
            raise WorkspaceError(
                f"{path!r} has {size} bytes; at most {MAX_DOCUMENT} ({MAX_DOCUMENT >> 20} MiB) are read."
            )
        return load_json(file.read(MAX_DOCUMENT + 1))


def _find(
    output: ManifestOutput,
    interface: JobInterface,
    directory: ConfinedDirectory,
    limit: SizeLimit,
    faults: _Faults,
) -> FoundOutput:
    promised = interface.output(output.name)
    media_type = promised.media_type if promised is not None else None
    files = []
    for file in output.files:
        try:
            files.append(_find_file(file, media_type, directory, limit))
        except (ScaleError, OSError) as error:
            faults.add(f"output {output.name!r}", error)
    return FoundOutput(output.name, output.is_list, tuple(files))


def _find_file(
    file: ManifestFile, media_type: str | None, directory: ConfinedDirectory, limit: SizeLimit
) -> FoundFile:
    path = _relative(file.path, directory.path)
    name = path.rpartition("/")[2]
    real = _resolve(path, directory)
    content = directory.open_file(real)
    try:
        limit.check(path, os.fstat(content))
    finally:
        os.close(content)
    return FoundFile(
        path=path,
        source=directory.path / real,
        media_type=media_type or guess(name),
        geo=file.geo or GeoMetadata(),
    )


def _relative(path: str, directory: Path) -> str:
    """Return a path of the manifest relative to the output directory, which it must lie in."""
    if "\0" in path:
        raise UnsafePath(f"The path {path!r} contains a NUL character.")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/"):
        root = [part for part in str(directory).split("/") if part]
        if parts[: len(root)] != root:
            raise UnsafePath(f"{path!r} is not inside the job's output directory {directory}.")
        parts = parts[len(root) :]
    if ".." in parts or not parts:
        raise UnsafePath(f"{path!r} names no file inside the job's output directory {directory}.")
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise UnsafePath(f"The path {path!r} is not valid UTF-8.") from None
    return "/".join(parts)


def _resolve(path: str, directory: ConfinedDirectory) -> str:
    """Return where the file really lies in the output directory: a link to another file in it is allowed."""
    root = os.path.realpath(directory.path)
    real = os.path.realpath(os.path.join(root, path))
    if os.path.commonpath([root, real]) != root or real == root:
        raise UnsafePath(f"{path!r} is, or runs through, a link that leads out of the output directory.")
    return os.path.relpath(real, root)


def _check_unique(outputs: tuple[FoundOutput, ...], faults: _Faults) -> None:
    """A file is one product: two outputs, or two entries of one, can't both be it."""
    owners: dict[str, str] = {}
    for output in outputs:
        for file in output.files:
            if file.path in owners:
                faults.add(
                    f"output {output.name!r}",
                    f"the file {file.path!r} is given twice, first for output {owners[file.path]!r}",
                )
            owners.setdefault(file.path, output.name)


def _parse(result: ParseResult, place: str, directory: ConfinedDirectory, faults: _Faults) -> ReportedParse:
    """Return one parse result with the geometry and metadata of its GeoJSON."""
    geo_json: Mapping[str, Any] | None = result.geo_json
    meta_data: Mapping[str, Any] | None = None
    try:
        if result.gis_data_path is not None:
            document = _read_json(directory, _relative(result.gis_data_path, directory.path))
            footprint(document)  # raises for what is no GeoJSON
            meta_data = document
            geo_json = geo_json or document
        elif geo_json is not None:
            meta_data = footprint(geo_json).properties
    except (ScaleError, OSError) as error:
        faults.add(place, error)
    return ReportedParse(
        filename=result.filename,
        new_workspace_path=result.new_workspace_path,
        data_types=result.data_types,
        data_started=iso(result.data_started),
        data_ended=iso(result.data_ended),
        geo_json=None if geo_json is None else dict(geo_json),
        meta_data=None if meta_data is None else dict(meta_data),
    )


def iso(time: datetime | None) -> str | None:
    """Return a time in ISO 8601, None for none."""
    return None if time is None else time.isoformat()
