# SPDX-License-Identifier: Apache-2.0
"""What came of making or changing one configured thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from scale_airflow.errors import DocumentWarning

T = TypeVar("T")

Outcome = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """The row, whether it was made or changed, and what its author should know."""

    row: T
    outcome: Outcome
    warnings: list[DocumentWarning] = field(default_factory=list)


def outcome_of(*, is_new: bool, has_changed: bool) -> Outcome:
    """Name what happened to a row."""
    if is_new:
        return "created"
    return "updated" if has_changed else "unchanged"
