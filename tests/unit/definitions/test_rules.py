# SPDX-License-Identifier: Apache-2.0
"""The table of rules is complete both ways, and its page is up to date."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import scale_airflow.definitions
from scale_airflow.definitions.rules import TABLE, TEST, faults_of, page

SOURCES = Path(scale_airflow.definitions.__file__).parent
ROOT = Path(__file__).resolve().parents[3]


def reported_rules() -> set[str]:
    """Return every rule identifier that stands in the code of the documents, outside the table itself."""
    found = set()
    for source in SOURCES.glob("*.py"):
        if source.name.startswith("rule"):
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(re.findall(r"^[a-z]+(?:-[a-z]+)*\.[a-z]+(?:-[a-z]+)*$", node.value))
    return found


def test_every_rule_that_is_reported_is_in_the_table_and_the_other_way_round() -> None:
    assert reported_rules() == TABLE.keys()


@pytest.mark.parametrize("rule_id", TABLE)
def test_breaking_document(rule_id: str) -> None:
    rule = TABLE[rule_id]
    faults = [(fault.rule, fault.path) for fault in faults_of(rule)]
    if rule_id == "document.too-many-faults":
        assert faults[-1] == (rule.id, rule.at)
    else:
        assert faults == [(rule.id, rule.at)]


def test_the_table_names_this_test() -> None:
    path, _, name = TEST.partition("::")
    assert ROOT / path == Path(__file__)
    assert name == test_breaking_document.__name__


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "reference" / "rules.md").read_text()
    assert written == page(), "python -m scale_airflow.definitions.rules > docs/reference/rules.md"


def test_every_rule_says_where_it_is_written() -> None:
    for rule in TABLE.values():
        assert rule.where, rule.id
        assert rule.sentence.endswith("."), rule.id
