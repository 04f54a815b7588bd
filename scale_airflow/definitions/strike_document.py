# SPDX-License-Identifier: Apache-2.0
"""A Strike process as requests and set-up documents give it (specification: Create Strike Process)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scale_airflow.definitions.documents import nested, structure, text_of
from scale_airflow.definitions.faults import Faults
from scale_airflow.definitions.strike_configuration import StrikeConfiguration

KIND = "strike"


@dataclass(frozen=True, slots=True)
class StrikeDocument:
    """A Strike process to create, or changes to one.

    ``values`` holds title and description as given; ``is_active`` is None where nothing is said about it.
    """

    name: str
    values: Mapping[str, str | None]
    configuration: StrikeConfiguration | None
    is_active: bool | None = None

    @classmethod
    def parse(cls, document: object) -> StrikeDocument:
        """Read a Strike process to create.

        :raises InvalidDocument: every fault found.
        """
        return cls._read(document, structure(KIND, document), {"title": None, "description": None})

    @classmethod
    def parse_changes(cls, document: object) -> StrikeDocument:
        """Read changes to a Strike process; its name can't be changed.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document, required=())
        if isinstance(document, dict) and "name" in document:
            faults.add("/name", "document.unknown-field", "The name of a Strike process can't be changed.")
        return cls._read(document, faults, {})

    @classmethod
    def _read(cls, document: object, faults: Faults, defaults: Mapping[str, str | None]) -> StrikeDocument:
        given = document if isinstance(document, dict) else {}
        configuration = None
        if isinstance(given.get("configuration"), dict):
            parse = StrikeConfiguration.parse
            configuration = nested(parse, given["configuration"], "/configuration", faults)
        faults.refuse(KIND, document)
        values = {**defaults, **{name: given[name] for name in ("title", "description") if name in given}}
        return cls(text_of(given, "name") or "", values, configuration, given.get("is_active"))
