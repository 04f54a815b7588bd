# SPDX-License-Identifier: Apache-2.0
"""Find values in a document that JSON, PostgreSQL or a terminal could not hold."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from scale_airflow.definitions.faults import Faults, pointer
from scale_airflow.errors import Fault

MAX_DEPTH = 64
"""Objects and arrays may be nested this deep; Scale's own documents need about ten levels."""

_Place: TypeAlias = "tuple[Any, str | int] | None"
_Found: TypeAlias = "tuple[_Place, Any]"


def check_values(document: object) -> list[Fault]:
    """Return a fault for every value that could not be stored or shown.

    These are NaN and infinite numbers, NUL characters and lone surrogates in texts, nesting deeper than
    :data:`MAX_DEPTH`, and Python values that are no JSON. The work is proportional to the document's size,
    and does not recurse.
    """
    faults = Faults()
    level: list[_Found] = [(None, document)]
    for _ in range(MAX_DEPTH):
        inner: list[_Found] = []
        for place, value in level:
            _check_value(place, value, inner, faults)
        if not inner:
            break
        level = inner
    else:
        for place, value in level:
            if isinstance(value, (dict, list)):
                message = f"Objects and arrays may be nested at most {MAX_DEPTH} levels deep."
                faults.add(_pointer(place), "document.too-deep", message)
                break
            _check_value(place, value, [], faults)
    return list(faults.in_order(document))


def _check_value(place: _Place, value: Any, inner: list[_Found], faults: Faults) -> None:
    """Check one value; add what is inside it to ``inner``."""
    kind = type(value)
    if kind is str:
        # Nearly every text is plain: these two tests are much cheaper than the exact ones.
        if not value.isascii() or "\0" in value:
            _check_text(value, place, faults)
    elif kind is dict:
        for name, member in value.items():
            if type(name) is not str:
                message = f"A field's name must be a string, but one is a Python {type(name).__name__}."
                faults.add(_pointer(place), "document.not-json-value", message)
                continue
            if not name.isascii() or "\0" in name:
                _check_text(name, (place, name), faults)
            inner.append(((place, name), member))
    elif kind is list:
        inner.extend([((place, index), item) for index, item in enumerate(value)])
    elif kind is float:
        if not math.isfinite(value):
            faults.add(_pointer(place), "document.not-finite", "JSON has no NaN and no infinite numbers.")
    elif kind is not int and kind is not bool and value is not None:
        message = f"A Python {kind.__name__} is not a value of JSON."
        faults.add(_pointer(place), "document.not-json-value", message)


def _pointer(place: _Place) -> str:
    parts: list[str | int] = []
    while place is not None:
        place, part = place
        parts.append(part)
    return pointer(*reversed(parts))


def _check_text(value: str, place: _Place, faults: Faults) -> None:
    if "\0" in value:
        message = "A text may not contain the character NUL (\\u0000)."
        faults.add(_pointer(place), "document.unstorable-text", message)
    try:
        value.encode()
    except UnicodeEncodeError:
        message = "A text may not contain half of a surrogate pair (\\ud800 to \\udfff alone)."
        faults.add(_pointer(place), "document.unstorable-text", message)
