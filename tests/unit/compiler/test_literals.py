# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scale_airflow.compiler.literals import literal

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
@example('"""')
@example("\\")
@example('"); import os; ("')
@example("line\nline\r\x0b\x0c\x1c\u2028\u2029\x85end")
@example("\x00\ud800😀")
def test_a_literal_is_what_it_was_made_from_and_nothing_else(document: object) -> None:
    text = literal(document)
    assert ast.literal_eval(text) == document
    assert all(line.isprintable() for line in text.split("\n"))


@given(DOCUMENTS)
def test_the_order_of_an_objects_fields_does_not_matter(document: object) -> None:
    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        if isinstance(value, list):
            return [turned(item) for item in value]
        return value

    assert literal(document) == literal(turned(document))


def test_a_definition_reads_as_json_in_the_specifications_order() -> None:
    document = {"jobs": [{"job_type": {"version": "1", "name": "é"}, "name": "a"}], "version": "1.0"}
    text = literal(document)
    assert text.index('"version": "1.0"') < text.index('"jobs"')
    assert text.index('"name": "a"') < text.index('"job_type"')
    without_last_commas = text.replace(",\n", "\n")
    assert json.loads(literal({"a": "é"}).replace(",\n", "\n")) == {"a": "é"}
    assert "é" in without_last_commas


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: 2}, b"bytes"])
def test_what_json_can_not_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        literal(value)
