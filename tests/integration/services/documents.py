# SPDX-License-Identifier: Apache-2.0
"""Documents of types that the tests of the services use."""

from __future__ import annotations

from typing import Any

PNG = "image/png"


def interface(
    *, input_name: str = "input_file", outputs: tuple[str, ...] = (), **changes: Any
) -> dict[str, Any]:
    """An interface with one required PNG file and some optional outputs."""
    return {
        "version": "1.0",
        "command": "run",
        "command_arguments": f"${{{input_name}}} ${{job_output_dir}}",
        "input_data": [{"name": input_name, "type": "file", "required": True, "media_types": [PNG]}],
        "output_data": [
            {"name": name, "type": "file", "required": True, "media_type": PNG} for name in outputs
        ],
        "shared_resources": [],
        **changes,
    }


def job_type(name: str = "my-job", version: str = "1.0", **changes: Any) -> dict[str, Any]:
    """A job type with one input."""
    return {"name": name, "version": version, "interface": interface(), **changes}


def rule(kind: str = "PARSE", *, input_name: str = "input_file", **changes: Any) -> dict[str, Any]:
    """A trigger rule that passes a PNG file."""
    return {
        "type": kind,
        "configuration": {
            "version": "1.0",
            "condition": {"media_type": PNG, "data_types": []},
            "data": {"input_data_name": input_name, "workspace_name": "products"},
        },
        **changes,
    }


def workspace(name: str = "products", directory: str = "/nowhere/at/all") -> dict[str, Any]:
    """A workspace in a directory."""
    return {
        "name": name,
        "title": name.title(),
        "json_config": {"version": "1.0", "broker": {"type": "host", "path": directory}},
    }


def definition(*job_types: tuple[str, str]) -> dict[str, Any]:
    """A recipe that passes its one PNG to a job of each type."""
    return {
        "version": "1.0",
        "input_data": [{"name": "input_file", "type": "file", "required": True, "media_types": [PNG]}],
        "jobs": [
            {
                "name": f"job {number}",
                "job_type": {"name": name, "version": version},
                "recipe_inputs": [{"recipe_input": "input_file", "job_input": "input_file"}],
            }
            for number, (name, version) in enumerate(job_types, 1)
        ],
    }


def recipe_type(
    name: str = "my-recipe",
    version: str = "1.0",
    *,
    runs: tuple[tuple[str, str], ...] = (("my-job", "1.0"),),
    **changes: Any,
) -> dict[str, Any]:
    """A recipe type that runs these job types."""
    return {"name": name, "version": version, "definition": definition(*runs), **changes}
