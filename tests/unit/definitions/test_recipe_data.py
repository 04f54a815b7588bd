# SPDX-License-Identifier: Apache-2.0
"""Recipe data, and the job data that follow from it."""

from __future__ import annotations

from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.input_data import DataInput, FileFacts, WorkspaceFacts
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_results import JobResults
from scale_airflow.definitions.recipe_data import RecipeData, job_data_for
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.errors import InvalidDocument

FILES = {
    1234: FileFacts(1234, "scene.png", "image/png", 10),
    1235: FileFacts(1235, "scene.csv", "text/csv", 10),
}
WORKSPACES = {12: WorkspaceFacts(12, "products", True)}
GEOTIFF = RecipeDefinition.parse(load("recipe-definition.geotiff"))
MAKE = JobInterface.parse(load("job-interface.make-geotiff"))
DETECT = JobInterface.parse(load("job-interface.detect-points"))
DATA = RecipeData.parse(load("recipe-data.geotiff"))


def test_the_specifications_example() -> None:
    assert DATA.inputs == (DataInput("image", None, (1234,)), DataInput("georeference_data", None, (1235,)))
    assert DATA.workspace_id == 12
    assert DATA.file_ids() == (1234, 1235)
    assert DATA.input("image") == DATA.inputs[0]
    assert DATA.input("x") is None
    assert DATA.check(GEOTIFF, FILES, WORKSPACES, needs_workspace=True) == []


@pytest.mark.parametrize("document", [None, {}])
def test_nothing(document: object) -> None:
    data = RecipeData.parse(document)
    assert (data.inputs, data.workspace_id) == ((), None)
    assert data.check(RecipeDefinition.parse({"jobs": []}), {}, {}, needs_workspace=False) == []


@pytest.mark.parametrize("workspace_id", [True, 1.0, "12", None, 0])
def test_a_workspace_is_a_number(workspace_id: object) -> None:
    with pytest.raises(InvalidDocument) as caught:
        RecipeData.parse({"workspace_id": workspace_id})
    assert [fault.path for fault in caught.value.faults] == ["/workspace_id"]


def test_all_faults_are_told_at_once() -> None:
    data = RecipeData.parse({"input_data": [{"name": "image", "file_id": 1235}], "workspace_id": 13})
    with pytest.raises(InvalidDocument) as caught:
        data.check(GEOTIFF, FILES, WORKSPACES, needs_workspace=True)
    assert [fault.rule for fault in caught.value.faults] == [
        "data.missing-input",
        "data.media-type",
        "data.unknown-workspace",
    ]


def test_the_first_job_gets_the_recipes_inputs() -> None:
    data = job_data_for(GEOTIFF, "make_geotiff", MAKE, DATA, {})
    assert data.document == load("job-data.make-geotiff")


def test_the_next_job_gets_its_parents_output() -> None:
    results = JobResults({"geo_image": (77,)}, {"geo_image": False})
    data = job_data_for(GEOTIFF, "detect_points", DETECT, DATA, {"make_geotiff": results})
    assert data.inputs == (DataInput("image", None, (77,)),)
    assert data.outputs == {"geo_image": 12}


def recipe(**connections: Any) -> RecipeDefinition:
    return RecipeDefinition.parse(
        {
            "input_data": [
                {"name": "text", "type": "property", "required": False},
                {"name": "scenes", "type": "files", "required": False},
            ],
            "jobs": [
                {"name": "first", "job_type": {"name": "t", "version": "1"}},
                {"name": "second", "job_type": {"name": "t", "version": "1"}, **connections},
            ],
        }
    )


CONSUMER = JobInterface.parse(
    {
        "command": "a",
        "command_arguments": "",
        "input_data": [
            {"name": "word", "type": "property", "required": False},
            {"name": "many", "type": "files", "required": False},
        ],
    }
)


def test_texts_and_lists_are_passed_on() -> None:
    definition = recipe(
        recipe_inputs=[
            {"recipe_input": "text", "job_input": "word"},
            {"recipe_input": "scenes", "job_input": "many"},
        ]
    )
    data = RecipeData.parse(
        {"input_data": [{"name": "text", "value": "a b"}, {"name": "scenes", "file_ids": [1, 2]}]}
    )
    assert job_data_for(definition, "second", CONSUMER, data, {}).inputs == (
        DataInput("word", "a b"),
        DataInput("many", None, (1, 2), True),
    )
    # A single file for a files input becomes a list; what was not given is left out.
    single = RecipeData.parse({"input_data": [{"name": "scenes", "file_id": 3}]})
    inputs = job_data_for(definition, "second", CONSUMER, single, {}).inputs
    assert inputs == (DataInput("many", None, (3,), True),)


def test_outputs_become_lists_and_missing_ones_are_left_out() -> None:
    definition = recipe(
        dependencies=[
            {
                "name": "first",
                "connections": [{"output": "o", "input": "many"}, {"output": "p", "input": "word"}],
            }
        ]
    )
    results = {"first": JobResults({"o": (5,)}, {"o": False})}
    data = job_data_for(definition, "second", CONSUMER, RecipeData.parse({}), results)
    assert data.inputs == (DataInput("many", None, (5,), True),)
    assert data.outputs == {}


def test_programming_errors_are_not_hidden() -> None:
    with pytest.raises(KeyError):
        job_data_for(GEOTIFF, "x", MAKE, DATA, {})
    with pytest.raises(KeyError):
        job_data_for(GEOTIFF, "detect_points", DETECT, DATA, {})
    with pytest.raises(ValueError, match="no workspace"):
        job_data_for(GEOTIFF, "make_geotiff", MAKE, RecipeData.parse({}), {})
