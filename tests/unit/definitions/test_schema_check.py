# SPDX-License-Identifier: Apache-2.0
"""Two libraries agree about every document, and what one of them finds is told in sentences."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, validators
from unit.definitions.samples import EXAMPLES, kind_of, load, spoiled

from scale_airflow.definitions.documents import check_structure, schema
from scale_airflow.definitions.faults import Faults
from scale_airflow.definitions.schema_check import compile_schema
from scale_airflow.errors import Fault


def _whole_pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Any:
    """The keyword "pattern", where $ is the very end of the text."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError("pattern")


REFERENCE = validators.extend(
    Draft202012Validator,
    {"pattern": _whole_pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)
# Values of JSON alone: what is none is refused before the schema is asked.
plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 2**65),
        st.sampled_from([0.5, 1.0, -0.0]),
        st.sampled_from(
            ["", "file", "files", "property", "nfs", "host", "1.0", "1.1", "a/b", "a b", "/x", "h:/x"]
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "type", "file_id", "media_types", "x", "1"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


def schema_name(example: str, document: Any) -> str:
    kind = kind_of(example)
    return f"{kind}-1.1" if kind == "results-manifest" and "1-0" not in example else f"{kind}-1.0"


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(EXAMPLES).flatmap(
        lambda name: st.tuples(st.just(schema_name(name, load(name))), spoiled(load(name), plain))
    )
)
def test_the_verdict_is_that_of_jsonschema(case: tuple[str, Any]) -> None:
    name, document = case
    kind, _, version = name.rpartition("-")
    ours = [fault for fault in check_structure(kind, document, version=version) if not_ours_alone(fault)]
    theirs = list(REFERENCE(schema(name)).iter_errors(document))
    assert bool(ours) == bool(theirs), (ours, theirs)


@pytest.mark.parametrize("server", ["h", "h\x1c", "h\x85", "h\u3000", "h\ufeff", "h i"])
def test_white_space_is_what_python_takes_for_it(server: str) -> None:
    mount = {"version": "1.0", "broker": {"type": "nfs", "mount": f"{server}:/x"}}
    assert bool(check_structure("workspace-configuration", mount)) == bool(re.search(r"\s", server))


def not_ours_alone(fault: Fault) -> bool:
    return fault.rule not in ("document.unstorable-text", "document.not-finite", "document.too-deep")


def faults_of(rule: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    faults = Faults()
    compile_schema(rule)(value, faults)
    return [(fault.path, fault.message) for fault in faults.found]


def test_true_and_1_0_are_no_whole_numbers() -> None:
    assert faults_of({"type": "integer"}, 1) == []
    assert faults_of({"type": "integer"}, True) == [("", "This must be a whole number, but it is true.")]
    assert faults_of({"type": "integer"}, 1.0) == [
        ("", "This must be a whole number, but it is the number 1.0.")
    ]
    assert faults_of({"type": "number"}, False) == [("", "This must be a number, but it is false.")]


def test_whole_numbers_of_any_size() -> None:
    rule = {"items": {"type": ["integer", "null"], "maximum": 5}}
    assert faults_of(rule, [5, None, -(2**70), -(10**5000)]) == []
    assert faults_of(rule, [10**5000, 2**64]) == [
        ("/0", "This may be at most 5, but it is a number."),
        ("/1", f"This may be at most 5, but it is the number {2**64}."),
    ]
    assert faults_of(rule, [1.0]) == [
        ("/0", "This must be a whole number or null, but it is the number 1.0.")
    ]


def test_what_the_fast_library_can_not_read_is_still_checked() -> None:
    rule = {"properties": {"a": {"type": "string"}}, "required": ["b"]}
    assert faults_of(rule, {"a": "\ud800", "b": 1}) == []
    assert faults_of(rule, {"a": "\ud800"}) == [("", 'The required field "b" is missing.')]


def test_no_more_is_told_of_a_value_of_a_wrong_type() -> None:
    rule = {"type": "string", "enum": ["a"], "pattern": "^b$"}
    assert faults_of(rule, 1) == [("", "This must be a string, but it is the number 1.")]
    assert len(faults_of(rule, "c")) == 2


def test_every_missing_field_is_told_once() -> None:
    rule = {"items": {"required": ["a", "b"]}}
    assert [place for place, _ in faults_of(rule, [{}, {"a": 1}, {}])] == ["/0", "/0", "/1", "/2", "/2"]


def test_a_wrong_name_of_a_member_is_told_at_the_member() -> None:
    rule = {"propertyNames": {"pattern": "^[a-z]$", "description": "One letter."}}
    assert faults_of(rule, {"a": 1, "B": 2}) == [("/B", '"B" is not allowed here. One letter.')]


def test_what_can_not_be_given() -> None:
    rule = {"not": {}, "description": "It is gone."}
    assert faults_of(rule, 1) == [("", "The document can't be given here. It is gone.")]
    assert faults_of({"properties": {"a": {"not": {}}}}, {"a": 1}) == [("/a", "a can't be given here.")]


def test_a_pattern_ends_at_the_end_of_the_text() -> None:
    rule = {"pattern": "^[a-z]+$", "description": "Small letters."}
    assert faults_of(rule, "abc") == []
    assert faults_of(rule, "abc\n") == [("", '"abc\\n" is not allowed here. Small letters.')]


def test_several_types() -> None:
    rule = {"type": ["object", "array"]}
    assert faults_of(rule, []) == []
    assert faults_of(rule, "x") == [("", 'This must be an object or an array, but it is the string "x".')]


def test_secret_values_are_not_shown() -> None:
    rule = {"additionalProperties": {"type": "string", "writeOnly": True}}
    message = "This must be a string, but it is a number."
    assert faults_of(rule, {"PASSWORD": 12345}) == [("/PASSWORD", message)]


def test_members_are_named_by_json_pointers() -> None:
    rule = {"additionalProperties": {"items": {"type": "string"}}}
    assert [place for place, _ in faults_of(rule, {"a/b~c": [1]})] == ["/a~1b~0c/0"]


def test_limits_of_numbers_texts_and_lists() -> None:
    assert faults_of({"exclusiveMinimum": 0}, 0) == [
        ("", "This must be more than 0, but it is the number 0.")
    ]
    assert faults_of({"minimum": 2, "maximum": 3}, 2.5) == []
    assert faults_of({"minLength": 2}, "a") == [("", "This must have at least 2 characters.")]
    assert faults_of({"minItems": 2}, [1]) == [("", "This must have at least 2 items, but has 1.")]


def test_fields_that_scale_decides_are_not_offered() -> None:
    rule = {"additionalProperties": False, "properties": {"a": True, "id": {"readOnly": True}}}
    ((_, message),) = faults_of(rule, {"b": 1})
    assert message == 'There is no field "b" here; the fields are "a".'


@pytest.mark.parametrize(
    "rule",
    [
        {"oneOf": []},
        {"items": {"format": "email"}},
        {"properties": {"a": False}},
        {"$ref": "#/$defs/missing"},
        {"not": {"type": "string"}},
        {"enum": [1]},
        {"$ref": "other.json"},
    ],
)
def test_a_schema_that_is_not_understood_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"[Ss]chema|strings"):
        compile_schema(rule)
