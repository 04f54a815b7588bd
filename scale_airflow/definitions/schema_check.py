# SPDX-License-Identifier: Apache-2.0
"""Compile a JSON Schema into a function that finds every structural fault of a document.

Only the keywords that the files in ``schemas/`` use are known; a schema with another one is refused
when it is compiled. Compared with the jsonschema library this is about twenty times faster (a document is
checked on every request and every compiled DAG), and it says in our own sentences what was found, what is
allowed and which name was probably meant. The tests hold its verdict equal to jsonschema's.

Differences from the standard, all on purpose: ``1.0`` and ``true`` are not integers, and ``$`` in a pattern
is the very end of the text, never the place before a last newline.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scale_airflow.definitions.faults import Faults, describe, pointer, quote, quote_all

# A place is a chain (parent place, member name or index), turned into a pointer only for a fault.
Place = tuple[Any, "str | int"] | None
Check = Callable[[Any, Place, Faults], None]
Schema = Mapping[str, Any]

_ANNOTATIONS = {
    "$schema",
    "$id",
    "$defs",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "readOnly",
    "writeOnly",
}
_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "object": ("an object", lambda value: isinstance(value, dict)),
    "array": ("an array", lambda value: isinstance(value, list)),
    "string": ("a string", lambda value: isinstance(value, str)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "null": ("null", lambda value: value is None),
    "integer": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "number": ("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
}


def compile_schema(schema: Schema) -> Check:
    """Return the check of a whole schema document.

    :raises ValueError: the schema uses a keyword or a reference that is not known here.
    """
    return _Compiler(schema).compile(schema)


def place_pointer(place: Place) -> str:
    """Return the JSON pointer of a place."""
    parts: list[str | int] = []
    while place is not None:
        place, part = place
        parts.append(part)
    return pointer(*reversed(parts))


class _Compiler:
    def __init__(self, root: Schema):
        self._root = root
        self._referenced: dict[str, Check] = {}

    def compile(self, schema: Schema | bool) -> Check:
        """Return the check of one subschema."""
        if schema is True:
            return _accept
        if schema is False:
            return _not_allowed("")
        if unknown := schema.keys() - _KNOWN:
            raise ValueError(f"Schema keywords that are not known here: {sorted(unknown)}")
        checks = [build(self, schema) for words, build in _KEYWORDS if words & schema.keys()]
        if "type" not in schema:
            return _all_of(checks)
        return _typed(schema, _all_of(checks))

    def reference(self, target: str) -> Check:
        """Return the check of ``#/$defs/<name>``, compiled once."""
        if target not in self._referenced:
            name = target.removeprefix("#/$defs/")
            if name not in self._root.get("$defs", {}):
                raise ValueError(f"A schema refers to {target}, which it does not define")
            self._referenced[target] = self.compile(self._root["$defs"][name])
        return self._referenced[target]


def _accept(value: Any, place: Place, faults: Faults) -> None:
    return None


def _all_of(checks: list[Check]) -> Check:
    if not checks:
        return _accept
    if len(checks) == 1:
        return checks[0]

    def check(value: Any, place: Place, faults: Faults) -> None:
        for each in checks:
            each(value, place, faults)

    return check


def _not_allowed(reason: str) -> Check:
    def check(value: Any, place: Place, faults: Faults) -> None:
        name = str(place[1]) if place else "The document"
        faults.add(
            place_pointer(place), "document.unknown-field", f"{name} can't be given here. {reason}".strip()
        )

    return check


def _typed(schema: Schema, rest: Check) -> Check:
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    expected = " or ".join(_TYPES[name][0] for name in names)
    tests = [_TYPES[name][1] for name in names]
    hidden = bool(schema.get("writeOnly"))

    def wrong(value: Any, place: Place, faults: Faults) -> None:
        found = describe(value, hidden=hidden)
        faults.add(
            place_pointer(place), "document.wrong-type", f"This must be {expected}, but it is {found}."
        )

    if len(tests) == 1:
        (test,) = tests

        def check_one(value: Any, place: Place, faults: Faults) -> None:
            if test(value):
                rest(value, place, faults)
            else:
                wrong(value, place, faults)

        return check_one

    def check(value: Any, place: Place, faults: Faults) -> None:
        if any(test(value) for test in tests):
            rest(value, place, faults)
        else:
            wrong(value, place, faults)

    return check


def _reference(compiler: _Compiler, schema: Schema) -> Check:
    return compiler.reference(schema["$ref"])


def _combined(compiler: _Compiler, schema: Schema) -> Check:
    return _all_of([compiler.compile(each) for each in schema["allOf"]])


class _Verdict(Faults):
    """Knows only whether there are faults: nobody reads those that a condition finds."""

    def __bool__(self) -> bool:
        return self.unlisted > 0

    def add(
        self, path: str, rule: str, message: str, *, near: tuple[str, Iterable[str]] | None = None
    ) -> None:
        """Count a fault."""
        self.unlisted += 1


def _condition(compiler: _Compiler, schema: Schema) -> Check:
    test = compiler.compile(schema["if"])
    then = compiler.compile(schema.get("then", True))
    otherwise = compiler.compile(schema.get("else", True))

    def check(value: Any, place: Place, faults: Faults) -> None:
        tried = _Verdict()
        test(value, place, tried)
        (otherwise if tried else then)(value, place, faults)

    return check


def _negation(compiler: _Compiler, schema: Schema) -> Check:
    if schema["not"] != {}:
        raise ValueError('The schema keyword "not" is known only as {"not": {}}')
    return _not_allowed(schema.get("description", ""))


