# SPDX-License-Identifier: Apache-2.0
"""What a check of the installation or of a host finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. ``error``: jobs will not run right; ``warning``: some may not, or not well.

    :param subject: what was looked at, e.g. ``"database"``.
    :param remedy: what to do; empty where all is well.
    """

    level: Level
    subject: str
    problem: str
    remedy: str = ""
