# SPDX-License-Identifier: Apache-2.0
"""An error as requests and export documents give it (specification: Create Error, Edit Error)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scale_airflow.definitions.documents import structure, text_of
from scale_airflow.definitions.faults import Faults

KIND = "error"


@dataclass(frozen=True, slots=True)
class ErrorDocument:
    """An error to create, or changes to one; ``values`` holds title, description and category as given."""

    name: str
    values: Mapping[str, str]

    @classmethod
    def parse(cls, document: object) -> ErrorDocument:
        """Read an error to create.

        :raises InvalidDocument: every fault found.
        """
        return cls._read(document, _structure(document, None))

    @classmethod
    def parse_changes(cls, document: object) -> ErrorDocument:
        """Read changes to an error; its name can't be changed.

        :raises InvalidDocument: every fault found.
        """
        faults = _structure(document, ())
        if isinstance(document, dict) and "name" in document:
            faults.add("/name", "document.unknown-field", "The name of an error can't be changed.")
        return cls._read(document, faults)

    @classmethod
    def parse_import(cls, document: object) -> ErrorDocument:
        """Read an error of an export document: one to create (then :meth:`complete` it) or to edit.

        :raises InvalidDocument: every fault found.
        """
        return cls._read(document, _structure(document, ("name",)))

    @classmethod
    def _read(cls, document: object, faults: Faults) -> ErrorDocument:
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        values = {name: document[name] for name in ("title", "description", "category") if name in document}
        return cls(text_of(document, "name") or "", values)

    def complete(self) -> ErrorDocument:
        """Return the document of an error that does not exist yet; a title or description may be missing.

        :raises InvalidDocument: there is no category.
        """
        faults = Faults()
        if "category" not in self.values:
            faults.add("", "document.missing-field", 'The required field "category" is missing.')
        faults.refuse(KIND, {})
        return replace(self, values={"title": "", "description": "", **self.values})


def _structure(document: Any, required: tuple[str, ...] | None) -> Faults:
    """Return the structural faults, with a sentence of its own for the reserved category."""
    found = structure(KIND, document, required=required)
    if text_of(document, "category") != "SYSTEM":
        return found
    faults = Faults()
    faults.extend(fault for fault in found.found if fault.path != "/category")
    message = 'The category "SYSTEM" is reserved for the errors of Scale itself; use "ALGORITHM" or "DATA".'
    faults.add("/category", "error.system-category", message)
    return faults
