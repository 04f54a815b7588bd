# SPDX-License-Identifier: Apache-2.0
"""Patterns of file names, matched in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.definitions.name_patterns import matches, pattern_problem


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        (".*h5", "a.h5", True),
        (".*h5", "a.h5.txt", True),
        ("h5", "a.h5", False),
        ("a", "abc", True),
        (r".*\.h5$", "a.h5", True),
        (r".*\.h5$", "a.h5x", False),
        (r".*\.h5\Z", "a.h5", True),
        (r".*\.h5\Z", "a.h5x", False),
        (r"\\Z", r"\Z", True),
        (r"(?i)A\d+", "a5", True),
        (r"(?P<year>\d{4})", "2016", True),
        ("é.*", "é.txt", True),
        (".*", "\udcff.h5", True),
        ("", "anything", True),
    ],
)
def test_patterns_match_the_beginning(pattern: str, name: str, expected: bool) -> None:
    assert pattern_problem(pattern) is None
    assert matches(pattern, name) is expected


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("(?=a)b", "(?="),
        ("(?!a)b", "(?!"),
        ("(?<=a)b", "(?<="),
        ("(?<!a)b", "(?<!"),
        (r"(a)\1", r"\1"),
        ("(?P<a>x)(?P=a)", "(?P="),
        ("(a)?(?(1)b|c)", "(?("),
    ],
)
def test_what_can_not_be_matched_in_linear_time_is_named(pattern: str, what: str) -> None:
    problem = pattern_problem(pattern)
    assert problem is not None
    assert problem.startswith(f'The pattern uses "{what}": look-around, backreferences and conditions')


@pytest.mark.parametrize("pattern", ["*.txt", "(", "[", "a{2,1}", "\\", r"\y"])
def test_what_is_no_pattern_is_told(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    problem = pattern_problem(pattern)
    assert problem is not None
    assert problem.startswith("The pattern is not a valid regular expression: ")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*)*x", "(a*)*(a*)*(a*)*b"])
def test_no_pattern_takes_long(pattern: str) -> None:
    started = time.process_time()
    matches(pattern, "a" * 255 + "!")
    assert time.process_time() - started < 1


simple = st.text("ab.*?|^$", max_size=6)


@given(simple, st.text("ab.", max_size=8))
def test_simple_patterns_match_as_in_python(pattern: str, name: str) -> None:
    try:
        expected = re.match(pattern, name) is not None
    except re.error:
        return
    if pattern_problem(pattern) is None:
        assert matches(pattern, name) is expected
