# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from scale_airflow.rescale.emulator.templates import TemplateError, formatted, render


@pytest.mark.parametrize(
    ("value", "pattern", "written"),
    [
        ("3.14159", "0.00##", "3.1416"),
        ("3", "0.00##", "3.00"),
        ("3.125", "0.00##", "3.125"),
        ("-2.345", "0.00", "-2.34"),
        ("2.5", "0", "2"),
        ("7", "000", "007"),
        ("0.5", "#.##", "0.5"),
        ("0.5", "#.00", ".50"),
        ("0", "#", "0"),
        ("1234567.5", "#,##0.00", "1,234,567.50"),
        ("12", "#,##0", "12"),
        ("12345", "0.###E0", "1.234E4"),
        ("0.00012", "0.00E00", "1.20E-04"),
        ("0", "0.0E0", "0.0E0"),
        ("0.256", "0.0%", "25.6%"),
        ("1e3", "0.0", "1000.0"),
        ("5", "x0.0mm", "x5.0mm"),
    ],
)
def test_numbers_are_written_as_the_format_says(value, pattern, written):
    assert formatted(value, pattern) == written


@pytest.mark.parametrize(
    ("value", "pattern", "said"),
    [("abc", "0.0", "not a number"), ("nan", "0.0", "can't be written"), ("1", "0.0.0", "is not a format")],
)
def test_what_cannot_be_written_is_refused(value, pattern, said):
    with pytest.raises(ValueError, match=said):
        formatted(value, pattern)


def test_places_are_filled():
    text = 'a=${x}, b=${ y ? string("0.0") }, c=$x {x} $${x}\n'.replace(" ? ", "?")
    assert render(text, {"x": "1e-3", "y": "2.25"}) == "a=1e-3, b=2.2, c=$x {x} $1e-3\n"


def test_a_place_that_cannot_be_filled_is_named_by_its_line():
    with pytest.raises(TemplateError, match="line 2: there is no variable 'z'; there are: x, y"):
        render("a\n${z}", {"x": "1", "y": "2"})
    with pytest.raises(TemplateError, match="line 1: 'red' is not a number"):
        render('${x?string("0.0")}', {"x": "red"})
