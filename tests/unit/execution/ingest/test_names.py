# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.execution.ingest import names

RAW = st.binary(min_size=1, max_size=255).filter(lambda raw: b"/" not in raw and b"\0" not in raw)


@given(RAW)
def test_every_name_of_a_file_system_travels_and_comes_back(raw: bytes) -> None:
    name = os.fsdecode(raw)
    text = names.written(name)
    assert names.on_disk(json.loads(json.dumps(text).encode())) == name
    assert text.encode().decode() == text
    assert not any(character < " " or character == "\x7f" for character in text)
    assert names.is_component(text) == (name not in (".", ".."))


@given(RAW, RAW)
def test_two_names_never_look_the_same(one: bytes, other: bytes) -> None:
    assert (names.written(os.fsdecode(one)) == names.written(os.fsdecode(other))) == (one == other)


@pytest.mark.parametrize("name", ["plain.h5", "with space", "ümläut ☃", "100%", "back\\slash", "\u2028"])
def test_ordinary_names_stay_and_are_fine(name: str) -> None:
    assert names.written(name) == name
    assert names.problem(name) is None


@pytest.mark.parametrize(
    ("raw", "text", "words"),
    [
        (b"two\nlines", "two\ufffd0Alines", "control character"),
        (b"del\x7f", "del\ufffd7F", "control character"),
        (b"latin\xe4", "latin\ufffdE4", "not valid UTF-8"),
        ("mark\ufffd".encode(), "mark\ufffd\ufffd", "U+FFFD"),
    ],
)
def test_names_that_can_t_be_ingested_say_why(raw: bytes, text: str, words: str) -> None:
    name = os.fsdecode(raw)
    assert names.written(name) == text
    assert words in (names.problem(name) or "")


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "nul\0", "x" * 256, "ä" * 128, "half\ud800"])
def test_what_is_no_name_of_a_file_is_refused(text: str) -> None:
    assert not names.is_component(text)


@given(RAW)
def test_a_marked_name_fits_into_a_directory(raw: bytes) -> None:
    text = names.written(os.fsdecode(raw))
    marked = names.marked(text, "9223372036854775807-0123abcd")
    assert marked != text
    assert names.is_component(marked)
    assert len(os.fsencode(names.on_disk(marked))) <= 255
