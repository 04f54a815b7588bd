# SPDX-License-Identifier: Apache-2.0
"""Fields of bodies are checked all at once."""

from __future__ import annotations

from typing import Any

import pytest

from scale_airflow.api_plugin.bodies import Field, check_fields, documented
from scale_airflow.errors import InvalidRequest

FIELDS = {
    "id": Field("integer", required=True, description="Which one."),
    "name": Field("string", nullable=True),
    "flag": Field("boolean"),
    "size": Field("number"),
    "data": Field("object"),
    "ids": Field("array"),
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
    assert told["/nam"] == 'There is no field "nam". Did you mean "name"?'
    assert told["/id"] == 'The field "id" is required.'
    assert told["/size"] == 'The field "size" must be a number, but it is true.'


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
