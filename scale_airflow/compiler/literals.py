# SPDX-License-Identifier: Apache-2.0
"""JSON documents as Python literals that look like JSON, the same text for the same document always."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

INDENT = "    "

# The order in which the specification's documents list their fields. PostgreSQL's JSONB forgets the author's
# order, and the same document must give the same file from wherever it was read.
_READING_ORDER = {
    key: place
    for place, key in enumerate(
        (
            "version",
            "command",
            "command_arguments",
            "recipe_input",
            "job_input",
            "output",
            "input",
            "name",
            "type",
            "required",
            "media_type",
            "media_types",
            "input_data",
            "output_data",
            "shared_resources",
            "job_type",
            "recipe_inputs",
            "dependencies",
            "connections",
            "jobs",
        )
    )
}


def literal(value: Any, depth: int = 0) -> str:
    """Return Python source that evaluates to ``value``, one line for scalars, JSON's layout for the rest.

    Nothing but literals comes out: whatever a text holds, it ends inside its quotes.

    :param depth: the level of indentation at which the text will stand.
    :raises ValueError: for what JSON can't hold (NaN, an infinity, an object's key that is no text).
    """
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value!r} is not a JSON number")
        return repr(value)
    inner = INDENT * (depth + 1)
    if isinstance(value, Mapping):
        lines = [
            f"{inner}{_text(key)}: {literal(value[key], depth + 1)},\n" for key in sorted(value, key=_place)
        ]
        return "{\n" + "".join(lines) + INDENT * depth + "}" if lines else "{}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        lines = [f"{inner}{literal(item, depth + 1)},\n" for item in value]
        return "[\n" + "".join(lines) + INDENT * depth + "]" if lines else "[]"
    raise ValueError(f"{type(value).__name__} is not a JSON type")


def _place(key: object) -> tuple[int, str]:
    if not isinstance(key, str):
        raise ValueError(f"an object's key is text in JSON, not {type(key).__name__}")
    return _READING_ORDER.get(key, len(_READING_ORDER)), key


def _text(text: str) -> str:
    # Letters of all scripts stay readable; what can't be seen, or changes how a line is shown, is escaped.
    return '"' + "".join(_character(character) for character in text) + '"'


def _character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\U{code:08x}"
