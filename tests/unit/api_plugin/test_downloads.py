# SPDX-License-Identifier: Apache-2.0
"""Ranges and file names of downloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.api_plugin.downloads import UnsatisfiableRange, disposition, wanted_range


@given(st.text(max_size=40), st.integers(0, 100))
def test_any_header_wants_a_range_of_the_file_or_all_of_it(text: str, size: int) -> None:
    try:
        span = wanted_range(f"bytes={text}", size)
    except UnsatisfiableRange:
        return
    assert span is None or 0 <= span[0] <= span[1] < size


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_first_and_last(first: int, last: int, size: int) -> None:
    header = f"bytes={first}-{last}"
    if last < first:
        assert wanted_range(header, size) is None
    elif first >= size:
        with pytest.raises(UnsatisfiableRange):
            wanted_range(header, size)
    else:
        assert wanted_range(header, size) == (first, min(last, size - 1))


@given(st.text(min_size=1).filter(lambda text: not any("\ud800" <= each <= "\udfff" for each in text)))
def test_a_file_name_is_one_header_line(name: str) -> None:
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert header.startswith('attachment; filename="')


def test_plain_names_stay() -> None:
    assert disposition("my file (1).kml").startswith('attachment; filename="my file (1).kml";')
