# SPDX-License-Identifier: Apache-2.0
"""Names from the server: none leads out of the directory, and no two files have one."""

from __future__ import annotations

import pytest

from scale_airflow.errors import UnsafeName
from scale_airflow.rescale.transfers.names import PARTS_FOLDER, part_name, refuse_clashes, safe_relative_path


@pytest.mark.parametrize(
    ("told", "safe"),
    [
        ("a.txt", "a.txt"),
        ("./out//run 1/ü.dat", "out/run 1/ü.dat"),
        ("..data", "..data"),
        ("C:\\temp\\x", "C:\\temp\\x"),
        ("-rf", "-rf"),
        ("a/", "a"),
    ],
)
def test_what_stays_below_is_kept(told: str, safe: str) -> None:
    assert safe_relative_path(told) == safe


@pytest.mark.parametrize(
    "told",
    [
        "",
        ".",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        "a\0b",
        "a\nb",
        "x" * 256,
        "\ud800",
        f"{PARTS_FOLDER}/x",
    ],
)
def test_what_leads_out_is_refused_by_name(told: str) -> None:
    with pytest.raises(UnsafeName, match=r"can't be stored|not whole") as caught:
        safe_relative_path(told)
    assert caught.value.name == told


def test_all_clashes_are_told_at_once() -> None:
    refuse_clashes(["a", "b/c", "b/d", "ab"])
    with pytest.raises(UnsafeName) as caught:
        refuse_clashes(["a", "a", "b/c/d", "b", "e"])
    assert "'a' is the name of several files" in str(caught.value)
    assert "'b' is a file, and a directory of 'b/c/d'" in str(caught.value)


@pytest.mark.parametrize("file_id", ["../x", "a/b", "", ".", "x" * 300, "a\0"])
def test_no_id_becomes_a_path(file_id: str) -> None:
    assert set(part_name(file_id)) <= set("0123456789abcdef")
    assert part_name("AbC-_9") == "AbC-_9"
