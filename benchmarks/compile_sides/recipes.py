# SPDX-License-Identifier: Apache-2.0
"""The recipe types that are compiled: N types of five jobs each, in the form that each side reads.

A recipe is a diamond with a tail: two jobs in a row, two beside each other, one that joins them. The files
are the same tasks and edges on all sides: a JSON document a recipe type, a Python file with one literal for
the hand-written loop, a YAML file a DAG.
"""

from __future__ import annotations

import json
import pprint
from pathlib import Path
from typing import Any

IMAGE = "registry.example.com/algorithms/step:1.0.0"
# Of each job: its name, and each parent with the connections from the parent's outputs to its own inputs.
JOBS: dict[str, dict[str, list[tuple[str, str]]]] = {
    "unpack": {},
    "convert": {"unpack": [("image", "source_image"), ("table", "source_table")]},
    "detect": {"convert": [("image", "source_image")]},
    "shade": {"convert": [("image", "source_image")]},
    "report": {"detect": [("table", "source_table")], "shade": [("image", "source_image")]},
}


def job_types() -> list[dict[str, Any]]:
    """Return the five job types, with the interfaces that the connections need."""
    return [{"name": name, "version": "1.0.0", "interface": _interface(name)} for name in JOBS]


def definition() -> dict[str, Any]:
    """Return the recipe definition; it is the same for all types, as names are no part of it."""
    jobs: list[dict[str, Any]] = []
    for name, parents in JOBS.items():
        job: dict[str, Any] = {
            "name": name,
            "job_type": {"name": name, "version": "1.0.0"},
            "dependencies": [
                {
                    "name": parent,
                    "connections": [{"output": output, "input": taken} for output, taken in connections],
                }
                for parent, connections in parents.items()
            ],
        }
        if not parents:
            job["recipe_inputs"] = [{"recipe_input": "scene", "job_input": "scene"}]
        jobs.append(job)
    scene = {"name": "scene", "type": "file", "required": True, "media_types": ["application/zip"]}
    return {"version": "1.0", "input_data": [scene], "jobs": jobs}


def command(job: str) -> list[str]:
    """Return the command line that the sides without Scale's documents give a container."""
    return [job, "/inputs", "/outputs"]


def recipe_name(number: int) -> str:
    """Return the name of a recipe type."""
    return f"recipe-{number:04d}"


def write_documents(folder: Path, count: int) -> None:
    """Write what Scale reads: the job types and a document for each recipe type."""
    folder.mkdir(parents=True)
    (folder / "job_types.json").write_text(json.dumps(job_types(), indent=2))
    text = json.dumps(definition(), indent=2)
    for number in range(count):
        (folder / f"{recipe_name(number)}.json").write_text(text)


def write_literal(path: Path, count: int) -> None:
    """Write what the hand-written loop reads: the tasks of all DAGs as one Python literal."""
    tasks = [(job, IMAGE, command(job), list(parents)) for job, parents in JOBS.items()]
    dags = {recipe_name(number): tasks for number in range(count)}
    path.write_text(f"DAGS = {pprint.pformat(dags, width=110)}\n")


def write_yaml(folder: Path, count: int) -> None:
    """Write what dag-factory reads: a YAML file for each DAG."""
    folder.mkdir(parents=True)
    for number in range(count):
        lines = [
            f"{recipe_name(number)}:",
            "  schedule: null",
            "  catchup: false",
            "  tags: [recipe]",
            "  default_args:",
            "    owner: scale",
            "    start_date: 2026-01-01",
            "  tasks:",
        ]
        for job, parents in JOBS.items():
            lines += [
                f"    - task_id: {job}",
                "      operator: airflow.providers.docker.operators.docker.DockerOperator",
                f"      image: {IMAGE}",
                f"      command: {json.dumps(command(job))}",
                "      mount_tmp_dir: false",
                f"      pool: {job}",
                "      retries: 3",
                f"      dependencies: {json.dumps(list(parents))}",
            ]
        (folder / f"{recipe_name(number)}.yaml").write_text("\n".join(lines) + "\n")


def _interface(name: str) -> dict[str, Any]:
    media_types = {
        "scene": "application/zip",
        "image": "image/tiff",
        "source_image": "image/tiff",
        "table": "text/csv",
        "source_table": "text/csv",
    }
    inputs = ["scene"] if name == "unpack" else _names(JOBS[name].values(), 1)
    outputs = _names(
        [
            connections
            for parents in JOBS.values()
            for parent, connections in parents.items()
            if parent == name
        ],
        0,
    )
    return {
        "version": "1.0",
        "command": f"{name} --quiet",
        "command_arguments": " ".join([*(f"${{{each}}}" for each in inputs), "${job_output_dir}"]),
        "input_data": [
            {"name": each, "type": "file", "required": True, "media_types": [media_types[each]]}
            for each in inputs
        ],
        "output_data": [
            {"name": each, "type": "file", "required": True, "media_type": media_types[each]}
            for each in outputs
        ],
    }


def _names(connections: Any, side: int) -> list[str]:
    return sorted({pair[side] for pairs in connections for pair in pairs})
