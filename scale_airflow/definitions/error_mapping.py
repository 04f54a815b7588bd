# SPDX-License-Identifier: Apache-2.0
"""The error mapping: what a job's exit codes mean (specification: Errors Interface)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from scale_airflow.definitions.documents import structure
from scale_airflow.definitions.faults import Faults, pointer, quote
from scale_airflow.errors import Fault

KIND = "error-mapping"
_EXIT_CODE = re.compile(r"-?[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class ErrorMapping:
    """The name of a Scale error for each exit code."""

    exit_codes: Mapping[int, str]
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, document: object) -> ErrorMapping:
        """Read an error mapping; None is the empty mapping.

        :raises InvalidDocument: every fault found.
        """
        if document is None:
            document = {"version": "1.0", "exit_codes": {}}
        faults = structure(KIND, document)
        codes = document.get("exit_codes", {}) if isinstance(document, dict) else {}
        seen: dict[int, str] = {}
        for code in codes if isinstance(codes, dict) else ():
            if not (isinstance(code, str) and _EXIT_CODE.fullmatch(code)):
                continue
            if (other := seen.setdefault(int(code), code)) != code:
                message = f"{quote(code)} is the same exit code as {quote(other)}, which is mapped already."
                faults.add(pointer("exit_codes", code), "error-mapping.duplicate-exit-code", message)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        return cls({int(code): name for code, name in codes.items()}, document)

    def error_name(self, exit_code: int | None) -> str | None:
        """Return the error that an exit code is mapped to; None for 0 and for a code that is not mapped."""
        return self.exit_codes.get(exit_code) if exit_code else None

    def names(self) -> tuple[str, ...]:
        """Return the names of all errors that are mapped to, each once."""
        return tuple(dict.fromkeys(self.exit_codes.values()))

    def check_names(self, known: Collection[str]) -> list[Fault]:
        """Return a fault for every error name that does not exist.

        :param known: the names of the errors that exist.
        """
        faults = Faults()
        existing = set(known)
        for code, name in self.document.get("exit_codes", {}).items():
            if name not in existing:
                place, rule = pointer("exit_codes", code), "error-mapping.unknown-error"
                message = f"There is no error {quote(name)}."
                faults.add_unknown(place, rule, message, what="errors", name=name, known=existing)
        return list(faults.in_order(self.document))
