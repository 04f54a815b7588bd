# SPDX-License-Identifier: Apache-2.0
"""Reads the tables of the specification's services from its flattened text.

A table has the form ``Title | ||``, ``---|---``, a sentence, ``METHOD /path/``, then parts with rows of
``name | type | [Required or Optional |] text``, and JSON examples, each ended by a line of bars alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from specification import Endpoint
from specification.examples import plain, read, shape

_HEADING = re.compile(r"(.+) Services?¶")
_METHOD = re.compile(r"(GET|POST|PATCH|PUT|DELETE) (/\S+)")
_CHOICES = re.compile(r"Choices: \[([^\]]*)\]")
_SAME = re.compile(r"All fields are the same as the .* model.*\(See (.*)\)")
_END = "Algorithms¶"

LOST_PATHS = {
    "Error Details": "GET /errors/{id}/",
    "Edit Error": "PATCH /errors/{id}/",
    "Ingest Details": "GET /ingests/{id}/",
    "Job Details": "GET /jobs/{id}/",
    "Update Job": "PATCH /jobs/{id}/",
    "Job Execution Details": "GET /job-executions/{id}/",
    "Job Execution Logs": "GET /job-executions/{id}/logs/",
    "Job Type Details": "GET /job-types/{id}/",
    "Edit Job Type": "PATCH /job-types/{id}/",
    "Metric Details": "GET /metrics/{name}/",
    "Metric Plot Data": "GET /metrics/{name}/plot-data/",
    "Node Details": "GET /nodes/{id}/",
    "Replace Node": "PUT /nodes/{id}/",
    "Update Node": "PATCH /nodes/{id}/",
    "Recipe Details": "GET /recipes/{id}/",
    "Recipe Type Details": "GET /recipe-types/{id}/",
    "Edit Recipe Type": "PATCH /recipe-types/{id}/",
    "Update Scheduler": "PATCH /scheduler/",
    "Workspace Details": "GET /workspaces/{id}/",
}
"""The flattened text has lost these tables' lines with method and path."""

TYPES = {
    "Integer": "integer",
    "Decimal": "number",
    "Float": "number",
    "String": "string",
    "WKT String": "string",
    "URL": "url",
    "Boolean": "boolean",
    "ISO-8601 Datetime": "datetime",
    "ISO-8601 Date": "date",
    "JSON Object": "object",
    "Array": "array",
    "Array[Integer]": "array",
    "Array[String]": "array",
    "List": "array",
    "Various": "any",
}

ONE_TOO_DEEP = {
    "Job Details": {"job_type_rev"},
    "Recipe Details": {"recipe_type_rev"},
    "Job Type Details": {"job_counts_6h", "job_counts_12h", "job_counts_24h"},
    "Node Details": {"is_paused_errors", "job_exes_running"},
    "Replace Node": {"is_paused_errors"},
    "Update Node": {"is_paused_errors"},
}
"""Rows with a dot too many: the tables' own examples have them (and what is below them) one level up."""

NOT_DEEP_ENOUGH = {"Get Queue Status": "queue_status[]"}
"""The rows of this table after its first one lack the dot: the example has them in the array."""


def services(text: str) -> dict[str, list[Endpoint]]:
    """Return the specification's services: file name → endpoints, those without any left out."""
    found: dict[str, list[Endpoint]] = {}
    service = ""
    for heading, lines in _parts(text.splitlines()):
        if heading is not None:
            service = heading.lower().replace("/", "-").replace(" ", "-")
        else:
            found.setdefault(service, []).append(_Table(lines).read())
    return found


