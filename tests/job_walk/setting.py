# SPDX-License-Identifier: Apache-2.0
"""The installation that the walks take place in: types of jobs and recipes, errors, a large node."""

from __future__ import annotations

from typing import Any

import pytest
import reference_model as model
from sqlalchemy import text
from work import STEP
from world import World

from scale_airflow.services import reconcile as reconciler
from scale_airflow.services.errors import create_error

GRAPHS: dict[str, dict[str, list[str]]] = {
    "chain": {"a": [], "b": ["a"], "c": ["b"]},
    "diamond": {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]},
    "pair": {"a": [], "b": []},
}
MAPPINGS: list[dict[int, str]] = [
    {},
    {1: "bad-data", 2: "bad-code", 3: "bad-disk"},
    {1: "bad-disk", 2: "bad-data", 4: "bad-code"},
]
WORK = ("scale_job", "scale_recipe", "scale_queue_entry", "scale_repair", "dag_run", "task_instance")


def step_interface(command: str = "run") -> dict[str, Any]:
    return {
        "version": "1.0",
        "command": command,
        "command_arguments": "${input} ${extra} ${job_output_dir}",
        "input_data": [
            {"name": "input", "type": "file"},
            {"name": "extra", "type": "file", "required": False},
        ],
        "output_data": [{"name": "output", "type": "file"}],
    }


def definition_of(graph: dict[str, list[str]]) -> dict[str, Any]:
    """A recipe of that shape; its jobs take their first parent's output, and optionally their second's."""
    made = []
    for name, parents in graph.items():
        entry: dict[str, Any] = {"name": name, "job_type": STEP}
        if parents:
            entry["dependencies"] = [
                {"name": parent, "connections": [{"output": "output", "input": ("input", "extra")[index]}]}
                for index, parent in enumerate(parents)
            ]
        else:
            entry["recipe_inputs"] = [
                {"recipe_input": "scene", "job_input": "input"},
                {"recipe_input": "more", "job_input": "extra"},
            ]
        made.append(entry)
    inputs = [{"name": "scene", "type": "file"}, {"name": "more", "type": "file", "required": False}]
    return {"version": "1.0", "input_data": inputs, "jobs": made}


def furnish(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add what the walks need to an installation."""
    monkeypatch.setenv("AIRFLOW__SCALE__MAX_NODE_ERRORS", "1000000")
    monkeypatch.setattr(reconciler.log, "exception", no_repair_fails)
    made.beat(cpus=1000.0)
    for name, category in model.CATEGORIES.items():
        # A user's errors are never of the system: one that is stands for a built-in one.
        body = {"name": name, "title": name, "description": name, "category": "DATA"}
        create_error(made.session, body)
        made.session.execute(
            text("UPDATE scale_error SET category = :category WHERE name = :name"),
            {"name": name, "category": category},
        )
    made.job_type("one", step_interface(), max_tries=2)
    made.job_type("daemon", step_interface(), max_tries=1, is_long_running=True, timeout=0)
    made.job_type("step", step_interface(), max_tries=2)
    for name, graph in GRAPHS.items():
        made.recipe_type(name, definition_of(graph)["jobs"], definition=definition_of(graph))


def no_repair_fails(message: str, *of: object) -> None:
    raise AssertionError(message % of)
