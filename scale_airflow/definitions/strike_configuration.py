# SPDX-License-Identifier: Apache-2.0
"""The Strike configuration: a watched directory and what happens to its files (specification: Strike)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from scale_airflow.definitions.documents import rows, structure, text_of
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.input_data import WorkspaceFacts
from scale_airflow.definitions.name_patterns import matches, pattern_problem
from scale_airflow.definitions.paths import path_problem
from scale_airflow.definitions.workspace_configuration import NfsMount, check_no_parent

KIND = "strike-configuration"


@dataclass(frozen=True, slots=True)
class StrikeRule:
    """What happens to files whose names match; ``workspace_path`` is relative (``.`` is the workspace)."""

    filename_regex: str
    workspace_path: PurePosixPath
    workspace_name: str
    data_types: tuple[str, ...] = ()

    def matches(self, file_name: str) -> bool:
        """Say whether the expression matches the beginning of a file's name."""
        return matches(self.filename_regex, file_name)


@dataclass(frozen=True, slots=True)
class StrikeConfiguration:
    """A watched directory and its rules."""

    mount: NfsMount
    transfer_suffix: str
    files_to_ingest: tuple[StrikeRule, ...]
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, document: object) -> StrikeConfiguration:
        """Read a Strike configuration.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document)
        mount = text_of(document, "mount")
        check_no_parent(mount.partition(":")[2] if mount else None, "/mount", faults)
        check_no_parent(text_of(document, "mount_on"), "/mount_on", faults)
        for index, row in rows(document, "files_to_ingest"):
            _check_rule(row, f"/files_to_ingest/{index}", faults)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        return cls(
            mount=NfsMount.of(document["mount"], document.get("mount_on")),
            transfer_suffix=document["transfer_suffix"],
            files_to_ingest=tuple(
                StrikeRule(
                    row["filename_regex"],
                    PurePosixPath(row["workspace_path"].lstrip("/")),
                    row["workspace_name"],
                    tuple(dict.fromkeys(row.get("data_types", ()))),
                )
                for row in document["files_to_ingest"]
            ),
            document=document,
        )

    def rule_for(self, file_name: str) -> StrikeRule | None:
        """Return the first rule whose expression matches a file's name, or None: the file is deferred."""
        return next((rule for rule in self.files_to_ingest if rule.matches(file_name)), None)

    def workspace_names(self) -> tuple[str, ...]:
        """Return the names of all workspaces that rules store files in, each once."""
        return tuple(dict.fromkeys(rule.workspace_name for rule in self.files_to_ingest))

    def check(self, workspaces: Mapping[str, WorkspaceFacts]) -> None:
        """Check that the workspaces exist and are active.

        :param workspaces: all workspaces that exist, by name.
        :raises InvalidDocument: every fault found.
        """
        faults = Faults()
        for index, rule in enumerate(self.files_to_ingest):
            place = f"/files_to_ingest/{index}/workspace_name"
            check_workspace_name(rule.workspace_name, place, workspaces, faults)
        faults.refuse(KIND, self.document)


def check_workspace_name(
    name: str, place: str, workspaces: Mapping[str, WorkspaceFacts], faults: Faults
) -> None:
    """Check that the workspace with this name exists and is active."""
    found = workspaces.get(name)
    if found is None:
        message = f"There is no workspace {quote(name)}."
        rule = "workspace.unknown"
        faults.add_unknown(place, rule, message, what="workspaces", name=name, known=workspaces)
    elif not found.is_active:
        faults.add(place, "workspace.inactive", f"The workspace {quote(name)} is not active.")


def _check_rule(row: Mapping[str, Any], place: str, faults: Faults) -> None:
    pattern = text_of(row, "filename_regex")
    if pattern is not None and (problem := pattern_problem(pattern)) is not None:
        faults.add(f"{place}/filename_regex", "strike-configuration.filename-regex", problem)
    path = (text_of(row, "workspace_path") or "").lstrip("/")
    if path and (path_fault := path_problem(path)) is not None and path_fault != "is empty":
        message = f"The path {quote(path)} {path_fault}."
        faults.add(f"{place}/workspace_path", "path.not-relative", message)
