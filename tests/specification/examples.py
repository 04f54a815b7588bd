# SPDX-License-Identifier: Apache-2.0
"""The specification's examples: almost JSON, with commas missing, and dots for what is left out."""

from __future__ import annotations

import json
import re
from typing import Any


class _LeftOut:
    """What an example leaves out: ``{...}``, ``[...]``."""

    def __init__(self, shape: str):
        self.shape = shape


SOME_OBJECT = _LeftOut("object")
SOME_ARRAY = _LeftOut("array")

_BLANK = re.compile(r"[\s,]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def read(text: str) -> Any:
    """Return what an example holds.

    :raises ValueError: where it is further from JSON than the specification's examples are.
    """
    reader = _Reader(text)
    # Some examples come without their outermost braces.
    found = reader.members(None) if text.lstrip().startswith('"') else reader.value()
    reader.skip()
    if reader.place != len(text):
        raise ValueError(f"More after the end: {text[reader.place :][:80]!r}")
    return found


class _Reader:
    def __init__(self, text: str):
        self.text, self.place = text, 0

    def skip(self) -> None:
        match = _BLANK.match(self.text, self.place)
        assert match is not None
        self.place = match.end()

    def took(self, token: str) -> bool:
        self.skip()
        if not self.text.startswith(token, self.place):
            return False
        self.place += len(token)
        return True

    def value(self) -> Any:
        if self.took("{"):
            return self.members("}")
        if self.took("["):
            return self.items()
        for word, meaning in _WORDS.items():
            if self.took(word):
                return meaning
        number = _NUMBER.match(self.text, self.place)
        if number:
            self.place = number.end()
            return float(number[0]) if number[1] else int(number[0])
        return self.string()

    def string(self) -> str:
        self.skip()
        match = _STRING.match(self.text, self.place)
        if not match:
            raise ValueError(f"This is no JSON: {self.text[self.place :][:80]!r}")
        self.place = match.end()
        try:
            return str(json.loads(match[0]))
        except ValueError:  # a regular expression whose backslashes are not escaped
            return match[0][1:-1]

    def members(self, end: str | None) -> Any:
        found: dict[str, Any] = {}
        left_out = False
        while not (self.took(end) if end else self._is_over()):
            if self.took("..."):
                left_out = True
                continue
            name = self.string()
            if not self.took(":"):
                raise ValueError(f"No value for {name!r}")
            found[name] = self.value()
        return found if found or not left_out else SOME_OBJECT

    def items(self) -> Any:
        found: list[Any] = []
        left_out = False
        while not self.took("]"):
            if self.took("..."):
                left_out = True
                continue
            item = self.value()
            if isinstance(item, str) and self.took(":"):  # an object in an array without its braces
                if not found or not isinstance(found[-1], dict):
                    found.append({})
                found[-1][item] = self.value()
            else:
                found.append(item)
        return found if found or not left_out else SOME_ARRAY

    def _is_over(self) -> bool:
        self.skip()
        return self.place == len(self.text)


def shape(value: Any) -> Any:
    """Return what JSON an example shows: objects with their members' shapes, ``[shape]`` for arrays (``[]``
    for an empty one), else the name of a type, with ``?`` where it may also be null; ``object`` and ``array``
    where the example leaves it out."""
    match value:
        case _LeftOut():
            return value.shape
        case dict():
            return {name: shape(each) for name, each in value.items()}
        case list():
            merged: Any = None
            for each in value:
                merged = shape(each) if merged is None else merge(merged, shape(each))
            return [] if merged is None else [merged]
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
    return "datetime" if _MOMENT.fullmatch(value) else "string"


def merge(one: Any, other: Any) -> Any:
    """Return the shape of what has either shape."""
    if one == other or other in ("object", "array", []):
        return one
    if one in ("object", "array", []):
        return other
    if "null" in (one, other):
        real = other if one == "null" else one
        return f"{real.rstrip('?')}?" if isinstance(real, str) else real
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            name: merge(one[name], other[name]) if name in one and name in other else {**other, **one}[name]
            for name in {**one, **other}
        }
    if isinstance(one, list) and isinstance(other, list):
        return [merge(one[0], other[0])]
    return "any"


def plain(value: Any) -> Any:
    """Return an example without its prose, to be sent."""
    if isinstance(value, dict):
        return {
            name: "Text" if name in ("title", "description") and isinstance(each, str) else plain(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, _LeftOut):
        raise ValueError("A request example that leaves something out can't be sent.")
    return value
