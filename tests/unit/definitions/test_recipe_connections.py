# SPDX-License-Identifier: Apache-2.0
"""Connections of a recipe against the interfaces of its job types."""

from __future__ import annotations

from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.errors import DocumentWarning, InvalidDocument


def interface(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> JobInterface:
    return JobInterface.parse(
        {"command": "a", "command_arguments": "", "input_data": inputs, "output_data": outputs}
    )


def recipe(source: dict[str, Any], wanted: dict[str, Any]) -> list[DocumentWarning]:
    """Check a recipe that passes its input to a job's input, and the job's output to another one's."""
    definition = RecipeDefinition.parse(
        {
            "input_data": [{"name": "source", **source}],
            "jobs": [
                {
                    "name": "a",
                    "job_type": {"name": "t", "version": "1"},
                    "recipe_inputs": [{"recipe_input": "source", "job_input": "wanted"}],
                }
            ],
        }
    )
    return definition.check({("t", "1"): interface([{"name": "wanted", **wanted}], [])})


def chain(output: dict[str, Any], wanted: dict[str, Any], name: str = "out") -> list[DocumentWarning]:
    definition = RecipeDefinition.parse(
        {
            "jobs": [
                {"name": "a", "job_type": {"name": "t", "version": "1"}},
                {
                    "name": "b",
                    "job_type": {"name": "u", "version": "1"},
                    "dependencies": [{"name": "a", "connections": [{"output": name, "input": "wanted"}]}],
                },
            ]
        }
    )
    types = {
        ("t", "1"): interface([], [{"name": "out", **output}]),
        ("u", "1"): interface([{"name": "wanted", **wanted}], []),
    }
    return definition.check(types)


def told(caught: pytest.ExceptionInfo[InvalidDocument]) -> list[tuple[str, str]]:
    return [(fault.path, fault.rule) for fault in caught.value.faults]


def test_the_specifications_example() -> None:
    definition = RecipeDefinition.parse(load("recipe-definition.geotiff"))
    types = {
        ("geotiff-maker", "1.2.3"): JobInterface.parse(load("job-interface.make-geotiff")),
        ("point-detector", "4.5.6"): JobInterface.parse(load("job-interface.detect-points")),
    }
    assert definition.check(types) == []


FITTING = [
    ("property", "property"),
    ("file", "file"),
    ("file", "files"),
    ("files", "files"),
]


@pytest.mark.parametrize("wanted", ["property", "file", "files"])
@pytest.mark.parametrize("source", ["property", "file", "files"])
def test_types(source: str, wanted: str) -> None:
    if (source, wanted) in FITTING:
        assert recipe({"type": source}, {"type": wanted}) == []
        return
    with pytest.raises(InvalidDocument) as caught:
        recipe({"type": source}, {"type": wanted})
    rule = "files-to-file" if (source, wanted) == ("files", "file") else "type-mismatch"
    assert told(caught) == [("/jobs/0/recipe_inputs/0", f"recipe-definition.{rule}")]


def test_outputs_fit_like_inputs() -> None:
    assert chain({"type": "file"}, {"type": "files"}) == []
    with pytest.raises(InvalidDocument) as caught:
        chain({"type": "files"}, {"type": "file"})
    assert told(caught) == [("/jobs/1/dependencies/0/connections/0", "recipe-definition.files-to-file")]
    with pytest.raises(InvalidDocument) as caught:
        chain({"type": "file"}, {"type": "property"})
    assert told(caught) == [("/jobs/1/dependencies/0/connections/0", "recipe-definition.type-mismatch")]


def test_an_optional_output_does_not_feed_a_required_input() -> None:
    with pytest.raises(InvalidDocument) as caught:
        chain({"type": "file", "required": False}, {"type": "file"})
    assert [fault.message for fault in caught.value.faults] == [
        'The input "wanted" is required, but the output "out" of the job "a" is optional and may be missing.'
    ]
    assert chain({"type": "file", "required": False}, {"type": "file", "required": False}) == []


@pytest.mark.parametrize(
    ("given", "accepted", "unfit"),
    [
        (["image/png"], ["image/png"], []),
        (["image/png", "text/csv"], ["image/png"], ["text/csv"]),
        ([], ["image/png"], ["application/octet-stream"]),
        ([], [], []),
        (["text/csv"], [], []),
        (["text/csv"], ["image/png", "application/octet-stream"], []),
    ],
)
def test_media_types_that_do_not_match_are_warnings(
    given: list[str], accepted: list[str], unfit: list[str]
) -> None:
    warnings = recipe({"type": "file", "media_types": given}, {"type": "file", "media_types": accepted})
    assert warnings == [
        DocumentWarning("media_type", f"Invalid media type for data input: wanted -> {each}")
        for each in unfit
    ]


def test_an_outputs_media_type() -> None:
    wanted = {"type": "file", "media_types": ["image/png"]}
    assert chain({"type": "file", "media_type": "image/png"}, wanted) == []
    details = "Invalid media type for data input: wanted -> text/csv"
    assert chain({"type": "file", "media_type": "text/csv"}, wanted) == [
        DocumentWarning("media_type", details)
    ]
    details = "Invalid media type for data input: wanted -> application/octet-stream"
    assert chain({"type": "file"}, wanted) == [DocumentWarning("media_type", details)]


def test_a_connection_to_an_unknown_output_is_ignored_with_a_warning() -> None:
    warnings = chain({"type": "file"}, {"type": "file", "required": False}, "uot")
    assert [warning.id for warning in warnings] == ["unknown_output"]
    assert warnings[0].details == (
        'The job "a" has no output "uot", so this is ignored. Known outputs: "out". Did you mean "out"?'
    )


def test_a_required_input_behind_an_unknown_output_is_missing() -> None:
    with pytest.raises(InvalidDocument) as caught:
        chain({"type": "file"}, {"type": "file"}, "uot")
    assert told(caught) == [("/jobs/1", "recipe-definition.missing-input")]


def test_a_connection_to_an_unknown_input_is_ignored_with_a_warning() -> None:
    definition = RecipeDefinition.parse(
        {
            "input_data": [{"name": "source", "type": "file"}],
            "jobs": [
                {
                    "name": "a",
                    "job_type": {"name": "t", "version": "1"},
                    "recipe_inputs": [{"recipe_input": "source", "job_input": "x"}],
                }
            ],
        }
    )
    (warning,) = definition.check({("t", "1"): interface([], [])})
    assert warning == DocumentWarning(
        "unknown_input", 'The job "a" has no input "x", so this is ignored. There are no inputs.'
    )


def test_unknown_job_types_name_what_exists() -> None:
    definition = RecipeDefinition.parse(
        {
            "jobs": [
                {"name": "a", "job_type": {"name": "geotif", "version": "1"}},
                {
                    "name": "b",
                    "job_type": {"name": "geotiff", "version": "3"},
                    "dependencies": [{"name": "a", "connections": [{"output": "o", "input": "i"}]}],
                },
            ]
        }
    )
    types = {("geotiff", version): interface([{"name": "i", "type": "file"}], []) for version in ("1", "2")}
    with pytest.raises(InvalidDocument) as caught:
        definition.check(types)
    assert [(fault.path, fault.message) for fault in caught.value.faults] == [
        (
            "/jobs/0/job_type",
            'There is no job type "geotif" with the version "1". '
            'Known job types: "geotiff". Did you mean "geotiff"?',
        ),
        (
            "/jobs/1/job_type",
            'There is no job type "geotiff" with the version "3". Known versions: "1", "2".',
        ),
    ]


def test_what_an_unknown_job_type_would_produce_is_not_asked_for() -> None:
    definition = RecipeDefinition.parse(
        {
            "jobs": [
                {"name": "a", "job_type": {"name": "missing", "version": "1"}},
                {
                    "name": "b",
                    "job_type": {"name": "t", "version": "1"},
                    "dependencies": [{"name": "a", "connections": [{"output": "o", "input": "i"}]}],
                },
            ]
        }
    )
    with pytest.raises(InvalidDocument) as caught:
        definition.check({("t", "1"): interface([{"name": "i", "type": "file"}], [])})
    assert told(caught) == [("/jobs/0/job_type", "recipe-definition.unknown-job-type")]
