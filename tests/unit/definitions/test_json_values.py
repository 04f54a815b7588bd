# SPDX-License-Identifier: Apache-2.0
"""Values that could not be stored or shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from unit.definitions.samples import values

from scale_airflow.definitions.json_values import MAX_DEPTH, check_values


def told(document: object) -> list[tuple[str, str]]:
    return [(fault.path, fault.rule.removeprefix("document.")) for fault in check_values(document)]


def nested(levels: int, innermost: Any) -> Any:
    for _ in range(levels):
        innermost = [innermost]
    return innermost


@pytest.mark.parametrize(
    "document", [None, True, 0, 1.5, "é", [], {}, {"a": [1, {"b": "\U0001f600"}]}, 10**400]
)
def test_values_of_json(document: object) -> None:
    assert told(document) == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (float("nan"), [("", "not-finite")]),
        ({"a": [float("inf"), 1, float("-inf")]}, [("/a/0", "not-finite"), ("/a/2", "not-finite")]),
        ({"a": "x\0"}, [("/a", "unstorable-text")]),
        ({"a\0": 1}, [("/a\0", "unstorable-text")]),
        (["\ud800"], [("/0", "unstorable-text")]),
        ({"\udfff": 1}, [("/\\udfff", "unstorable-text")]),
        ({1: 2}, [("", "not-json-value")]),
        ((1, 2), [("", "not-json-value")]),
        ({"a": {1}}, [("/a", "not-json-value")]),
        ([b"x"], [("/0", "not-json-value")]),
    ],
)
def test_other_values(document: object, expected: list[tuple[str, str]]) -> None:
    assert told(document) == expected


def test_depth() -> None:
    assert told(nested(MAX_DEPTH, 1)) == []
    assert told(nested(MAX_DEPTH, "\0")) == [("/0" * MAX_DEPTH, "unstorable-text")]
    assert told(nested(MAX_DEPTH + 1, 1)) == [("/0" * MAX_DEPTH, "too-deep")]
    assert told(nested(100_000, 1)) == [("/0" * MAX_DEPTH, "too-deep")]
    assert told({"a": nested(MAX_DEPTH, 1)}) == [("/a" + "/0" * (MAX_DEPTH - 1), "too-deep")]


@given(values)
def test_what_passes_is_json_in_utf_8(document: object) -> None:
    if not check_values(document):
        text = json.dumps(document, allow_nan=False, ensure_ascii=False)
        assert json.loads(text.encode()) == document
        assert "\0" not in text
