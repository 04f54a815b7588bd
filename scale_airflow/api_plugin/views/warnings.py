# SPDX-License-Identifier: Apache-2.0
"""How validations answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scale_airflow.errors import DocumentWarning


def warnings(found: Iterable[DocumentWarning]) -> dict[str, Any]:
    """Show warnings, each once."""
    return {"warnings": [warning.as_dict() for warning in dict.fromkeys(found)]}