def _enumeration(compiler: _Compiler, schema: Schema) -> Check:
    allowed = schema["enum"] if "enum" in schema else [schema["const"]]
    if not all(isinstance(each, str) for each in allowed):
        raise ValueError("Only strings are known in enum and const")
    shown = quote_all(allowed)
    sentence = f"one of {shown}" if len(allowed) > 1 else f"{shown}"

    def check(value: Any, place: Place, faults: Faults) -> None:
        if value not in allowed:
            message = f"This must be {sentence}, but it is {describe(value)}."
            near = (value, allowed) if isinstance(value, str) else None
            faults.add(place_pointer(place), "document.value-not-allowed", message, near=near)

    return check


def _pattern(compiler: _Compiler, schema: Schema) -> Check:
    source = schema["pattern"]
    compiled = re.compile(source[:-1] + r"\Z" if source.endswith("$") else source)
    wanted = schema.get("description", f"It must match the pattern {source}.")

    def check(value: Any, place: Place, faults: Faults) -> None:
        if isinstance(value, str) and not compiled.search(value):
            message = f"{quote(value)} is not allowed here. {wanted}"
            faults.add(place_pointer(place), "document.pattern", message)

    return check


def _length(compiler: _Compiler, schema: Schema) -> Check:
    least, most = schema.get("minLength", 0), schema.get("maxLength")

    def check(value: Any, place: Place, faults: Faults) -> None:
        if not isinstance(value, str):
            return
        if len(value) < least:
            needed = (
                "This must not be empty." if least == 1 else f"This must have at least {least} characters."
            )
            faults.add(place_pointer(place), "document.too-short", needed)
        if most is not None and len(value) > most:
            message = f"This may have at most {most} characters, but has {len(value)}."
            faults.add(place_pointer(place), "document.too-long", message)

    return check


def _item_count(compiler: _Compiler, schema: Schema) -> Check:
    least, most = schema.get("minItems", 0), schema.get("maxItems")

    def check(value: Any, place: Place, faults: Faults) -> None:
        if not isinstance(value, list):
            return
        if len(value) < least:
            message = f"This must have at least {least} item{'s' * (least != 1)}, but has {len(value)}."
            faults.add(place_pointer(place), "document.too-few-items", message)
        if most is not None and len(value) > most:
            message = f"This may have at most {most} items, but has {len(value)}."
            faults.add(place_pointer(place), "document.too-many-items", message)

    return check


def _range(compiler: _Compiler, schema: Schema) -> Check:
    least, most, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")

    def check(value: Any, place: Place, faults: Faults) -> None:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return
        found = f"but it is {describe(value)}."
        if least is not None and value < least:
            faults.add(place_pointer(place), "document.too-small", f"This must be at least {least}, {found}")
        if above is not None and value <= above:
            faults.add(place_pointer(place), "document.too-small", f"This must be more than {above}, {found}")
        if most is not None and value > most:
            faults.add(place_pointer(place), "document.too-large", f"This may be at most {most}, {found}")

    return check


def _items(compiler: _Compiler, schema: Schema) -> Check:
    each = compiler.compile(schema["items"])

    def check(value: Any, place: Place, faults: Faults) -> None:
        if isinstance(value, list):
            for index, item in enumerate(value):
                each(item, (place, index), faults)

    return check


def _member_names(compiler: _Compiler, schema: Schema) -> Check:
    each = compiler.compile(schema["propertyNames"])

    def check(value: Any, place: Place, faults: Faults) -> None:
        if isinstance(value, dict):
            for name in value:
                each(name, (place, name), faults)

    return check


def _required(compiler: _Compiler, schema: Schema) -> Check:
    names = schema["required"]

    def check(value: Any, place: Place, faults: Faults) -> None:
        if isinstance(value, dict):
            for name in names:
                if name not in value:
                    message = f"The required field {quote(name)} is missing."
                    faults.add(place_pointer(place), "document.missing-field", message)

    return check


def _members(compiler: _Compiler, schema: Schema) -> Check:
    known = {name: compiler.compile(each) for name, each in schema.get("properties", {}).items()}
    others = schema.get("additionalProperties", True)
    other = compiler.compile(others)
    own = schema.get("properties", {})
    allowed = quote_all(name for name in known if own[name] is True or not own[name].get("readOnly"))

    def check(value: Any, place: Place, faults: Faults) -> None:
        if not isinstance(value, dict):
            return
        for name, member in value.items():
            each = known.get(name)
            if each is not None:
                each(member, (place, name), faults)
            elif others is False:
                message = f"There is no field {quote(name)} here; the fields are {allowed}."
                here = place_pointer((place, name))
                faults.add(here, "document.unknown-field", message, near=(name, known))
            else:
                other(member, (place, name), faults)

    return check


# Keywords that are checked together, in the order of checking: what is missing is told before what is
# wrong inside.
_KEYWORDS: list[tuple[frozenset[str], Callable[[_Compiler, Schema], Check]]] = [
    (frozenset({"$ref"}), _reference),
    (frozenset({"not"}), _negation),
    (frozenset({"enum", "const"}), _enumeration),
    (frozenset({"pattern"}), _pattern),
    (frozenset({"minLength", "maxLength"}), _length),
    (frozenset({"minItems", "maxItems"}), _item_count),
    (frozenset({"minimum", "maximum", "exclusiveMinimum"}), _range),
    (frozenset({"required"}), _required),
    (frozenset({"propertyNames"}), _member_names),
    (frozenset({"properties", "additionalProperties"}), _members),
    (frozenset({"items"}), _items),
    (frozenset({"allOf"}), _combined),
    (frozenset({"if", "then", "else"}), _condition),
]
_KNOWN = _ANNOTATIONS.union({"type"}, *(words for words, _ in _KEYWORDS))
