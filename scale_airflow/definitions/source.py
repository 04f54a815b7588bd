# SPDX-License-Identifier: Apache-2.0
"""Find line and column of a JSON pointer in a document's text, for messages such as ``file.json:12:7``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from scale_airflow.definitions.faults import pointer

_SIGN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def locate(text: str, place: str) -> tuple[int, int]:
    """Return the line and column (both from 1) of the value at a JSON pointer.

    For a member of an object this is its name, so that the line is the one to look at; of a member that is
    given twice the last counts. A place that does not exist leads to the nearest one around it that does.
    """
    offsets = {found.pointer: found.offset for found in _places(text)}
    while place not in offsets and place:
        place = place.rpartition("/")[0]
    offset = offsets.get(place, 0)
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def repeated_members(text: str) -> Iterator[tuple[str, str]]:
    """Yield pointer and name of every member that its object already has."""
    for found in _places(text):
        if found.repeated is not None:
            yield found.pointer, found.repeated


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value or member stands; ``repeated`` is the name of a member that its object already has."""

    pointer: str
    offset: int
    repeated: str | None = None


@dataclass(slots=True)
class _Open:
    """An object or array whose end was not seen yet."""

    pointer: str
    is_object: bool
    names: set[str] = field(default_factory=set)
    index: int = -1


def _places(text: str) -> Iterator[_Place]:
    """Yield the places of a JSON text in its order; of a text that is no JSON as many as can be found."""
    stack: list[_Open] = []
    here = ""
    wanted = True  # whether the next sign begins an item, the name of a member or the document itself
    for match in _SIGN.finditer(text):
        sign = match.group()
        inside = stack[-1] if stack else None
        if sign in "}]":
            if stack:
                here = stack.pop().pointer
            wanted = False
            continue
        if sign in ",:":
            wanted = sign == ","
            continue
        if wanted and inside is not None and inside.is_object:
            try:
                name = json.loads(sign, strict=False)
            except ValueError:
                return
            if not isinstance(name, str):
                return
            here = inside.pointer + pointer(name)
            yield _Place(here, match.start(), name if name in inside.names else None)
            inside.names.add(name)
        elif wanted:
            if inside is not None:
                inside.index += 1
                here = f"{inside.pointer}/{inside.index}"
            yield _Place(here, match.start())
        wanted = sign in "{["
        if wanted:
            stack.append(_Open(here, sign == "{"))
