# SPDX-License-Identifier: Apache-2.0
"""Compares real answers with the specification's field tables and examples, in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from specification import Endpoint

DOCUMENTS = {
    *("interface", "error_mapping", "definition", "configuration", "data", "results", "results_manifest"),
    *("environment", "json_config", "meta_data", "description"),
}
"""Objects with these names are documents of users or jobs, with specifications of their own: an example's
content is one of many."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_URL = re.compile(r"https?://[^\s/]+/\S*")
_CHECKS = {
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, float),
    "string": lambda value: isinstance(value, str),
    "url": lambda value: isinstance(value, str) and _URL.fullmatch(value) is not None,
    "datetime": lambda value: isinstance(value, str) and _MOMENT.fullmatch(value) is not None,
    "date": lambda value: isinstance(value, str) and _DATE.fullmatch(value) is not None,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "any": lambda value: True,
}


@dataclass
class Deviation:
    """Something that answers may do though the specification does not show it, and why.

    :param what: ``more`` (further fields), ``null``, ``choice`` (further values) or ``never`` (always null).
    :param where: patterns of ``Table.path`` (the path without brackets): of the object for ``more``, else of
        the field.
    :param names: the further fields or values.
    """

    what: str
    where: tuple[str, ...]
    names: tuple[str, ...]
    why: str
    needed: set[str] = field(default_factory=set)

    def covers(self, what: str, place: str, name: str) -> bool:
        """Tell whether this is meant, and remember what of it was needed."""
        patterns = [pattern for pattern in self.where if fnmatchcase(place, pattern)]
        if what != self.what or not patterns or (self.names and name not in self.names):
            return False
        self.needed.update(patterns, [name])
        return True

    def needless(self) -> set[str]:
        """Return which patterns and names nothing needed."""
        return {*self.where, *self.names} - self.needed


@dataclass
class Expected:
    """What the specification says of one value."""

    kinds: set[str] = field(default_factory=set)
    may_be_null: bool = False
    may_be_absent: bool = False
    choices: tuple[str, ...] = ()
    members: dict[str, Expected] = field(default_factory=dict)
    is_exact: bool = False
    item: Expected | None = None

    def add_row(self, path: Sequence[str], row: dict[str, Any]) -> None:
        """Add a row of a field table."""
        if path:
            name, *rest = path
            if name == "[]":
                self.item = self.item or Expected()
                self.item.add_row(rest, row)
            else:
                self.members.setdefault(name, Expected()).add_row(rest, row)
            return
        self.kinds.add(row["type"])
        self.may_be_null |= row.get("may_be_null", False)
        self.may_be_absent |= row.get("may_be_absent", False)
        self.choices = (*self.choices, *row.get("choices", ()))

    def add_example(self, shape: Any, name: str = "") -> None:
        """Add what an example shows."""
        if isinstance(shape, dict):
            self.kinds.add("object")
            if name in DOCUMENTS:
                return
            self.is_exact = True
            for key, each in shape.items():
                self.members.setdefault(key, Expected()).add_example(each, key)
        elif isinstance(shape, list):
            self.kinds.add("array")
            for each in shape:
                self.item = self.item or Expected()
                self.item.add_example(each)
        else:
            self.may_be_null |= shape == "null" or shape.endswith("?")
            kind = shape.rstrip("?")
            if kind == "number":
                self.kinds.add("float")
            elif kind != "null":
                self.kinds.add(kind)

    def paths(self, place: str = "") -> Iterator[tuple[str, Expected]]:
        """Yield every value that is to be seen, by its path."""
        for name, member in self.members.items():
            path = f"{place}.{name}" if place else name
            yield path, member
            yield from member.paths(path)
        if self.item is not None:
            yield f"{place}[]", self.item
            yield from self.item.paths(f"{place}[]")


CONTRADICTIONS = {"input_files": "array", "column": "object"}
"""Where tables say object and examples show an array, or the other way around: the examples make sense."""

_CLOSER = (
    *(("integer", "number"), ("float", "number")),
    *(("url", "string"), ("datetime", "string"), ("date", "string")),
)
"""Where table and example use both words, the first one says more."""


def expected(tables: Iterable[Endpoint]) -> Expected:
    """Return what tables say together of an answer (an edit answers with the fields of the details).

    :raises ValueError: where table and example contradict each other, naming the place.
    """
    found = Expected()
    for table in tables:
        for path, row in table.get("fields", {}).items():
            found.add_row(re.findall(r"\[\]|[^.\[\]]+", path), row)
        for example in table.get("examples", ()):
            found.add_example(example)
        if "fields" in table:
            found.is_exact = True
    for path, each in found.paths():
        for closer, wider in _CLOSER:
            if closer in each.kinds:
                each.kinds.discard(wider)
        if {"integer", "float"} <= each.kinds:
            each.kinds = {"number"}
        if {"object", "array"} <= each.kinds and path.rpartition(".")[2] in CONTRADICTIONS:
            each.kinds = {CONTRADICTIONS[path.rpartition(".")[2]]}
        if "any" in each.kinds:
            each.kinds = {"any"}
        if len(each.kinds) > 1:
            raise ValueError(f"Table and example contradict each other: {path} is {each.kinds}")
    return found


@dataclass
class Comparison:
    """Compares the answers of one endpoint with what is expected, and remembers what was seen."""

    title: str
    expected: Expected
    deviations: Sequence[Deviation]
    faults: list[str] = field(default_factory=list)
    """Everything that answers show and should not, or don't and should."""
    seen: set[str] = field(default_factory=set)

    def compare(self, answer: Any) -> None:
        """Compare one answer."""
        self._value(answer, self.expected, "")

    def unseen(self) -> list[str]:
        """Return what no answer has shown: nothing is known of that."""
        found = []
        for path, each in self.expected.paths():
            parent = path.rpartition(".")[0]
            is_hidden = parent and parent not in self.seen
            if path not in self.seen and not is_hidden and each.kinds and not self._deviates("never", path):
                found.append(f"{path}: no answer shows a value")
        return found

    def _deviates(self, what: str, path: str, name: str = "") -> bool:
        place = f"{self.title}.{path.replace('[]', '')}"
        return any(each.covers(what, place, name or place) for each in self.deviations)

    def _value(self, value: Any, expected: Expected, path: str) -> None:
        if value is None:
            if not expected.may_be_null and not self._deviates("null", path):
                self.faults.append(f"{path}: null")
            return
        for kind in expected.kinds:
            if not _CHECKS[kind](value):
                self.faults.append(f"{path}: {value!r} is no {kind}")
                return
        if expected.choices and value not in expected.choices and not self._deviates("choice", path, value):
            self.faults.append(f"{path}: {value!r} is none of {expected.choices}")
        self.seen.add(path)
        if isinstance(value, list) and expected.item is not None:
            for each in value:
                self._value(each, expected.item, f"{path}[]")
        elif isinstance(value, dict) and expected.members:
            self._object(value, expected, path)

    def _object(self, value: dict[str, Any], expected: Expected, path: str) -> None:
        for name, member in expected.members.items():
            place = f"{path}.{name}" if path else name
            if name in value:
                self._value(value[name], member, place)
            elif not member.may_be_absent:
                self.faults.append(f"{place}: missing")
        if expected.is_exact:
            for name in value.keys() - expected.members.keys():
                if not self._deviates("more", path, name):
                    self.faults.append(f"{path}: the specification has no field {name!r}")
