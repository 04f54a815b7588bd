# SPDX-License-Identifier: Apache-2.0
"""Recipe types as requests and export documents give them."""

from __future__ import annotations

from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.input_data import WorkspaceFacts
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.definitions.recipe_type_document import RecipeTypeDocument
from scale_airflow.errors import DocumentWarning, InvalidDocument

WORKSPACES = {"rs": WorkspaceFacts(1, "rs", True)}
JOB = JobInterface.parse(
    {
        "command": "a",
        "command_arguments": "",
        "input_data": [{"name": "input_file", "type": "file"}],
        "output_data": [{"name": "o", "type": "file"}],
    }
)
JOB_TYPES = {("my-job1", "1.2.3"): JOB, ("my-job2", "4.5.6"): JOB}
CLOCK = {"type": "CLOCK", "configuration": {"event_type": "A", "schedule": "PT1H"}}


def told(read: Any, document: object, **fields: Any) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        read(document, **fields)
    return [fault.path for fault in caught.value.faults]


def test_the_specifications_example() -> None:
    found = RecipeTypeDocument.parse(load("recipe-type.create"))
    assert (found.name, found.version) == ("my-recipe", "1.0")
    assert found.values == {"title": "My Recipe", "description": "This is a description of the recipe"}
    assert found.definition is not None
    assert [job.name for job in found.definition.jobs] == ["MyJob1", "MyJob2"]
    details = "Invalid media type for data input: input_file -> image/png"
    warnings = found.check(job_types=JOB_TYPES, workspaces=WORKSPACES)
    assert warnings == [DocumentWarning("media_type", details)]


def test_the_title_is_by_default_the_name() -> None:
    for title in ({}, {"title": None}, {"title": ""}):
        found = RecipeTypeDocument.parse({"name": "a", "version": "1", "definition": {"jobs": []}, **title})
        assert found.values == {"title": "a", "description": None}


def test_all_faults_are_told_at_once() -> None:
    document = {"name": "", "definition": {"jobs": 5}, "trigger_rule": {"type": "X"}, "x": 1}
    assert told(RecipeTypeDocument.parse, document) == [
        "",
        "/name",
        "/definition/jobs",
        "/trigger_rule",
        "/trigger_rule/type",
        "/x",
    ]


def test_references_are_checked_at_once() -> None:
    found = RecipeTypeDocument.parse(load("recipe-type.create"))
    assert told(lambda _: found.check(job_types={}, workspaces={}), None) == [
        "/definition/jobs/0/job_type",
        "/definition/jobs/1/job_type",
        "/trigger_rule/configuration/data/workspace_name",
    ]


def test_changes() -> None:
    found = RecipeTypeDocument.parse_changes({"description": "new"})
    assert (found.values, found.definition, found.trigger_rule) == ({"description": "new"}, None, None)
    assert told(RecipeTypeDocument.parse_changes, {"name": "b", "version": "2"}) == ["/name", "/version"]


def test_a_new_rule_is_checked_against_the_definition_that_stays() -> None:
    found = RecipeTypeDocument.parse_changes({"trigger_rule": CLOCK})
    assert found.check(job_types=JOB_TYPES, workspaces=WORKSPACES) == []
    definition = RecipeDefinition.parse(load("recipe-type.create")["definition"])
    faults = told(
        lambda _: found.check(job_types=JOB_TYPES, workspaces=WORKSPACES, definition=definition), None
    )
    # The job needs a file, and its products a workspace.
    assert faults == ["/trigger_rule/configuration"] * 2
    empty = RecipeDefinition.parse({"jobs": []})
    assert found.check(job_types=JOB_TYPES, workspaces=WORKSPACES, definition=empty) == []


def test_imports() -> None:
    found = RecipeTypeDocument.parse_import({"name": "a", "version": "1", "title": "T"})
    assert found.editing(existing_rule=None).values == {"title": "T"}
    with pytest.raises(InvalidDocument, match='"definition" is missing'):
        found.complete()
    assert told(RecipeTypeDocument.parse_import, {"title": "T"}) == ["", ""]
    complete = RecipeTypeDocument.parse_import(
        {"name": "a", "version": "1", "definition": {"jobs": []}}
    ).complete()
    assert complete.values == {"title": "a", "description": None}


def test_an_imported_rule_without_a_type() -> None:
    rule = {"configuration": CLOCK["configuration"]}
    found = RecipeTypeDocument.parse_import({"name": "a", "version": "1", "trigger_rule": rule})
    kept = found.editing(existing_rule="CLOCK").trigger_rule
    assert kept is not None
    assert kept.type == "CLOCK"
    with pytest.raises(InvalidDocument, match="needs a type"):
        found.editing(existing_rule=None)
