# SPDX-License-Identifier: Apache-2.0
"""The set-up document: a whole installation by reference (an extension of Scale's specification)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from scale_airflow.definitions.documents import check_unique, nested, rows, structure, text_of
from scale_airflow.definitions.faults import quote
from scale_airflow.definitions.paths import path_problem
from scale_airflow.definitions.strike_document import StrikeDocument
from scale_airflow.definitions.workspace_document import WorkspaceDocument

KIND = "setup"


@dataclass(frozen=True)
class SetupDocument:
    """Workspaces, the path of a configuration export (relative to this document), and Strike processes."""

    workspaces: tuple[WorkspaceDocument, ...]
    configuration: PurePosixPath | None
    strikes: tuple[StrikeDocument, ...]
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, document: object) -> SetupDocument:
        """Read a set-up document.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document)
        for name in ("workspaces", "strikes"):
            named = [(f"/{name}/{index}/name", text_of(row, "name")) for index, row in rows(document, name)]
            check_unique(faults, "setup.duplicate-name", name[:-1], named)
        workspaces = [
            nested(WorkspaceDocument.parse, row, f"/workspaces/{index}", faults)
            for index, row in rows(document, "workspaces")
        ]
        strikes = [
            nested(StrikeDocument.parse, row, f"/strikes/{index}", faults)
            for index, row in rows(document, "strikes")
        ]
        path = text_of(document, "configuration")
        if path and (problem := path_problem(path)) is not None:
            faults.add("/configuration", "path.not-relative", f"The path {quote(path)} {problem}.")
        faults.refuse(KIND, document)
        return cls(
            tuple(each for each in workspaces if each is not None),
            PurePosixPath(path) if path else None,
            tuple(each for each in strikes if each is not None),
            document if isinstance(document, dict) else {},
        )
