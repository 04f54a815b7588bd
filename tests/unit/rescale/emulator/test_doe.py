# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from scale_airflow.rescale.emulator.doe import StudyError, cases, described


def _variable(name, kind, variable_type="Param", **settings):
    return {
        "name": name,
        "variableType": variable_type,
        "valueGeneratorType": kind,
        "valueGeneratorSettings": settings,
    }


def test_a_job_that_is_no_study_has_one_case():
    assert cases({"jobvariables": []}) == [{}]
    assert cases({"jobvariables": [_variable("out", "", "Output")]}) == [{}]


def test_each_row_of_the_file_is_a_case():
    text = '\ufeffx, name\n1.50,"a, b"\n\n2,c\n'
    assert cases({}, text) == [{"x": "1.50", "name": "a, b"}, {"x": "2", "name": "c"}]
    assert described({"x": "1.50", "name": "c"}) == [
        {"name": "x", "value": 1.5, "displayValue": "1.50", "isRelative": False},
        {"name": "name", "value": "c", "displayValue": "c", "isRelative": False},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs a line of variable names"),
        ("x,y\n", "needs a line of variable names"),
        ("x,x\n1,2\n", "must name each variable once"),
        ("x,\n1,2\n", "must name each variable once"),
        ("x,y\n1,2\n3\n", "Line 3 of the parameter file has 1 values for 2 names"),
        ("x\n" + "1\n" * 10_001, "has 10001 runs"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(text, said):
    with pytest.raises(StudyError, match=said):
        cases({}, text)


def test_ranges_are_combined_without_rounding_errors():
    document = {
        "jobvariables": [
            _variable("a", "FixedRange", minvalue=0.1, maxvalue=0.3, increment=0.1),
            _variable("b", "Linspace", minvalue=0, maxvalue=10, count=3),
        ]
    }
    found = cases(document)
    assert len(found) == 9
    assert [case["a"] for case in found[::3]] == ["0.1", "0.2", "0.3"]
    assert [case["b"] for case in found[:3]] == ["0", "5", "10"]


def test_random_variables_are_drawn_anew_for_each_iteration_and_the_same_for_the_same_job():
    document = {
        "id": "abc",
        "monteCarloIterations": 20,
        "includeNominalRun": True,
        "jobvariables": [
            _variable("n", "Normal", mean=5, standardDeviation=0.1),
            _variable("l", "LogNormal", mean=0, standardDeviation=0.1),
            _variable("u", "Uniform", minvalue=1, maxvalue=3),
            _variable("t", "Triangular", minvalue=0, maxvalue=1, mode=0.9),
        ],
    }
    found = cases(document)
    assert found == cases(document)
    assert found != cases({**document, "id": "other"})
    assert len(found) == 21
    assert found[0] == {"n": "5", "l": "0", "u": "2", "t": "0.9"}
    assert all(1 <= float(case["u"]) <= 3 for case in found)
    assert len({case["n"] for case in found}) == 21


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        (_variable("x", "Magic"), "no value generator 'Magic'; there are FixedRange"),
        (_variable("x", "FixedRange", minvalue=1, maxvalue=2), "needs the setting 'increment'"),
        (_variable("x", "FixedRange", minvalue=1, maxvalue=2, increment=0), "increment above 0"),
        (_variable("x", "FixedRange", minvalue="a", maxvalue=2, increment=1), "must be a number"),
        (_variable("x", "FixedRange", minvalue=0, maxvalue=1, increment=1e-6), "has 1000001 values"),
        (_variable("x", "Linspace", minvalue=0, maxvalue=1, count=0), "count of at least 1"),
        (_variable("x", "Normal"), "needs the setting 'mean'"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(variable, said):
    with pytest.raises(StudyError, match=said):
        cases({"jobvariables": [variable]})


def test_too_many_combinations_are_refused():
    wide = [_variable(name, "Linspace", minvalue=0, maxvalue=1, count=200) for name in "ab"]
    with pytest.raises(StudyError, match="make 40000 runs"):
        cases({"jobvariables": wide})
