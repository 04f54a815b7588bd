# SPDX-License-Identifier: Apache-2.0
"""Strict JSON, and the structural check by kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.definitions.samples import values

from scale_airflow.definitions.documents import check_structure, load_json, nearest
from scale_airflow.definitions.json_values import check_values
from scale_airflow.errors import Fault, InvalidDocument


def told(text: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        load_json(text)
    assert caught.value.kind == "JSON document"
    return [(fault.path, fault.message) for fault in caught.value.faults]


@pytest.mark.parametrize(
    "text", ['{"a": [1, 2.5, "é", null, true]}', b'{"a": [1, 2.5, "\xc3\xa9", null, true]}']
)
def test_json_is_read(text: str | bytes) -> None:
    assert load_json(text) == {"a": [1, 2.5, "é", None, True]}


def test_a_byte_order_mark_is_no_fault() -> None:
    assert load_json("\ufeff{}") == {}
    assert load_json(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "This is not JSON: Expecting value (line 1, column 1)."),
        ('{\n "a": 1,\n}', "This is not JSON:"),
        ("[1] 2", "This is not JSON: Extra data (line 1, column 5)."),
        (b"\xff", "This is not UTF-8 text: byte 0 is wrong."),
        ("1" * 5000, "This is not JSON that can be read: "),
        ("[" * 100_000, "Objects and arrays may be nested at most 64 levels deep."),
    ],
)
def test_what_is_no_json(text: str | bytes, message: str) -> None:
    ((place, found),) = told(text)
    assert place == ""
    assert found.startswith(message)


def test_every_repeated_field_and_number_is_told() -> None:
    text = '{"a": {"b": 1, "b": NaN}, "c": [{"d": 1}, {"d": 1, "d": 2}], "a": -Infinity, "e": 1e999}'
    assert sorted(told(text)) == [
        ("/a", "JSON has no NaN and no infinite numbers."),
        ("/a", 'The field "a" is given more than once.'),
        ("/a/b", 'The field "b" is given more than once.'),
        ("/c/1/d", 'The field "d" is given more than once.'),
        ("/e", "JSON has no NaN and no infinite numbers."),
    ]


@given(values)
def test_what_is_written_is_read(document: Any) -> None:
    if not check_values(document):
        assert load_json(json.dumps(document)) == document


@given(st.text('{}[]":,01a\\u \n', max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        load_json(text)
    except InvalidDocument as error:
        assert error.faults  # noqa: PT017


def test_structure_by_kind_and_version() -> None:
    assert check_structure("error-mapping", {}) == []
    message = 'There is no field "x" here; the fields are "version", "exit_codes".'
    assert check_structure("error-mapping", {"x": 1}) == [Fault("/x", message, "document.unknown-field")]
    assert check_structure("results-manifest", {"output_data": []}) == []
    assert len(check_structure("results-manifest", {"output_data": []}, version="1.0")) == 1
    with pytest.raises(FileNotFoundError):
        check_structure("nothing", {})


def test_the_nearest_name_is_at_hand() -> None:
    assert nearest("imgae", ["image"]) == "image"
