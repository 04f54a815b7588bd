# SPDX-License-Identifier: Apache-2.0
"""Faults: bounded in number, in plain sentences, in the order of the document."""

from __future__ import annotations

import math

import pytest

from scale_airflow.definitions.faults import (
    MAX_COUNTED,
    MAX_FAULTS,
    Faults,
    describe,
    nearest,
    pointer,
    quote,
    quote_all,
    with_choice,
)
from scale_airflow.definitions.schema_check import compile_schema
from scale_airflow.errors import Fault, InvalidDocument


def test_pointers() -> None:
    assert pointer() == ""
    assert pointer("a", 0, "b/c~d", "") == "/a/0/b~1c~0d/"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "the number 0"),
        (-1.5, "the number -1.5"),
        (math.inf, "the number inf"),
        (10**400, "a number"),
        ("a", 'the string "a"'),
        ("", 'the string ""'),
        ([], "an empty array"),
        ([1], "an array"),
        ({}, "an empty object"),
        ({"a": 1}, "an object"),
        ({1}, "a Python set"),
    ],
)
def test_values_in_words(value: object, expected: str) -> None:
    assert describe(value) == expected


def test_a_number_that_python_does_not_print() -> None:
    assert describe(10**5000) == "a number"


@pytest.mark.parametrize(("value", "expected"), [("secret", "a string"), (5, "a number"), ([1], "an array")])
def test_hidden_values(value: object, expected: str) -> None:
    assert describe(value, hidden=True) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("é", '"é"'),
        ('a"b\\\n', '"a\\"b\\\\\\n"'),
        ("\ud800é", '"\\ud800é"'),
        ("x" * 100, '"' + "x" * 79 + '…"'),
    ],
)
def test_quotes(text: str, expected: str) -> None:
    assert quote(text) == expected


def test_many_names() -> None:
    assert quote_all([]) == "none"
    assert quote_all(str(number) for number in range(22)).endswith('"19" and 2 more')


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("imgae", ["image", "points"], "image"),
        ("IMAGE", ["image"], "image"),
        ("x", ["image"], None),
        ("image", [], None),
        ("image" * 100, ["image" * 100], None),
        ("a", ["b" * 300], None),
    ],
)
def test_nearest(name: str, known: list[str], expected: str | None) -> None:
    assert nearest(name, known) == expected


def test_a_choice() -> None:
    assert with_choice("No.", "inputs", "a", []) == "No. There are no inputs."
    assert (
        with_choice("No.", "inputs", "ab", {"abc", "x"})
        == 'No. Known inputs: "abc", "x". Did you mean "abc"?'
    )
    many = [f"{number:03}" for number in range(30)]
    assert with_choice("No.", "inputs", "x", many).endswith('"019" and 10 more.')


def test_faults_stand_in_the_order_of_the_document() -> None:
    document = {"b": [{"y": 1, "x": 2}, 5], "a/c": {}}
    places = ["/a~1c/z", "/b/1", "/b/0/x", "/missing", "/b/0/y", "", "/b/0", "/b/7/x", "/b/1/deeper"]
    faults = Faults()
    for place in places:
        faults.add(place, "r", "m")
    assert [fault.path for fault in faults.in_order(document)] == [
        "",
        "/b/0",
        "/b/0/y",
        "/b/0/x",
        "/b/1",
        "/b/1/deeper",
        "/b/7/x",
        "/a~1c/z",
        "/missing",
    ]


def test_only_so_many_are_described() -> None:
    faults = Faults()
    faults.extend([Fault(f"/a{number}", "m", "r") for number in range(MAX_FAULTS + 1)], "/x")
    faults.add("", "r", "m")
    faults.add_unknown("", "r", "m", what="inputs", name="a", known=["a"])
    found = faults.in_order({})
    assert len(found) == MAX_FAULTS + 1
    assert found[0] == Fault("/x/a0", "m", "r")
    assert found[-1] == Fault("", "3 more faults are not listed.", "document.too-many-faults")


def test_refusal() -> None:
    faults = Faults()
    faults.refuse("job-interface", {})
    assert not faults
    faults.add("/a", "r", "M.", near=("ab", ["abc"]))
    with pytest.raises(InvalidDocument, match=r'Invalid job interface: /a: M\. Did you mean "abc"\?'):
        faults.refuse("job-interface", {})


def test_counting_ends_too() -> None:
    faults = Faults()
    compile_schema({"items": {"type": "integer"}})(["x"] * (MAX_COUNTED * 10), faults)
    assert faults.are_enough
    assert faults.unlisted == MAX_COUNTED
    expected = f"{MAX_COUNTED} or more faults are not listed."
    assert faults.in_order([])[-1] == Fault("", expected, "document.too-many-faults")
