# SPDX-License-Identifier: Apache-2.0
"""The page of the documents' structure, read off the JSON Schemas in ``schemas/``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

SCHEMAS = Path(__file__).parents[1] / "schemas"

Schema = Mapping[str, Any]
_MOST_ALLOWED = 12
# Limits beyond this are those of the database's numbers, and concern nobody.
_NO_LIMIT = 1_000_000_000


class _Row(NamedTuple):
    field: str
    kind: str
    is_required: bool
    schema: Schema


def page(marker: str) -> str:
    """Return the page: a table of fields for each document.

    :param marker: the line that says that the page is generated.
    """
    lines = [
        "# Documents",
        "",
        marker,
        "The structure of every JSON document that Scale reads or writes. The schemas themselves (JSON",
        "Schema, draft 2020-12) are in `schemas/`. What documents must mean beyond their structure is in",
        "[rules.md](rules.md). Check a file with `airflow scale validate KIND FILE`.",
        "",
        "In field names, `[]` stands for each item of an array and `.*` for each member of an object.",
        "A field in **bold** is required within its object.",
    ]
    for path in sorted(SCHEMAS.glob("*.json")):
        lines += _section(path)
    return "\n".join(lines) + "\n"


def _section(path: Path) -> Iterator[str]:
    schema = json.loads(path.read_text(encoding="utf-8"))
    version = path.stem.rpartition("-")[2]
    title = schema["title"].removesuffix(version).strip()
    yield from ("", f"## {title} {version}", "", f"{schema['description']} (`schemas/{path.name}`)")
    yield from ("", "| field | type | default | what it is |", "|---|---|---|---|")
    for row in _rows(schema, schema, ""):
        name = f"**`{row.field}`**" if row.is_required else f"`{row.field}`"
        default = f"`{json.dumps(row.schema['default'])}`" if "default" in row.schema else ""
        yield f"| {name} | {row.kind} | {default} | {_sentences(row.schema)} |"


def _rows(root: Schema, schema: Schema, place: str) -> Iterator[_Row]:
    """Yield the fields of an object, each followed by those inside of it."""
    seen: set[str] = set()
    for part, condition in _parts(root, schema):
        required = part.get("required", ())
        for name, field in part.get("properties", {}).items():
            if name in seen or not isinstance(field, dict) or "not" in field or "const" in field:
                continue
            seen.add(name)
            found = {**_resolve(root, field)}
            found["description"] = f"{condition}{found.get('description', '')}"
            here = f"{place}{name}"
            yield _Row(here, _kind(root, found), name in required, found)
            yield from _inside(root, found, here)


def _inside(root: Schema, schema: Schema, here: str) -> Iterator[_Row]:
    items = schema.get("items")
    if isinstance(items, dict):
        yield from _inside(root, _resolve(root, items), f"{here}[]")
    members = schema.get("additionalProperties")
    if isinstance(members, dict) and "properties" in _resolve(root, members):
        yield from _rows(root, _resolve(root, members), f"{here}.*.")
    yield from _rows(root, schema, f"{here}.")


def _parts(root: Schema, schema: Schema) -> Iterator[tuple[Schema, str]]:
    """Yield a schema, and what it becomes under conditions, each with the condition in words."""
    yield schema, ""
    for each in [schema, *schema.get("allOf", ())]:
        then = each.get("then")
        if then is not None:
            yield _resolve(root, then), _condition(each["if"])


def _condition(schema: Schema) -> str:
    tests = [f"`{name}` is `{each['const']}`" for name, each in schema.get("properties", {}).items()]
    return f"Where {' and '.join(tests)}: " if tests else ""


def _resolve(root: Schema, schema: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    target: Schema = root["$defs"][reference.rpartition("/")[2]]
    # What stands beside a reference says more about this very place.
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _kind(root: Schema, schema: Schema) -> str:
    kinds = schema.get("type", "any value")
    text = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    items = schema.get("items")
    if isinstance(items, dict) and "type" in (item := _resolve(root, items)):
        # Of an array of arrays no more is said: its description does.
        text = f"{text} of {item['type']}s" if isinstance(item["type"], str) else text
    return text


def _sentences(schema: Schema) -> str:
    words = [str(schema.get("description", ""))]
    allowed = schema.get("enum")
    if allowed and len(allowed) <= _MOST_ALLOWED:
        words.append(f"One of {', '.join(f'`{each}`' for each in allowed)}.")
    for key, text in (("minimum", "At least"), ("exclusiveMinimum", "More than"), ("maximum", "At most")):
        if abs(schema.get(key, _NO_LIMIT)) < _NO_LIMIT:
            words.append(f"{text} {schema[key]:,}.")
    if "maxLength" in schema:
        words.append(f"At most {schema['maxLength']:,} characters.")
    if schema.get("minItems"):
        words.append(f"At least {schema['minItems']} of them.")
    return " ".join(word for word in words if word).replace("|", "\\|").replace("\n", " ")
