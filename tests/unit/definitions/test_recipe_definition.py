# SPDX-License-Identifier: Apache-2.0
"""Recipe definitions: the graph, and what can be said without the job types."""

from __future__ import annotations

from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.job_interface import InterfaceInput
from scale_airflow.definitions.recipe_definition import Dependency, RecipeDefinition, RecipeJob
from scale_airflow.errors import InvalidDocument


def job(name: str, *needs: str, **fields: Any) -> dict[str, Any]:
    dependencies = [{"name": each} for each in needs]
    return {"name": name, "job_type": {"name": "t", "version": "1"}, "dependencies": dependencies, **fields}


def told(document: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        RecipeDefinition.parse(document)
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_the_specifications_example() -> None:
    definition = RecipeDefinition.parse(load("recipe-definition.geotiff"))
    assert definition.inputs == (
        InterfaceInput("image", "file", True, ("image/png",)),
        InterfaceInput("georeference_data", "file", True, ("text/csv",)),
    )
    make, detect = definition.jobs
    assert make == RecipeJob(
        "make_geotiff",
        "geotiff-maker",
        "1.2.3",
        (("image", "image"), ("georeference_data", "georeference_data")),
    )
    assert detect == RecipeJob(
        "detect_points",
        "point-detector",
        "4.5.6",
        dependencies=(Dependency("make_geotiff", (("geo_image", "image"),)),),
    )
    assert definition.job("detect_points") is detect
    assert definition.topological_order() == (make, detect)
    assert definition.roots() == (make,)
    assert definition.children("make_geotiff") == (detect,)
    assert definition.children("detect_points") == ()
    assert definition.job_types() == {("geotiff-maker", "1.2.3"), ("point-detector", "4.5.6")}
    assert definition.input("image") == definition.inputs[0]
    assert definition.input("x") is None
    with pytest.raises(KeyError):
        definition.job("x")


def test_a_recipe_without_jobs() -> None:
    definition = RecipeDefinition.parse({"jobs": []})
    assert (definition.jobs, definition.topological_order(), definition.roots()) == ((), (), ())


def test_jobs_stand_behind_those_they_need_otherwise_in_the_given_order() -> None:
    definition = RecipeDefinition.parse(
        {"jobs": [job("d", "b", "c"), job("c", "a"), job("b", "a"), job("a")]}
    )
    assert [each.name for each in definition.topological_order()] == ["a", "c", "b", "d"]
    assert [each.name for each in definition.children("a")] == ["c", "b"]


@pytest.mark.parametrize("name", ["Ünïcode – 测试", "a.b", "a" * 255, " "])
def test_any_letters_in_names_of_job_types(name: str) -> None:
    document = {"jobs": [{"name": "a", "job_type": {"name": name, "version": name}}]}
    assert RecipeDefinition.parse(document).job_types() == {(name, name)}


@pytest.mark.parametrize("name", ["", "a" * 256, "a\n", "\x7f"])
def test_names_of_job_types_that_can_not_exist(name: str) -> None:
    document = {"jobs": [{"name": "a", "job_type": {"name": name, "version": "1"}}]}
    assert [place for place, _ in told(document)] == ["/jobs/0/job_type/name"]


def test_a_job_that_needs_itself() -> None:
    message = 'These jobs wait for each other and could never start: "a" needs "a".'
    assert told({"jobs": [job("a", "a")]}) == [("/jobs/0/dependencies", message)]


def test_every_circle_is_told() -> None:
    jobs = [job("a", "b"), job("b", "c"), job("c", "a"), job("d", "a"), job("x", "y"), job("y", "x")]
    assert [place for place, _ in told({"jobs": jobs})] == ["/jobs/0/dependencies", "/jobs/4/dependencies"]


def test_an_input_is_connected_once_whatever_from() -> None:
    needs = [{"name": "a", "connections": [{"output": "o", "input": "i"}, {"output": "p", "input": "i"}]}]
    document = {
        "input_data": [{"name": "r", "type": "file"}],
        "jobs": [
            job("a"),
            job("b", recipe_inputs=[{"recipe_input": "r", "job_input": "i"}], dependencies=needs),
        ],
    }
    place = "/jobs/1/dependencies/0/connections/{}/input"
    message = 'The job input "i" is connected more than once.'
    assert told(document) == [(place.format(0), message), (place.format(1), message)]


def test_faults_everywhere_are_told_at_once() -> None:
    document = {
        "input_data": [{"name": "image"}, {"name": "image", "type": "file"}],
        "jobs": [
            job("make", recipe_inputs=[{"recipe_input": "imag", "job_input": "i"}]),
            job("detect", "mak", note=1),
            {"name": "x"},
        ],
    }
    fields = '"name", "job_type", "recipe_inputs", "dependencies"'
    assert told(document) == [
        ("/input_data/0", 'The required field "type" is missing.'),
        ("/input_data/1/name", 'There is more than one input with the name "image".'),
        (
            "/jobs/0/recipe_inputs/0/recipe_input",
            'The recipe has no input "imag". Known inputs: "image". Did you mean "image"?',
        ),
        (
            "/jobs/1/dependencies/0/name",
            'The recipe has no job "mak". Known jobs: "detect", "make", "x". Did you mean "make"?',
        ),
        ("/jobs/1/note", f'There is no field "note" here; the fields are {fields}.'),
        ("/jobs/2", 'The required field "job_type" is missing.'),
    ]
