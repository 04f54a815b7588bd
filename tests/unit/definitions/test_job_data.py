# SPDX-License-Identifier: Apache-2.0
"""Job data: reading it, and checking it against an interface."""

from __future__ import annotations

from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.job_data import DataInput, FileFacts, JobData, WorkspaceFacts
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.errors import DocumentWarning, InvalidDocument

FILES = {
    1234: FileFacts(1234, "scene.png", "image/png", 10),
    1235: FileFacts(1235, "scene.csv", "text/csv", 10),
}
WORKSPACES = {12: WorkspaceFacts(12, "products", True), 13: WorkspaceFacts(13, "old", False)}
GEOTIFF = JobInterface.parse(load("job-interface.make-geotiff"))
MIXED = JobInterface.parse(
    {
        "command": "a",
        "command_arguments": "",
        "input_data": [
            {"name": "text", "type": "property"},
            {"name": "one", "type": "file", "required": False, "media_types": ["application/octet-stream"]},
            {"name": "many", "type": "files", "required": False, "media_types": ["image/png"]},
        ],
    }
)


def mixed(*inputs: dict[str, Any]) -> JobData:
    return JobData.parse({"input_data": [{"name": "text", "value": ""}, *inputs]})


def told(data: JobData, interface: JobInterface = MIXED) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        data.check(interface, FILES, WORKSPACES)
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_the_specifications_example() -> None:
    data = JobData.parse(load("job-data.make-geotiff"))
    assert data.inputs == (
        DataInput("image", None, (1234,)),
        DataInput("georeference_data", None, (1235,)),
    )
    assert data.outputs == {"geo_image": 12}
    assert data.file_ids() == (1234, 1235)
    assert data.workspace_ids() == (12,)
    assert data.check(GEOTIFF, FILES, WORKSPACES) == []


def test_nothing() -> None:
    for document in (None, {}, {"version": "1.0"}):
        data = JobData.parse(document)
        assert (data.inputs, data.outputs, data.file_ids(), data.workspace_ids()) == ((), {}, (), ())


def test_every_sort_of_value() -> None:
    data = mixed({"name": "one", "file_id": 1235}, {"name": "many", "file_ids": [1234, 1234]})
    assert data.inputs[1:] == (DataInput("one", None, (1235,)), DataInput("many", None, (1234, 1234), True))
    assert data.check(MIXED, FILES, WORKSPACES) == []
    assert data.file_ids() == (1235, 1234)
    assert data.input("text") == DataInput("text", "")
    assert data.input("none") is None


def test_a_files_input_takes_a_single_file() -> None:
    assert mixed({"name": "many", "file_id": 1234}).check(MIXED, FILES, WORKSPACES) == []


def test_an_optional_files_input_takes_no_files() -> None:
    assert mixed({"name": "many", "file_ids": []}).check(MIXED, FILES, WORKSPACES) == []


def test_a_file_input_takes_no_list() -> None:
    assert told(mixed({"name": "one", "file_ids": [1234]})) == [
        ("/input_data/1/file_ids", 'The file input "one" takes "file_id", not "file_ids".')
    ]


def test_a_property_takes_no_file() -> None:
    data = JobData.parse({"input_data": [{"name": "text", "file_id": 1234}]})
    assert told(data) == [
        ("/input_data/0/file_id", 'The property input "text" takes "value", not "file_id".')
    ]


def test_each_file_is_checked() -> None:
    assert told(mixed({"name": "many", "file_ids": [1234, 1235, 99]})) == [
        (
            "/input_data/1/file_ids/1",
            'The file "scene.csv" (1235) has the media type "text/csv", '
            'but the input "many" takes only "image/png".',
        ),
        ("/input_data/1/file_ids/2", 'There is no file 99, which is given for the input "many".'),
    ]


def test_data_for_unknown_inputs_is_ignored_with_a_warning() -> None:
    data = mixed({"name": "texd", "value": "1"}, {"name": "more", "file_ids": [99]})
    assert data.check(MIXED, FILES, WORKSPACES) == [
        DocumentWarning(
            "unknown_input",
            'There is no input "texd", so its data is ignored. '
            'Known inputs: "many", "one", "text". Did you mean "text"?',
        ),
        DocumentWarning(
            "unknown_input",
            'There is no input "more", so its data is ignored. Known inputs: "many", "one", "text".',
        ),
    ]


def test_all_faults_are_told_at_once() -> None:
    data = JobData.parse(
        {
            "input_data": [{"name": "image", "file_id": 1235}],
            "output_data": [{"name": "geo_image", "workspace_id": 13}],
        }
    )
    assert [place for place, _ in told(data, GEOTIFF)] == [
        "/input_data",
        "/input_data/0/file_id",
        "/output_data/0/workspace_id",
    ]


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"name": "a", "file_id": True}, "/input_data/0/file_id"),
        ({"name": "a", "file_id": 1.0}, "/input_data/0/file_id"),
        ({"name": "a", "file_id": "1"}, "/input_data/0/file_id"),
        ({"name": "a", "file_id": 0}, "/input_data/0/file_id"),
        ({"name": "a", "file_id": None}, "/input_data/0/file_id"),
        ({"name": "a", "file_ids": 1}, "/input_data/0/file_ids"),
        ({"name": "a", "file_ids": [True]}, "/input_data/0/file_ids/0"),
        ({"name": "a", "value": 5}, "/input_data/0/value"),
        ({"name": "a", "valeu": "5"}, "/input_data/0/valeu"),
        ({"value": "5"}, "/input_data/0"),
    ],
)
def test_wrong_fields(row: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        JobData.parse({"input_data": [row]})
    assert [fault.path for fault in caught.value.faults] == [place]


def test_data_built_from_parts_reads_back_as_itself() -> None:
    inputs = [
        DataInput("a", "x"),
        DataInput("b", None, (1,)),
        DataInput("c", None, (1, 2), True),
        DataInput("d", None, (), True),
    ]
    data = JobData.of(inputs, {"o": 12})
    assert JobData.parse(data.document) == data
