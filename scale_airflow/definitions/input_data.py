# SPDX-License-Identifier: Apache-2.0
"""The ``input_data`` of job data and recipe data: what is passed to each input, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scale_airflow.definitions.documents import check_unique, rows, text_of
from scale_airflow.definitions.faults import MAX_WARNINGS, Faults, quote, quote_all, with_choice
from scale_airflow.definitions.job_interface import InterfaceInput
from scale_airflow.errors import DocumentWarning


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known about a file that is passed to an input; ``file_size`` in bytes."""

    id: int
    file_name: str
    media_type: str
    file_size: int


@dataclass(frozen=True, slots=True)
class WorkspaceFacts:
    """What is known about a workspace that is to store produced files."""

    id: int
    name: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class DataInput:
    """What is passed to one input: a text or files, the other is None.

    ``is_list`` says whether the document gave ``file_ids``.
    """

    name: str
    value: str | None = None
    file_ids: tuple[int, ...] | None = None
    is_list: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> DataInput:
        """Build the data from its valid JSON object."""
        if "file_ids" in row:
            return cls(row["name"], None, tuple(row["file_ids"]), True)
        if "file_id" in row:
            return cls(row["name"], None, (row["file_id"],))
        return cls(row["name"], row.get("value"))

    def to_row(self) -> dict[str, Any]:
        """Return the JSON object."""
        if self.file_ids is None:
            return {"name": self.name} if self.value is None else {"name": self.name, "value": self.value}
        if self.is_list:
            return {"name": self.name, "file_ids": list(self.file_ids)}
        return {"name": self.name, "file_id": self.file_ids[0]}


_FIELDS = ("value", "file_id", "file_ids")
_FIELDS_OF_TYPE = {"property": ("value",), "file": ("file_id",), "files": ("file_ids", "file_id")}


def check_rows(document: object, faults: Faults) -> None:
    """Check what can be said of ``input_data`` without knowing the inputs."""
    names = [
        (f"/input_data/{index}/name", text_of(row, "name")) for index, row in rows(document, "input_data")
    ]
    check_unique(faults, "data.duplicate-input", "input", names)
    for index, row in rows(document, "input_data"):
        given = [field for field in _FIELDS if field in row]
        if len(given) > 1:
            message = f"Only one of {quote_all(_FIELDS)} can be given, but there are {quote_all(given)}."
            faults.add(f"/input_data/{index}", "data.several-values", message)


def check_inputs(
    inputs: Sequence[InterfaceInput],
    given: Sequence[DataInput],
    files: Mapping[int, FileFacts],
    faults: Faults,
) -> list[DocumentWarning]:
    """Check that the data fits the inputs of a job or recipe.

    Data for inputs that don't exist is ignored by Scale; it only gives a warning.
    """
    by_name = {each.name: each for each in inputs}
    warnings: list[DocumentWarning] = []
    for index, data in enumerate(given):
        wanted = by_name.get(data.name)
        if wanted is not None:
            _check_input(wanted, data, f"/input_data/{index}", files, faults)
            continue
        if len(warnings) < MAX_WARNINGS:
            details = f"There is no input {quote(data.name)}, so its data is ignored."
            warnings.append(
                DocumentWarning("unknown_input", with_choice(details, "inputs", data.name, by_name))
            )
    provided = {data.name for data in given}
    for each in inputs:
        if each.required and each.name not in provided:
            message = f"The input {quote(each.name)} ({each.type}) is required, but has no data."
            faults.add("/input_data", "data.missing-input", message)
    return warnings


def _check_input(
    wanted: InterfaceInput, data: DataInput, place: str, files: Mapping[int, FileFacts], faults: Faults
) -> None:
    fields = _FIELDS_OF_TYPE[wanted.type]
    field = "file_ids" if data.is_list else "file_id" if data.file_ids is not None else "value"
    if data.file_ids is None and data.value is None:
        message = f"The {wanted.type} input {quote(data.name)} needs {quote(fields[0])}."
        faults.add(place, "data.missing-value", message)
        return
    if field not in fields:
        message = f"The {wanted.type} input {quote(data.name)} takes {quote_all(fields)}, not {quote(field)}."
        faults.add(f"{place}/{field}", "data.wrong-value", message)
        return
    for index, file_id in enumerate(data.file_ids or ()):
        where = f"{place}/{field}" + (f"/{index}" if data.is_list else "")
        file = files.get(file_id)
        if file is None:
            message = f"There is no file {file_id}, which is given for the input {quote(data.name)}."
            faults.add(where, "data.unknown-file", message)
        elif not wanted.accepts(file.media_type):
            message = (
                f"The file {quote(file.file_name)} ({file_id}) has the media type {quote(file.media_type)}, "
                f"but the input {quote(data.name)} takes only {quote_all(wanted.media_types)}."
            )
            faults.add(where, "data.media-type", message)
    if data.is_list and not data.file_ids and wanted.required:
        message = f"The input {quote(data.name)} is required, so it needs at least one file."
        faults.add(f"{place}/{field}", "data.no-files", message)


def check_workspace(
    workspace_id: int, place: str, workspaces: Mapping[int, WorkspaceFacts], faults: Faults
) -> None:
    """Check that a workspace exists and is active."""
    workspace = workspaces.get(workspace_id)
    if workspace is None:
        faults.add(place, "data.unknown-workspace", f"There is no workspace {workspace_id}.")
    elif not workspace.is_active:
        message = f"The workspace {quote(workspace.name)} ({workspace_id}) is not active."
        faults.add(place, "data.inactive-workspace", message)
