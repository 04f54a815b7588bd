# SPDX-License-Identifier: Apache-2.0
"""Lines and columns of JSON pointers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.definitions.samples import values

from scale_airflow.definitions.faults import pointer
from scale_airflow.definitions.json_values import check_values
from scale_airflow.definitions.source import locate, repeated_members

TEXT = """{
  "a": [1, {"b": "x, {", "é/c": []}, null],
  "d":
    {"e~": {"f\\u0041": 1}, "": 2}
}
"""


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("", (1, 1)),
        ("/a", (2, 3)),
        ("/a/0", (2, 9)),
        ("/a/1", (2, 12)),
        ("/a/1/b", (2, 13)),
        ("/a/1/é~1c", (2, 26)),
        ("/a/2", (2, 38)),
        ("/d", (3, 3)),
        ("/d/e~0", (4, 6)),
        ("/d/e~0/fA", (4, 13)),
        ("/d/", (4, 28)),
        # What does not exist leads to what is around it.
        ("/a/7", (2, 3)),
        ("/a/1/x/y", (2, 12)),
        ("/x", (1, 1)),
        ("x", (1, 1)),
    ],
)
def test_places(place: str, expected: tuple[int, int]) -> None:
    assert locate(TEXT, place) == expected


def test_of_a_field_that_is_given_twice_the_last_counts() -> None:
    assert locate('{"a": 1, "a": 2}', "/a") == (1, 10)


def test_repeated_fields() -> None:
    text = '{"a": {"x": 1}, "b": [{"x": 1}, {"x": 1, "x": 2}], "a": {"x": 3}, "": 0, "": 1}'
    assert list(repeated_members(text)) == [("/b/1/x", "x"), ("/a", "a"), ("/", "")]


@pytest.mark.parametrize(
    "text", ["", "{", "}", '{"a', "[,]", "{1: 2}", '{"\\x": 1}', "]]", '{"a" "b"}', "nonsense"]
)
def test_a_text_that_is_no_json(text: str) -> None:
    assert locate(text, "/a/0") >= (1, 1)
    list(repeated_members(text))


def _places(value: Any, place: str) -> list[tuple[str, Any]]:
    found = [(place, value)]
    if isinstance(value, dict):
        for name, member in value.items():
            found += _places(member, place + pointer(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _places(item, place + pointer(index))
    return found


@given(values, st.sampled_from([None, 1]))
def test_every_value_is_found_where_it_stands(document: Any, indent: int | None) -> None:
    if check_values(document):
        return
    text = json.dumps(document, indent=indent)
    lines = text.split("\n")
    decoder = json.JSONDecoder()
    for place, value in _places(document, ""):
        line, column = locate(text, place)
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        found, end = decoder.raw_decode(rest)
        if (
            found == place.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
            and rest[end : end + 1] == ":"
        ):
            found, _ = decoder.raw_decode(rest[end + 1 :].lstrip())
        assert found == value
