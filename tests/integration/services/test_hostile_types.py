# SPDX-License-Identifier: Apache-2.0
"""Whatever stands anywhere in a document, it is accepted, or refused with its faults; nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from scale_airflow.errors import InvalidDocument, InvalidRequest
from scale_airflow.services import (
    errors,
    installation,
    job_types,
    recipe_types,
    setup,
    transfer,
    workspaces,
)

from .documents import interface, job_type, recipe_type, rule, workspace

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    10**400,
    1e300,
    "",
    " ",
    "x" * 300,
    "a\nb",
    "${nothing}",
    "'",
    "../..",
    "スケール",
    [],
    {},
    [None],
    {"": None},
    [[]],
    {"version": "9.9"},
)

FULL = job_type(
    trigger_rule=rule(),
    interface=interface(outputs=("image",)),
    error_mapping={"version": "1.0", "exit_codes": {"1": "unknown"}},
    configuration={"env_vars": {"A": "b"}, "docker_params": [["user", "1"]]},
    category="a",
    docker_image="image:1",
    max_scheduled=1,
)
CLOCK = {
    "type": "CLOCK",
    "configuration": {
        "version": "1.0",
        "event_type": "NIGHTLY",
        "schedule": "PT1H",
        "data": {"input_data": [{"name": "x", "value": "y"}], "workspace_name": "products"},
    },
}


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a document."""
    yield path
    pairs: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(document, dict):
        pairs = iter(document.items())
    elif isinstance(document, list):
        pairs = iter(enumerate(document))
    for key, value in pairs:
        yield from places(value, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with another value at a path."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def attack(check: Callable[[Any], object], document: Any) -> None:
    check(document)
    for path in places(document):
        for value in ODD:
            refusal = refused(check, replaced(document, path, value))
            if isinstance(refusal, InvalidDocument):
                assert refusal.faults, (path, value)


def refused(check: Callable[[Any], object], document: Any) -> InvalidDocument | InvalidRequest | None:
    try:
        check(document)
    except (InvalidDocument, InvalidRequest) as error:
        return error
    return None


@pytest.fixture
def installed(session: Session) -> Session:
    installation.initialize(session)
    workspaces.create_workspace(session, workspace())
    job_types.create_job_type(session, job_type(), publish=False)
    return session


def test_job_types(installed: Session) -> None:
    attack(lambda document: job_types.validate_job_type(installed, document), FULL)


def test_recipe_types(installed: Session) -> None:
    for document in (recipe_type(trigger_rule=rule()), recipe_type(runs=(), trigger_rule=None)):
        attack(lambda odd: recipe_types.validate_recipe_type(installed, odd), document)


def test_clock_rules(installed: Session) -> None:
    inputs = [{"name": "x", "type": "property"}]
    document = job_type(
        "clocked", interface=interface(input_data=inputs, command_arguments="${x}"), trigger_rule=CLOCK
    )
    attack(lambda odd: job_types.validate_job_type(installed, odd), document)


def test_edits(installed: Session) -> None:
    found = job_types.find_job_type(installed, "my-job", "1.0")
    assert found is not None

    def edit(document: Any) -> None:
        trial = installed.begin_nested()
        try:
            job_types.edit_job_type(installed, found.id, document, publish=False)
        finally:
            trial.rollback()

    attack(edit, {**FULL, "is_paused": True})


def test_imports(installed: Session) -> None:
    errors_ = [{"name": "e", "title": "E", "description": "", "category": "DATA"}]
    document = {"version": "1.0", "errors": errors_, "job_types": [FULL], "recipe_types": [recipe_type("r")]}
    attack(lambda odd: transfer.validate_import(installed, odd), document)


def test_workspaces_and_errors(installed: Session) -> None:
    attack(lambda odd: workspaces.validate_workspace(installed, odd), workspace("w"))

    def create(document: Any) -> None:
        trial = installed.begin_nested()
        try:
            errors.create_error(installed, document)
        finally:
            trial.rollback()

    attack(create, {"name": "e", "title": "E", "description": "", "category": "DATA"})


def test_set_ups(installed: Session, tmp_path: Path) -> None:
    def apply(document: Any) -> None:
        trial = installed.begin_nested()
        try:
            setup.apply_setup(installed, document, tmp_path)
        finally:
            trial.rollback()

    attack(apply, {"version": "1.0", "workspaces": [workspace("w")], "strikes": []})
