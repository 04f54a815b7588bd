# SPDX-License-Identifier: Apache-2.0
"""Check documents against a JSON Schema: jsonschema-rs gives the verdict, jsonschema explains a bad one.

Nearly every document is sound, and it is checked on every request and every compiled DAG: so the fast library
looks first. What it does not accept is gone through by
:mod:`scale_airflow.definitions.schema_sentences`, which has the last word.

Differences from the standard, all on purpose: ``1.0`` and ``true`` are not integers, and ``$`` in a pattern
is the very end of the text, never the place before a last newline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from scale_airflow.definitions.faults import Faults

Schema = Mapping[str, Any]
Check = Callable[[Any, Faults], None]

_INNER = {"$ref": "#"}
_MANY = {"additionalProperties": _INNER}
_ANY_VALUE = (
    "$schema $id $ref $comment title description default examples readOnly writeOnly type pattern required "
    "minLength maxLength minItems maxItems minimum maximum exclusiveMinimum"
)
# The schemas that can be explained, as a schema: for another keyword there would be no sentence.
_EXPLAINED = jsonschema_rs.validator_for(
    {
        "properties": {
            **dict.fromkeys(_ANY_VALUE.split(), True),
            "enum": {"items": {"type": "string"}},
            "const": {"type": "string"},
            "not": {"const": {}},
            "$defs": _MANY,
            "properties": _MANY,
            "allOf": {"items": _INNER},
            **dict.fromkeys(["if", "then", "else", "items", "propertyNames"], _INNER),
            "additionalProperties": {"anyOf": [{"const": False}, _INNER]},
        },
        "additionalProperties": False,
        # jsonschema does not say where the schema ``false`` stands.
        "not": {"const": False},
    }
)


class _WholeNumber:
    """The keyword of ours for integers: not ``1.0``, which JSON Schema takes for one."""

    def __init__(self, parent_schema: dict[str, Any], value: Any, schema_path: list[str | int]):
        pass

    def validate(self, instance: Any) -> None:
        """Refuse a float."""
        if isinstance(instance, float):
            raise ValueError


def _with_whole_numbers(rule: dict[str, Any]) -> dict[str, Any]:
    types = rule.get("type")
    whole = types == "integer" or (isinstance(types, list) and "integer" in types and "number" not in types)
    return {**rule, "wholeNumber": True} if whole else rule


def compile_schema(schema: Schema) -> Check:
    """Return a function that adds every structural fault of a document to a collection.

    :raises ValueError: the schema is none, uses a keyword that is not explained here, or refers to nothing.
    """
    _EXPLAINED.validate(schema)
    strict = json.loads(json.dumps(schema), object_hook=_with_whole_numbers)
    fast = jsonschema_rs.validator_for(strict, keywords={"wholeNumber": _WholeNumber}, offline=True)

    def check(document: Any, faults: Faults) -> None:
        if not _accepts(fast, document):
            # Loading jsonschema takes as long as thousands of checks, and sound documents don't need it.
            from scale_airflow.definitions.schema_sentences import explain

            explain(schema, document, faults)

    return check


def _accepts(validator: jsonschema_rs.Validator, document: Any) -> bool:
    try:
        return validator.is_valid(document)
    except Exception:
        # It can't read every value of Python, e.g. no lone surrogate: then the explanation decides.
        return False
