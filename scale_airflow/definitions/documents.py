# SPDX-License-Identifier: Apache-2.0
"""Read JSON documents strictly, and check their structure against the schemas in ``schemas/``."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from scale_airflow.definitions.faults import Faults, nearest, quote
from scale_airflow.definitions.json_values import MAX_DEPTH, check_values
from scale_airflow.definitions.schema_check import Check, compile_schema
from scale_airflow.definitions.source import repeated_members
from scale_airflow.errors import Fault, InvalidDocument

__all__ = [
    "MAX_DEPTH",
    "check_structure",
    "check_values",
    "load_json",
    "nearest",
    "schema",
    "strings",
    "text_of",
]

_VERSIONS: Mapping[str, tuple[str, ...]] = {"results-manifest": ("1.0", "1.1")}
_LATEST = "1.0"
_Parsed = TypeVar("_Parsed")


def load_json(text: str | bytes) -> Any:
    """Read one JSON document.

    Stricter than :func:`json.loads`: NaN and the infinities, an object with the same member twice and nesting
    deeper than :data:`MAX_DEPTH` are refused.

    :raises InvalidDocument: every fault found.
    """
    try:
        source = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        message = f"This is not UTF-8 text: byte {error.start} is wrong."
        raise InvalidDocument("JSON document", [Fault("", message, "document.not-json")]) from None
    repeats = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeats
        found = dict(pairs)
        repeats = repeats or len(found) < len(pairs)
        return found

    faults = Faults()
    document: Any = None
    try:
        document = json.loads(source, object_pairs_hook=members)
    except json.JSONDecodeError as error:
        message = f"This is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        faults.add("", "document.not-json", message)
    except RecursionError:
        faults.add(
            "", "document.too-deep", f"Objects and arrays may be nested at most {MAX_DEPTH} levels deep."
        )
    except ValueError as error:  # Python refuses to read integers of more than 4300 digits
        faults.add("", "document.not-json", f"This is not JSON that can be read: {error}.")
    else:
        if repeats:
            for place, name in repeated_members(source):
                faults.add(
                    place, "document.repeated-field", f"The field {quote(name)} is given more than once."
                )
        faults.extend(check_values(document))
    faults.refuse("JSON document", document)
    return document


@functools.cache
def schema(name: str) -> Any:
    """Return the JSON Schema of a document, e.g. ``"job-interface-1.0"``."""
    file = importlib.resources.files("scale_airflow.schemas") / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))


@functools.cache
def _compiled(name: str, required: tuple[str, ...] | None) -> Check:
    whole = schema(name)
    return compile_schema(whole if required is None else {**whole, "required": list(required)})


def check_structure(kind: str, document: object, *, version: str | None = None) -> list[Fault]:
    """Return every structural fault of a document, in document order.

    :param kind: the document's kind without its version, e.g. ``"job-interface"``.
    :param version: the version to check against; by default the latest.
    """
    faults = structure(kind, document, version=version)
    return list(faults.in_order(document))


def structure(
    kind: str, document: object, *, version: str | None = None, required: tuple[str, ...] | None = None
) -> Faults:
    """Return the structural faults as a collection, to which the document's own rules add theirs.

    :param required: the required fields, if not those of the schema: an edit may give any of them.
    """
    faults = Faults()
    faults.extend(check_values(document))
    if any(fault.rule in ("document.too-deep", "document.not-json-value") for fault in faults.found):
        return faults
    latest = _VERSIONS.get(kind, (_LATEST,))[-1]
    _compiled(f"{kind}-{version or latest}", required)(document, faults)
    return faults


def nested(parse: Callable[[Any], _Parsed], value: object, place: str, faults: Faults) -> _Parsed | None:
    """Read a document that stands inside another one; None after adding its faults at ``place``."""
    try:
        return parse(value)
    except InvalidDocument as error:
        faults.extend(error.faults, place)
        return None


def rows(document: object, field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects in an array field with their indexes, whatever the document looks like.

    A document's own rules are checked even where its structure has faults, so that all are told at once;
    this, :func:`text_of` and :func:`strings` show them the sound parts.
    """
    values = document.get(field) if isinstance(document, dict) else None
    if isinstance(values, list):
        for index, value in enumerate(values):
            if isinstance(value, dict):
                yield index, value


def text_of(row: object, field: str) -> str | None:
    """Return a text field of an object, or None if it is missing or no text."""
    value = row.get(field) if isinstance(row, dict) else None
    return value if isinstance(value, str) else None


def strings(row: object, field: str) -> tuple[str, ...]:
    """Return the texts in an array field of an object."""
    values = row.get(field) if isinstance(row, dict) else None
    return tuple(each for each in values if isinstance(each, str)) if isinstance(values, list) else ()


def check_unique(faults: Faults, rule: str, what: str, names: Iterable[tuple[str, str | None]]) -> set[str]:
    """Add a fault for every name that was there before; return all names.

    :param what: the sort of thing, for the sentence, e.g. ``"input"``.
    :param names: pointers and names; None for one that is missing.
    """
    seen: set[str] = set()
    for place, name in names:
        if name is None:
            continue
        if name in seen:
            faults.add(place, rule, f"There is more than one {what} with the name {quote(name)}.")
        seen.add(name)
    return seen
