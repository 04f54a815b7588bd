# SPDX-License-Identifier: Apache-2.0
"""The configuration export: errors, job types and recipe types (specification: Import/Export)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scale_airflow.definitions.documents import nested, rows, structure, text_of
from scale_airflow.definitions.error_document import ErrorDocument
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.job_type_document import JobTypeDocument
from scale_airflow.definitions.recipe_type_document import RecipeTypeDocument
from scale_airflow.errors import DocumentWarning

KIND = "configuration"


@dataclass(frozen=True)
class ConfigurationExport:
    """What an export document brings, in the order of importing: errors, job types, recipe types.

    Each is one to create or to edit: call its ``complete()`` or ``editing(…)`` accordingly. The index in each
    tuple is that in the document, for pointers such as ``/job_types/0``.
    """

    errors: tuple[ErrorDocument, ...]
    job_types: tuple[JobTypeDocument, ...]
    recipe_types: tuple[RecipeTypeDocument, ...]
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, document: object) -> ConfigurationExport:
        """Read a configuration export.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document)
        _check_unique(document, "errors", ("name",), faults)
        _check_unique(document, "job_types", ("name", "version"), faults)
        _check_unique(document, "recipe_types", ("name", "version"), faults)
        errors = [
            nested(ErrorDocument.parse_import, row, f"/errors/{index}", faults)
            for index, row in rows(document, "errors")
        ]
        job_types = [
            nested(JobTypeDocument.parse_import, row, f"/job_types/{index}", faults)
            for index, row in rows(document, "job_types")
        ]
        recipe_types = [
            nested(RecipeTypeDocument.parse_import, row, f"/recipe_types/{index}", faults)
            for index, row in rows(document, "recipe_types")
        ]
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        return cls(
            tuple(each for each in errors if each is not None),
            tuple(each for each in job_types if each is not None),
            tuple(each for each in recipe_types if each is not None),
            document,
        )

    @property
    def warnings(self) -> tuple[DocumentWarning, ...]:
        """The warnings about fields that are ignored."""
        return tuple(warning for job_type in self.job_types for warning in job_type.warnings)


def _check_unique(document: object, field_name: str, key: tuple[str, ...], faults: Faults) -> None:
    seen: set[tuple[str | None, ...]] = set()
    for index, row in rows(document, field_name):
        name = tuple(text_of(row, each) for each in key)
        if None not in name and name in seen:
            shown = " ".join(quote(each or "") for each in name)
            message = f"There is more than one entry {shown} in {field_name}."
            faults.add(f"/{field_name}/{index}", "configuration.duplicate-entry", message)
        seen.add(name)
