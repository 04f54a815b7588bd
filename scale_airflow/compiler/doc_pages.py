# SPDX-License-Identifier: Apache-2.0
"""The page that Airflow shows about a compiled DAG (``doc_md``): what it is and which revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


def recipe_page(
    name: str, version: str, revision: int | None, title: str | None, definition: Mapping[str, Any]
) -> str:
    """Describe a recipe: its type and revision, and each job with its job type."""
    jobs = [
        (job["name"], f"{job['job_type']['name']} {job['job_type']['version']}") for job in definition["jobs"]
    ]
    return _page(
        "Scale recipe",
        [*_identity("Recipe type", name, version, revision, title), ("Definition", _checksum(definition))],
        ("Job", "Job type"),
        jobs,
    )


def job_page(name: str, version: str, revision: int, title: str | None, interface: Mapping[str, Any]) -> str:
    """Describe a job type that runs alone: its revision, and its inputs and outputs."""
    rows = [
        (entry["name"], f"{direction}, {entry['type']}")
        for direction, key in (("input", "input_data"), ("output", "output_data"))
        for entry in interface.get(key, ())
    ]
    facts = [*_identity("Job type", name, version, revision, title), ("Interface", _checksum(interface))]
    return _page("Scale job", facts, ("Name", "Kind"), rows)


def strike_page(name: str, strike_id: int, title: str | None) -> str:
    """Describe a Strike process."""
    facts = [("Strike process", name), ("Identifier", str(strike_id))]
    return _page("Scale Strike process", [*facts, *([("Title", title)] if title else [])])


def _identity(
    kind: str, name: str, version: str, revision: int | None, title: str | None
) -> list[tuple[str, str]]:
    rows = [(kind, name), ("Version", version)]
    if revision is not None:
        rows.append(("Revision", str(revision)))
    if title:
        rows.append(("Title", title))
    return rows


def _checksum(document: Mapping[str, Any]) -> str:
    # Shown, and by that part of what Airflow compares: another definition is another version of the DAG,
    # even where its tasks look the same.
    text = json.dumps(document, sort_keys=True, ensure_ascii=True)
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def _page(
    heading: str,
    facts: Iterable[tuple[str, str]],
    columns: tuple[str, str] | None = None,
    rows: Iterable[tuple[str, str]] = (),
) -> str:
    lines = [f"### {heading}", "", "| | |", "|---|---|"]
    lines += [f"| {label} | {_code(value)} |" for label, value in facts]
    table = [f"| {_code(first)} | {_code(second)} |" for first, second in rows]
    if columns is not None and table:
        lines += ["", f"| {columns[0]} | {columns[1]} |", "|---|---|", *table]
    # The newline at the end matters: Airflow takes a page that ends in ".md" for the name of a file.
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """Quote ``text`` as Markdown code in a table: nothing in it is markup."""
    flat = text
    if not flat.isprintable():
        flat = "".join(character if character.isprintable() else " " for character in text)
    fence = "`"
    while fence in flat:
        fence += "`"
    cell = flat.replace("|", "\\|")
    return f"{fence} {cell} {fence}" if "`" in flat else f"`{cell}`"
