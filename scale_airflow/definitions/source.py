# SPDX-License-Identifier: Apache-2.0
"""Find line and column of a JSON pointer in a document's text, for messages such as ``file.json:12:7``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from scale_airflow.definitions.faults import pointer

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SIGN = re.compile(r'[{}\[\],:]|"|[^\s{}\[\],:"]+')


def locate(text: str, place: str) -> tuple[int, int]:
    """Return the line and column (both from 1) of the value at a JSON pointer.

    For a member of an object this is its name, so that the line is the one to look at. A place that does not
    exist leads to the nearest one around it that does.
    """
    offsets: dict[str, int] = {}
    for where, offset, _ in _places(text):
        offsets.setdefault(where, offset)
    while place not in offsets and place:
        place = place.rpartition("/")[0]
    offset = offsets.get(place, 0)
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def repeated_members(text: str) -> Iterator[tuple[str, str]]:
    """Yield pointer and name of every member that its object already has."""
    seen: set[str] = set()
    objects: set[str] = set()
    for where, _, name in _places(text):
        if name is None:
            # An object that starts at a place which was there before is a second one: its members are new.
            if where in objects:
                seen = {each for each in seen if not each.startswith(where + "/")}
            objects.add(where)
            continue
        if where in seen:
            yield where, name
        seen.add(where)


def _places(text: str) -> Iterator[tuple[str, int, str | None]]:
    """Yield (pointer, offset, member name; None for items and the document) in the order of valid JSON."""
    stack: list[tuple[str, int]] = []  # (pointer of the open object or array, next index or -1)
    where = ""
    position = 0
    expect_name = False
    match = _SIGN.search(text)
    if match:
        yield "", match.start(), None
    while match := _SIGN.search(text, position):
        sign, start = match.group(), match.start()
        position = match.end()
        if sign == '"':
            string = _STRING.match(text, start)
            if string is None:
                return
            position = string.end()
            if expect_name:
                name = json.loads(string.group(), strict=False)
                where = stack[-1][0] + pointer(name)
                yield where, start, name
                expect_name = False
        elif sign == "{":
            stack.append((where, -1))
            expect_name = True
        elif sign == "[":
            stack.append((where, 0))
            where = where + "/0"
            following = _SIGN.search(text, position)
            if following and following.group() != "]":
                yield where, following.start(), None
        elif sign in "}]":
            if not stack:
                return
            where, _ = stack.pop()
            expect_name = False
        elif sign == "," and stack:
            parent, index = stack[-1]
            if index < 0:
                expect_name = True
            else:
                stack[-1] = (parent, index + 1)
                where = f"{parent}/{index + 1}"
                following = _SIGN.search(text, position)
                if following:
                    yield where, following.start(), None
