# SPDX-License-Identifier: Apache-2.0
"""The results manifest: what a run of an algorithm produced and learnt (specification: Results Manifest).

Versions 1.0 and 1.1 are read into one form, that of 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from dateutil.parser import isoparse

from scale_airflow.definitions.documents import check_unique, rows, structure, text_of
from scale_airflow.definitions.faults import Faults, describe, quote, quote_all
from scale_airflow.definitions.geometry import read_footprint
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.paths import path_problem

KIND = "results-manifest"
VERSIONS = ("1.0", "1.1")


@dataclass(frozen=True, slots=True)
class GeoMetadata:
    """When and where the data of a file is; times have a zone (UTC if the document gave none)."""

    data_started: datetime | None = None
    data_ended: datetime | None = None
    geo_json: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> GeoMetadata:
        """Build the metadata from its valid JSON object."""
        return cls(read_time(row.get("data_started")), read_time(row.get("data_ended")), row.get("geo_json"))


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A produced file: its path as the algorithm wrote it, and its metadata if it gave any."""

    path: str
    geo: GeoMetadata | None = None


@dataclass(frozen=True, slots=True)
class ManifestOutput:
    """The files of one output; ``is_list`` says whether they were given as a list."""

    name: str
    files: tuple[ManifestFile, ...]
    is_list: bool
    from_artifacts: bool = False


@dataclass(frozen=True, slots=True)
class ParseResult:
    """What was learnt about one source file."""

    filename: str
    new_workspace_path: str | None = None
    data_types: tuple[str, ...] = ()
    data_started: datetime | None = None
    data_ended: datetime | None = None
    geo_json: Mapping[str, Any] | None = None
    gis_data_path: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ParseResult:
        """Build the result from its valid JSON object; ``geo_metadata`` wins over the older fields."""
        geo = GeoMetadata.of(row.get("geo_metadata", {}))
        return cls(
            filename=row["filename"],
            new_workspace_path=row.get("new_workspace_path") or None,
            data_types=tuple(dict.fromkeys(row.get("data_types", ()))),
            data_started=geo.data_started or read_time(row.get("data_started")),
            data_ended=geo.data_ended or read_time(row.get("data_ended")),
            geo_json=geo.geo_json,
            gis_data_path=row.get("gis_data_path"),
        )


@dataclass(frozen=True)
class ResultsManifest:
    """A run's outputs, parse results and free information; ``document`` is in the form of version 1.1."""

    outputs: tuple[ManifestOutput, ...] = ()
    parse_results: tuple[ParseResult, ...] = ()
    info: Any = field(default_factory=list)
    errors: Any = field(default_factory=list)
    document: Mapping[str, Any] = field(default_factory=lambda: {"version": "1.1"}, repr=False, compare=False)

    @classmethod
    def parse(cls, document: object) -> ResultsManifest:
        """Read a results manifest of version 1.0 or 1.1.

        Without a ``version`` a document with ``files`` and no ``output_data`` is 1.0, any other 1.1.

        :raises InvalidDocument: every fault found.
        """
        version = _version(document)
        if version not in VERSIONS:
            faults = Faults()
            message = f"The version must be one of {quote_all(VERSIONS)}, but it is {describe(version)}."
            faults.add("/version", "results-manifest.version", message)
            faults.refuse(KIND, document)
        faults = structure(KIND, document, version=str(version))
        if version == "1.0":
            _check_outputs(document, "files", ("path", "paths"), faults)
        else:
            _check_outputs(document, "output_data", ("file", "files"), faults)
        _check_parse_results(document, faults)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        current = _to_current(document) if version == "1.0" else document
        return cls(
            outputs=tuple(_output(row) for row in current.get("output_data", ())),
            parse_results=tuple(ParseResult.of(row) for row in current.get("parse_results", ())),
            info=current.get("info", []),
            errors=current.get("errors", []),
            document={**current, "version": "1.1"},
        )

    def with_artifacts(self, found: Sequence[tuple[str, str]]) -> ResultsManifest:
        """Return the manifest with the files that the algorithm registered by ARTIFACT lines.

        An output that the manifest names already is kept as it is there.

        :param found: pairs (output name, path) as :func:`artifacts` returns them.
        """
        paths: dict[str, list[str]] = {}
        named = {output.name for output in self.outputs}
        for name, path in found:
            if name not in named:
                paths.setdefault(name, []).append(path)
        added = [
            ManifestOutput(name, tuple(ManifestFile(path) for path in each), len(each) > 1, True)
            for name, each in paths.items()
        ]
        return self._with_outputs((*self.outputs, *added)) if added else self

    def check(self, interface: JobInterface) -> ResultsManifest:
        """Check the outputs against the job interface; return the manifest without unknown outputs.

        :raises InvalidDocument: every fault found: a required output is missing or has no files, or one file
            was given for a ``files`` output or several for a ``file`` output.
        """
        faults = Faults()
        kept = []
        for index, output in enumerate(self.outputs):
            wanted = interface.output(output.name)
            if wanted is None:
                continue
            if wanted.type == "files" and output.from_artifacts:
                output = replace(output, is_list=True)
            if output.is_list != (wanted.type == "files"):
                given, needed = ("files", "file") if output.is_list else ("file", "files")
                message = (
                    f"The output {quote(output.name)} needs {quote(needed)}, but there is {quote(given)}."
                )
                faults.add(f"/output_data/{index}", "results-manifest.file-or-files", message)
            kept.append(output)
        produced = {output.name for output in kept if output.files}
        for each in interface.outputs:
            if each.required and each.name not in produced:
                message = f"The required output {quote(each.name)} was not produced."
                faults.add("/output_data", "results-manifest.missing-output", message)
        faults.refuse(KIND, self.document)
        return self._with_outputs(tuple(kept)) if tuple(kept) != self.outputs else self

    def _with_outputs(self, outputs: tuple[ManifestOutput, ...]) -> ResultsManifest:
        given = {row["name"]: row for row in self.document.get("output_data", ())}
        rows_now = [given.get(output.name) or _row(output) for output in outputs]
        return replace(self, outputs=outputs, document={**self.document, "output_data": rows_now})


