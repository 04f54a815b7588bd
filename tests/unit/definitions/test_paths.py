# SPDX-License-Identifier: Apache-2.0
"""Relative paths that never lead out of their directory."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.definitions.paths import relative_path
from scale_airflow.errors import WorkspaceError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "a"),
        ("a/b.c", "a/b.c"),
        ("./a//b/.", "a/b"),
        ("..a/b..", "..a/b.."),
        (" ", " "),
        ("a\\b", "a\\b"),
    ],
)
def test_relative_paths(text: str, expected: str) -> None:
    assert relative_path(text) == PurePosixPath(expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        (".", "is empty"),
        ("/", "is absolute"),
        ("/a", "is absolute"),
        ("//a", "is absolute"),
        ("..", 'contains ".."'),
        ("a/../b", 'contains ".."'),
        ("a/..", 'contains ".."'),
        ("a\0b", "contains the character NUL"),
    ],
)
def test_other_paths_are_refused(text: str, problem: str) -> None:
    with pytest.raises(WorkspaceError, match=problem):
        relative_path(text)


@given(st.text("./a\0", max_size=8))
def test_what_is_taken_stays_inside(text: str) -> None:
    try:
        path = relative_path(text)
    except WorkspaceError:
        return
    joined = PurePosixPath("/root") / path
    assert joined.is_relative_to("/root")
    assert ".." not in joined.parts
    assert joined != PurePosixPath("/root")
