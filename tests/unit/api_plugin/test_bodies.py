# SPDX-License-Identifier: Apache-2.0
"""Fields of bodies are checked all at once."""

from __future__ import annotations

from typing import Any

import pytest

from scale_airflow.api_plugin.bodies import Field, check_fields, documented, standing_in
from scale_airflow.definitions.faults import MAX_FAULTS
from scale_airflow.definitions.job_data import JobData
from scale_airflow.errors import InvalidDocument, InvalidRequest

FIELDS = {
    "id": Field("integer", required=True, description="Which one."),
    "name": Field("string", nullable=True),
    "flag": Field("boolean"),
    "size": Field("number"),
    "data": Field("object"),
    "ids": Field("array", items=Field("integer")),
    "level": Field("integer", minimum=0, maximum=9),
    "state": Field("string", nullable=True, choices=("ON", "OFF")),
    "host": Field("string", longest=3),
    "rest": Field("any", example=[1]),
}


def test_known_fields_are_returned() -> None:
    body: dict[str, Any] = {
        "id": 1,
        "name": None,
        "flag": False,
        "size": 1,
        "data": {},
        "ids": [],
        "level": 0,
        "state": "OFF",
        "host": "abc",
        "rest": None,
    }
    assert check_fields({**body, "url": "x"}, FIELDS, ignored=("url",)) == body
    assert check_fields({"id": -(2**63) + 1}, FIELDS) == {"id": -(2**63) + 1}


def test_every_fault_is_told() -> None:
    body = {"nam": "x", "name": 1, "flag": 0, "size": True, "data": [], "ids": {}}
    with pytest.raises(InvalidRequest) as caught:
        check_fields(body, FIELDS)
    told = {fault.path: fault.message for fault in caught.value.faults}
    assert set(told) == {"/nam", "/id", "/name", "/flag", "/size", "/data", "/ids"}
    assert [fault.path for fault in caught.value.faults] == [*(f"/{name}" for name in body), "/id"]
    assert told["/nam"] == 'There is no field "nam". Did you mean "name"?'
    assert told["/id"] == 'The field "id" is required.'
    assert told["/size"] == 'The field "size" must be a number, but it is true.'


@pytest.mark.parametrize(
    ("name", "value", "path", "message"),
    [
        ("level", -1, "/level", "a whole number from 0 to 9, but it is the number -1."),
        ("level", 10, "/level", "a whole number from 0 to 9, but it is the number 10."),
        ("level", True, "/level", "a whole number from 0 to 9, but it is true."),
        (
            "ids",
            [1, "2"],
            "/ids/1",
            'This must be a whole number of at most 64 bits, but it is the string "2".',
        ),
        (
            "ids",
            [2**63],
            "/ids/0",
            f"This must be a whole number of at most 64 bits, but it is the number {2**63}.",
        ),
        ("state", "on", "/state", 'ON or OFF, but it is the string "on".'),
        ("host", " ", "/host", 'a string of 1 to 3 characters that is not blank, but it is the string " ".'),
        ("host", "abcd", "/host", "a string of 1 to 3 characters that is not blank"),
    ],
)
def test_values_have_limits(name: str, value: object, path: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_fields({"id": 1, name: value}, FIELDS)
    ((place, told),) = [(fault.path, fault.message) for fault in caught.value.faults]
    assert place == path
    assert message in told


def test_a_document_is_read_when_something_else_is_wrong() -> None:
    fields = {"id": Field("integer", required=True), "data": Field("object", document=JobData.parse)}
    wrong = {"data": {"input_data": 1}}
    assert check_fields({"id": 1, **wrong}, fields) == {"id": 1, **wrong}
    with pytest.raises(InvalidRequest) as caught:
        check_fields(wrong, fields)
    assert [fault.path for fault in caught.value.faults] == ["/data/input_data", "/id"]
    with pytest.raises(InvalidRequest) as caught:
        check_fields({"data": []}, fields)
    assert [fault.path for fault in caught.value.faults] == ["/data", "/id"]


def test_very_many_faults_are_counted() -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_fields({"id": 1, "ids": ["x"] * 100_000}, FIELDS)
    *faults, last = caught.value.faults
    assert len(faults) == MAX_FAULTS
    assert last.message == "5000 or more faults are not listed."


def test_a_document_in_a_field_is_pointed_at() -> None:
    with pytest.raises(InvalidDocument) as caught, standing_in("job_data"):
        JobData.parse({"input_data": 1})
    assert caught.value.kind == "job data"
    assert [fault.path for fault in caught.value.faults] == ["/job_data/input_data"]


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_the_body_is_an_object(body: object) -> None:
    with pytest.raises(InvalidRequest, match="must be an object"):
        check_fields(body, FIELDS)


def test_at_least_one() -> None:
    with pytest.raises(InvalidRequest, match="At least one"):
        check_fields({}, {"a": Field("string")}, any_of=True)


def test_documented() -> None:
    schema = documented(FIELDS)["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["id"]
    assert schema["properties"]["id"] == {"type": "integer", "description": "Which one."}
    assert schema["properties"]["name"] == {"type": ["string", "null"]}
    assert schema["properties"]["rest"] == {"examples": [[1]]}
    assert schema["properties"]["ids"] == {"type": "array", "items": {"type": "integer"}}
    assert schema["properties"]["level"] == {"type": "integer", "minimum": 0, "maximum": 9}
    assert schema["properties"]["state"] == {"type": ["string", "null"], "enum": ["ON", "OFF", None]}
    assert schema["properties"]["host"] == {"type": "string", "maxLength": 3, "pattern": r"\S"}
