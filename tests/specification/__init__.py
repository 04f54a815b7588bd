# SPDX-License-Identifier: Apache-2.0
"""Scale's specification as data: what its field tables and examples say of each endpoint.

Where the specification's text is at hand (:data:`TEXT`) it is read anew, and must say what is kept in
``integration/api/conformance/*.json``; elsewhere the kept form is used. ``python -m specification``,
called in ``tests/``, writes the kept form from the text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
TEXT = CHECKOUT.parent / "shared/spec/seeds/004_7467dbe51048428b.txt"
KEPT = CHECKOUT / "tests/integration/api/conformance"

Endpoint = dict[str, Any]
"""One table of the specification: ``title``, ``method``, ``path``, ``parameters``, ``body``,
``body_examples``, ``status``, ``location``, ``fields``, ``examples``, ``same_as`` and ``errors``; what is
empty is left out."""


def kept() -> dict[str, list[Endpoint]]:
    """Return the kept form: a service of the specification → its endpoints."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(KEPT.glob("*.json"))}


def written() -> dict[str, str]:
    """Return the text's form as it is kept: a service → the content of its file."""
    from specification.tables import services

    return {
        name: _laid_out(endpoints) + "\n" for name, endpoints in services(TEXT.read_text("utf-8")).items()
    }


def _laid_out(value: Any, depth: int = 0) -> str:
    """Return JSON of which each line holds as much as 100 characters do."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + depth <= 100 or not isinstance(value, dict | list) or not value:
        return line
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {_laid_out(each, depth + 1)}" for name, each in value.items()]
    else:
        parts = [_laid_out(each, depth + 1) for each in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    blank = "\n" + " " * depth
    return start + "".join(f"{blank} {part}," for part in parts)[:-1] + blank + end
