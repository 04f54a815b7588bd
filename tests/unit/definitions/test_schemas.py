# SPDX-License-Identifier: Apache-2.0
"""The JSON Schemas themselves: valid, complete with titles and descriptions, one for each document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from unit.definitions.samples import PARSERS

from scale_airflow.definitions.documents import schema
from scale_airflow.definitions.schema_check import compile_schema

FOLDER = Path(__file__).resolve().parents[3] / "schemas"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def test_there_is_one_for_every_document() -> None:
    assert {name.rpartition("-")[0] for name in NAMES} == PARSERS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_schema_that_we_understand(name: str) -> None:
    document = schema(name)
    assert document == json.loads((FOLDER / f"{name}.json").read_text())
    Draft202012Validator.check_schema(document)
    compile_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == f"urn:scale-airflow:{name}"


def fields(rule: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the schema of every field, item and definition with its place."""
    if not isinstance(rule, dict):
        return
    for group in ("properties", "$defs"):
        for name, inner in rule.get(group, {}).items():
            yield f"{place}/{name}", inner
            yield from fields(inner, f"{place}/{name}")
    for single in ("items", "additionalProperties", "propertyNames"):
        if isinstance(rule.get(single), dict):
            yield f"{place}/{single}", rule[single]
            yield from fields(rule[single], f"{place}/{single}")


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_a_title_and_a_description(name: str) -> None:
    document = schema(name)
    for place, rule in [("", document), *fields(document, "")]:
        if rule is not True and set(rule) != {"$ref"}:
            assert rule.get("title"), place
            assert rule.get("description", "").endswith("."), place