def _parts(lines: list[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Yield the headings of services, and the lines of each table."""
    table: list[str] | None = None
    for number, line in enumerate(lines):
        heading = _HEADING.fullmatch(line)
        starts = lines[number + 1].startswith("---|") if number + 1 < len(lines) else False
        # A table of one column has a rule without bars.
        starts = starts or (number + 1 < len(lines) and lines[number + 1] == "---")
        if table is not None and (heading or starts or line == _END or line.endswith("¶")):
            yield None, table
            table = None
        if line == _END:
            return
        if heading:
            yield heading[1], []
        elif starts:
            table = [line]
        elif table is not None:
            table.append(line)


class _Table:
    """Reads one table."""

    def __init__(self, lines: list[str]):
        self.title = lines[0].split("|")[0].strip()
        self.lines = iter(lines[2:])
        method, path = LOST_PATHS.get(self.title, " ").split(" ")
        self.found: Endpoint = {
            "title": self.title,
            "method": method,
            "path": path,
            "parameters": {},
            "body": {},
            "body_examples": [],
            "status": 200,
            "location": False,
            "fields": {},
            "examples": [],
            "same_as": None,
            "errors": [],
        }
        self.part = "body"
        self.parents: list[str] = []

    def read(self) -> Endpoint:
        for line in self.lines:
            if line.startswith(("{", '"')):
                self._example(line)
            elif line.strip("| "):
                self._line(line)
        return {name: value for name, value in self.found.items() if value}

    def _example(self, line: str) -> None:
        gathered = [line]
        for line in self.lines:
            if not line.strip("|"):
                break
            gathered.append(line)
        example = read("\n".join(gathered))
        if self.part == "body":
            self.found["body_examples"].append(plain(example))
        else:
            self.found["examples"].append(shape(example))

    def _line(self, line: str) -> None:
        method = _METHOD.match(line)
        if method:
            self.found["method"], self.found["path"] = method.groups()
            return
        cells = [cell.strip() for cell in line.split("|")]
        match cells[0]:
            case "Query Parameters":
                self.part = "parameters"
            case "Successful Response":
                self.part = "fields"
            case "Error Responses":
                self.part = "errors"
            case "Status":
                number = int(cells[1].split()[0])
                if self.part == "errors":
                    self.found["errors"].append(number)
                else:
                    self.found["status"] = number
            case "Location":
                self.found["location"] = True
            case "JSON Fields" | "Content Type":
                self.part = "body" if self.part == "parameters" else self.part
            case "JSON Object":
                same = _SAME.search(line)
                assert same, line
                self.found["same_as"] = same[1]
            case "Response format is identical to GET but contains the updated data.":
                self.found["same_as"] = "GET"
            case _ if len(cells) > 1 and self._is_row(cells):
                self._row(cells)

    def _is_row(self, cells: list[str]) -> bool:
        return self.part != "errors" and re.fullmatch(r"\.*[a-z][\w.]*", cells[0]) is not None

    def _row(self, cells: list[str]) -> None:
        kind = TYPES.get(cells[1])
        if kind is None:
            # Rows without a type are flags of nodes; their cell is the text.
            cells.insert(1, "Boolean")
            kind = "boolean"
        text = " ".join(cells[2:])
        choices = _CHOICES.search(text)
        row: dict[str, Any] = {"type": kind}
        if choices:
            row["choices"] = [choice.strip() for choice in choices[1].split(",")]
        if self.part == "parameters":
            row["repeatable"] = "Duplicate it" in text or "multiple times" in text
        elif self.part == "body":
            row["required"] = "Required" in cells[2:4]
        else:
            row["may_be_absent"] = "(Optional)" in text or "is omitted when" in text
            row["may_be_null"] = re.search(r"can be null|May be .null.|remain null", text) is not None
        place = cells[0] if self.part == "parameters" else self._place(cells[0])
        self.found[self.part][place] = {name: value for name, value in row.items() if value}

    def _place(self, name: str) -> str:
        """Return the path of a row from its leading dots, e.g. ``results[].job_type``."""
        bare = name.lstrip(".")
        depth = len(name) - len(bare)
        if self.title in NOT_DEEP_ENOUGH and self.found[self.part]:
            return f"{NOT_DEEP_ENOUGH[self.title]}.{bare}"
        shifted = ONE_TOO_DEEP.get(self.title, set())
        if depth and (bare in shifted or (depth > 1 and self.parents and self.parents[0] in shifted)):
            depth -= 1
        self.parents[depth:] = [bare]
        places = self.found[self.part]
        path = ""
        for parent in self.parents[:-1]:
            path += parent
            is_array = places.get(path, {}).get("type") == "array"
            path += "[]." if is_array else "."
        return path + bare