_ARTIFACT = re.compile(r"^ARTIFACT:([^:\r\n]*):([^\r\n]*)", re.MULTILINE)


def artifacts(text: str) -> list[tuple[str, str]]:
    """Return (output name, path) of every line ``ARTIFACT:<output name>:<path>`` that was printed."""
    return [
        (name.strip(), path.strip())
        for name, path in _ARTIFACT.findall(text)
        if name.strip() and path.strip()
    ]


_EARLIEST = datetime(1, 1, 2, tzinfo=timezone.utc)
_LATEST = datetime(9999, 12, 30, tzinfo=timezone.utc)


def read_time(text: str | None) -> datetime | None:
    """Return an ISO 8601 date and time with its zone, UTC if it has none.

    :raises ValueError: the text is none; or the moment is in a year that there is not, somewhere on Earth.
    """
    if text is None:
        return None
    try:
        found = isoparse(text)
        found = found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)
        if not _EARLIEST <= found.astimezone(timezone.utc) <= _LATEST:
            raise ValueError(f"{text} is out of range")
        return found
    except (OverflowError, AttributeError) as error:
        raise ValueError(str(error)) from None


def _version(document: object) -> object:
    if not isinstance(document, dict):
        return "1.1"
    if "version" in document:
        return document["version"]
    return "1.0" if "files" in document and "output_data" not in document else "1.1"


def _check_outputs(document: object, field: str, forms: tuple[str, str], faults: Faults) -> None:
    names = [(f"/{field}/{index}/name", text_of(row, "name")) for index, row in rows(document, field)]
    check_unique(faults, "results-manifest.duplicate-output", "output", names)
    for index, row in rows(document, field):
        given = [form for form in forms if form in row]
        if len(given) != 1:
            found = "both are" if given else "none is"
            message = f"Exactly one of {quote_all(forms)} must be given, but {found}."
            faults.add(f"/{field}/{index}", "results-manifest.one-of-file-and-files", message)
        _check_geo(row.get("file"), f"/{field}/{index}/file", faults)
        for number, each in rows(row, "files"):
            _check_geo(each, f"/{field}/{index}/files/{number}", faults)


def _check_parse_results(document: object, faults: Faults) -> None:
    for index, row in rows(document, "parse_results"):
        place = f"/parse_results/{index}"
        _check_times(row, place, faults)
        _check_geo(row, place, faults)
        path = text_of(row, "new_workspace_path")
        if path and (problem := path_problem(path)) is not None:
            message = f"The path {quote(path)} {problem}."
            faults.add(f"{place}/new_workspace_path", "path.not-relative", message)


def _check_geo(row: object, place: str, faults: Faults) -> None:
    geo = row.get("geo_metadata") if isinstance(row, dict) else None
    if not isinstance(geo, dict):
        return
    _check_times(geo, f"{place}/geo_metadata", faults)
    if isinstance(geo.get("geo_json"), dict):
        read_footprint(geo["geo_json"], faults, f"{place}/geo_metadata/geo_json")


def _check_times(row: Mapping[str, Any], place: str, faults: Faults) -> None:
    for name in ("data_started", "data_ended"):
        text = text_of(row, name)
        try:
            read_time(text)
        except ValueError:
            message = f"{quote(text or '')} is not an ISO 8601 date and time such as 2015-05-15T10:34:12Z."
            faults.add(f"{place}/{name}", "results-manifest.time", message)


def _to_current(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a valid 1.0 manifest in the form of 1.1."""
    current = {name: value for name, value in document.items() if name != "files"}
    if "files" in document:
        current["output_data"] = [
            {"name": row["name"], "files": [{"path": path} for path in row["paths"]]}
            if "paths" in row
            else {"name": row["name"], "file": {"path": row["path"]}}
            for row in document["files"]
        ]
    return current


def _output(row: Mapping[str, Any]) -> ManifestOutput:
    is_list = "files" in row
    files = row["files"] if is_list else [row["file"]]
    return ManifestOutput(row["name"], tuple(_file(each) for each in files), is_list)


def _file(row: Mapping[str, Any]) -> ManifestFile:
    return ManifestFile(row["path"], GeoMetadata.of(row["geo_metadata"]) if "geo_metadata" in row else None)


def _row(output: ManifestOutput) -> dict[str, Any]:
    """Return the JSON object of an output that came from ARTIFACT lines."""
    if output.is_list:
        return {"name": output.name, "files": [{"path": each.path} for each in output.files]}
    return {"name": output.name, "file": {"path": output.files[0].path}}
