# SPDX-License-Identifier: Apache-2.0
"""Parameter studies: the fields of a job's body, and cases as a file that the emulator reads."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_airflow.errors import InvalidDocument
from scale_airflow.rescale.emulator.doe import cases
from scale_airflow.rescale.studies import (
    Generator,
    Variable,
    VariableType,
    cases_csv,
    fixed_range,
    study,
    template_task,
)


def test_a_study_of_a_range() -> None:
    body = study([Variable("x", fixed_range(0, 1, Decimal("0.5"))), Variable("y", fixed_range(1, 2, 1))])
    assert body["jobvariables"][0] == {
        "name": "x",
        "variableType": "Param",
        "valueGeneratorType": "FixedRange",
        "valueGeneratorSettings": {"minvalue": 0, "maxvalue": 1, "increment": 0.5},
    }
    found = cases(body)
    assert [(case["x"], case["y"]) for case in found] == [
        ("0", "1"), ("0", "2"), ("0.5", "1"), ("0.5", "2"), ("1", "1"), ("1", "2"),
    ]  # fmt: skip


def test_random_variables_and_outputs() -> None:
    normal = Variable("load", Generator("Normal", {"mean": 3, "standardDeviation": 1}))
    body = study([normal, Variable("result", type=VariableType.OUTPUT)], monte_carlo_iterations=4)
    assert body["monteCarloIterations"] == 4
    assert len(cases({**body, "id": "J"})) == 4


@pytest.mark.parametrize(
    ("variables", "iterations", "paths"),
    [
        ([Variable("1x"), Variable("a"), Variable("a")], None,
         ["/jobvariables/0/name", "/jobvariables/1/name", "/jobvariables/2/name"]),
        ([Variable("a", fixed_range(2, 1, 1))], 0,
         ["/jobvariables/0/valueGeneratorSettings", "/monteCarloIterations"]),
        ([Variable("a", fixed_range(1, 2, 0))], None, ["/jobvariables/0/valueGeneratorSettings"]),
        ([Variable("a", Generator("FixedRange"))], None, ["/jobvariables/0/valueGeneratorSettings"]),
        ([Variable("a", Generator("Cauchy"))], None, ["/jobvariables/0/valueGeneratorType"]),
    ],
)  # fmt: skip
def test_every_fault_at_once(variables: list[Variable], iterations: int | None, paths: list[str]) -> None:
    with pytest.raises(InvalidDocument) as caught:
        study(variables, monte_carlo_iterations=iterations)
    assert [fault.path for fault in caught.value.faults] == paths


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
VALUES = st.integers() | st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1)


@settings(max_examples=40)
@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), st.data())
def test_cases_come_back_from_the_file(names: list[str], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, VALUES)), min_size=1, max_size=5))
    read = cases({}, cases_csv(wanted))
    assert read == [{name: str(value) for name, value in case.items()} for case in wanted]


@pytest.mark.parametrize("wrong", [[], [{}], [{"a": 1}, {"b": 1}], [{"a b": 1}]])
def test_cases_that_are_none(wrong: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidDocument):
        cases_csv(wrong)


def test_a_template() -> None:
    assert template_task("F", "in.txt") == {"processedFilename": "in.txt", "templateFile": {"id": "F"}}
