# SPDX-License-Identifier: Apache-2.0
"""Tags of files: one rule, wherever they come from."""

from __future__ import annotations

from typing import Any

import pytest

from scale_airflow.definitions.data_types import check_data_types
from scale_airflow.definitions.documents import schema


def test_good_tags() -> None:
    assert check_data_types(["dem", "Landsat 8", "a_b-c"]) == []
    assert check_data_types([]) == []


@pytest.mark.parametrize("tag", ["", "a/b", "a;b", "é", "a\n", "\udfff"])
def test_bad_tags(tag: str) -> None:
    (fault,) = check_data_types(["good", tag])
    assert fault.path == "/1"
    assert "Letters, digits, spaces, underscores and hyphens." in fault.message


def test_every_schema_has_the_same_rule() -> None:
    def tags(rule: Any) -> list[Any]:
        if not isinstance(rule, dict):
            return []
        found = [rule["data_types"]["items"]] if "data_types" in rule else []
        return found + [each for inner in rule.values() for each in tags(inner)]

    wanted, *others = [
        items
        for name in ("results-manifest-1.1", "results-manifest-1.0", "strike-configuration-1.0")
        for items in tags(schema(name))
    ]
    assert others == [wanted, wanted]
