# SPDX-License-Identifier: Apache-2.0
"""The form that Airflow shows when somebody starts a recipe's or job's DAG by hand, and what it means.

The fields are the inputs by name and the workspace for what is produced. All may be empty to Airflow, since
the runs that Scale itself creates carry an address instead; what is required is checked at the adoption of a
run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: dict[str, dict[str, Any]] = {
    "property": {"type": ["null", "string"]},
    "file": {"type": ["null", "integer"]},
    "files": {"type": ["null", "array"], "items": {"type": "integer"}},
}
_DESCRIPTIONS = {
    "property": "Text that is passed to the input",
    "file": "Identifier of a file in Scale",
    "files": "Identifiers of files in Scale",
}


def form_fields(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the fields of a recipe definition's or job interface's form: name → JSON Schema of its value."""
    fields = {name: _field(name, kind, required, types) for name, kind, required, types in _inputs(document)}
    fields[workspace_field(document)] = {
        "type": ["null", "integer"],
        "title": "Workspace",
        "description": "Identifier of the workspace for what is produced",
    }
    return fields


def workspace_field(document: Mapping[str, Any]) -> str:
    """Return the name of the form's workspace field: one that no input has."""
    taken = {name for name, *_ in _inputs(document)}
    field = "workspace_id"
    while field in taken:
        field = f"scale_{field}"
    return field


def recipe_data(definition: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe data (specification: Recipe Data) that a form's answers stand for.

    The result is not checked: a wrong or missing answer shows when it is parsed as recipe data.
    """
    data: dict[str, Any] = {"version": "1.0", "input_data": _answered_inputs(definition, answers)}
    workspace = answers.get(workspace_field(definition))
    if workspace is not None:
        data["workspace_id"] = workspace
    return data


def job_data(interface: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job data (specification: Job Data) that a form's answers stand for, unchecked."""
    workspace = answers.get(workspace_field(interface))
    outputs = interface.get("output_data", ()) if workspace is not None else ()
    return {
        "version": "1.0",
        "input_data": _answered_inputs(interface, answers),
        "output_data": [{"name": output["name"], "workspace_id": workspace} for output in outputs],
    }


def _answered_inputs(document: Mapping[str, Any], answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    value_keys = {"property": "value", "file": "file_id", "files": "file_ids"}
    return [
        {"name": name, value_keys[kind]: answers[name]}
        for name, kind, _, _ in _inputs(document)
        if answers.get(name) is not None
    ]


def _inputs(document: Mapping[str, Any]) -> Iterator[tuple[str, str, bool, list[str]]]:
    for entry in document.get("input_data", ()):
        yield entry["name"], entry["type"], entry.get("required", True), entry.get("media_types", [])


def _field(name: str, kind: str, required: bool, media_types: list[str]) -> dict[str, Any]:
    accepted = f" ({', '.join(media_types)})" if media_types else ""
    need = "required" if required else "optional"
    return {**_TYPES[kind], "title": name, "description": f"{_DESCRIPTIONS[kind]}{accepted}; {need}"}
