# SPDX-License-Identifier: Apache-2.0
"""A workspace as requests and set-up documents give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scale_airflow.definitions.documents import nested, structure, text_of
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.workspace_configuration import WorkspaceConfiguration

KIND = "workspace"
_SCHEMES = ("http", "https", "ftp", "ftps")

DEFAULTS: Mapping[str, Any] = {
    "title": "",
    "description": "",
    "base_url": None,
    "is_active": True,
    "is_move_enabled": True,
}
"""The plain fields of a workspace and what they are if nobody says."""


@dataclass(frozen=True, slots=True)
class WorkspaceDocument:
    """A workspace to create, or changes to one; ``values`` holds the plain fields of :data:`DEFAULTS`."""

    name: str
    values: Mapping[str, Any]
    json_config: WorkspaceConfiguration | None

    @classmethod
    def parse(cls, document: object) -> WorkspaceDocument:
        """Read a workspace to create; fields that were not given have their defaults.

        :raises InvalidDocument: every fault found.
        """
        return cls._read(document, structure(KIND, document), DEFAULTS)

    @classmethod
    def parse_changes(cls, document: object) -> WorkspaceDocument:
        """Read changes to a workspace; its name can't be changed.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document, required=())
        if isinstance(document, dict) and "name" in document:
            faults.add("/name", "document.unknown-field", "The name of a workspace can't be changed.")
        return cls._read(document, faults, {})

    @classmethod
    def _read(cls, document: object, faults: Faults, defaults: Mapping[str, Any]) -> WorkspaceDocument:
        given = document if isinstance(document, dict) else {}
        configuration = None
        if isinstance(given.get("json_config"), dict):
            parse = WorkspaceConfiguration.parse
            configuration = nested(parse, given["json_config"], "/json_config", faults)
        _check_base_url(text_of(given, "base_url"), faults)
        faults.refuse(KIND, document)
        values = {**defaults, **{name: given[name] for name in DEFAULTS if name in given}}
        return cls(text_of(given, "name") or "", values, configuration)


def _check_base_url(url: str | None, faults: Faults) -> None:
    """Find what is no address of the web: pages make links of it."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        is_address = parts.scheme.lower() in _SCHEMES and bool(parts.netloc)
    except ValueError:  # a bracket that is not closed
        is_address = False
    if not is_address:
        schemes = ", ".join(f"{each}://" for each in _SCHEMES)
        message = f"The base URL must begin with one of {schemes} and the name of a host; it is {quote(url)}."
        faults.add("/base_url", "workspace.base-url", message)
