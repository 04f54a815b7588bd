# SPDX-License-Identifier: Apache-2.0
"""Job interfaces: what they hold, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.job_interface import (
    InterfaceInput,
    InterfaceOutput,
    JobInterface,
    SharedResource,
)
from scale_airflow.errors import InvalidDocument


def faults(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        JobInterface.parse({"command": "a", "command_arguments": "", **fields})
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_the_specifications_example() -> None:
    interface = JobInterface.parse(load("job-interface.make-geotiff"))
    assert interface.version == "1.0"
    assert interface.command_words == ["python", "make_geotiff.py"]
    assert interface.inputs == (
        InterfaceInput("image", "file", True, ("image/png",)),
        InterfaceInput("georeference_data", "file", True, ("text/csv",)),
    )
    assert interface.outputs == (InterfaceOutput("geo_image", "file", True, "image/tiff"),)
    values = {"image": "/in/a b.png", "georeference_data": "/in/g.csv", "job_output_dir": "/out"}
    assert interface.template.render(values) == ["/in/a b.png", "/in/g.csv", "/out"]
    assert interface.input("image") == interface.inputs[0]
    assert interface.output("geo_image") == interface.outputs[0]
    assert interface.input("geo_image") is None
    assert interface.output("image") is None


def test_defaults() -> None:
    interface = JobInterface.parse(
        {
            "command": "",
            "command_arguments": "",
            "input_data": [{"name": "a", "type": "property"}],
            "output_data": [{"name": "b", "type": "files"}],
            "shared_resources": [{"name": "db", "type": "db-connection"}],
        }
    )
    assert interface.version == "1.0"
    assert interface.command_words == []
    assert interface.inputs == (InterfaceInput("a", "property", True, ()),)
    assert interface.outputs == (InterfaceOutput("b", "files", True, None),)
    assert interface.shared_resources == (SharedResource("db", "db-connection", True),)


@pytest.mark.parametrize(
    ("accepted", "media_type", "expected"),
    [
        ((), "text/csv", True),
        (("text/csv",), "text/csv", True),
        (("text/csv",), "text/plain", False),
        (("text/csv",), "application/octet-stream", False),
        (("text/csv", "application/octet-stream"), "image/png", True),
    ],
)
def test_media_types(accepted: tuple[str, ...], media_type: str, expected: bool) -> None:
    assert InterfaceInput("a", "file", True, accepted).accepts(media_type) is expected


@pytest.mark.parametrize("name", ["a" * 255, "Job Exe ID", "-", "_", " ", "9"])
def test_allowed_names(name: str) -> None:
    document = {
        "command": "a",
        "command_arguments": f"${{{name}}}",
        "input_data": [{"name": name, "type": "property"}],
    }
    assert JobInterface.parse(document).template.render({name: "v"}) == ["v"]


@pytest.mark.parametrize("name", ["", "a" * 256, "a.b", "ä", "a\n", "a/b", "a:b", None, 5])
def test_names_that_are_not_allowed(name: object) -> None:
    assert [place for place, _ in faults(input_data=[{"name": name, "type": "property"}])] == [
        "/input_data/0/name"
    ]


def test_a_property_has_no_media_types() -> None:
    assert faults(input_data=[{"name": "a", "type": "property", "media_types": []}]) == [
        (
            "/input_data/0/media_types",
            "media_types can't be given here. A property input takes a text, no file.",
        )
    ]


def test_inputs_and_shared_resources_share_their_names() -> None:
    assert faults(
        input_data=[{"name": "a", "type": "file"}], shared_resources=[{"name": "a", "type": "x"}]
    ) == [("/shared_resources/0/name", 'There is more than one input or shared resource with the name "a".')]


def test_faults_of_structure_and_meaning_are_told_at_once_in_the_order_of_the_document() -> None:
    with pytest.raises(InvalidDocument) as caught:
        JobInterface.parse(
            {
                "version": "1.1",
                "command_arguments": "${imgae} ${",
                "input_data": [{"name": "image", "type": "fiel"}, {"name": "image", "type": "file"}, 7],
                "output_data": [{"name": "image"}],
                "outputs": [],
            }
        )
    assert caught.value.kind == "job interface"
    assert [fault.path for fault in caught.value.faults] == [
        "",
        "/version",
        "/command_arguments",
        "/command_arguments",
        "/input_data/0/type",
        "/input_data/1/name",
        "/input_data/2",
        "/output_data/0",
        "/output_data/0/name",
        "/outputs",
    ]


def test_an_unknown_name_in_the_command_line_is_told_once_a_use() -> None:
    told = faults(command_arguments="${imgae} ${days}", input_data=[{"name": "image", "type": "file"}])
    known = 'Known names: "image", "job_output_dir".'
    assert told == [
        (
            "/command_arguments",
            f'The command line uses the input "imgae", which does not exist. {known} Did you mean "image"?',
        ),
        ("/command_arguments", f'The command line uses the input "days", which does not exist. {known}'),
    ]


@pytest.mark.parametrize("document", [None, [], "x", 5, True])
def test_what_is_no_object(document: object) -> None:
    with pytest.raises(InvalidDocument, match="This must be an object"):
        JobInterface.parse(document)
