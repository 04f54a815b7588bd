# SPDX-License-Identifier: Apache-2.0
"""How much a run asks for, and what it has asked for; the invariants compare that with what there is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from tests.crash import documents


@dataclass(frozen=True)
class Size:
    """How much there is to do."""

    chains: int
    scenes: int
    failing: int
    slow: int
    files: int
    edits: int
    is_long: bool = False
    """Whether every crash point is to be passed."""

    @property
    def jobs(self) -> int:
        """How many jobs that makes, system jobs not counted."""
        return self.chains * len(documents.CHAIN) + self.scenes * 3 + self.failing + self.slow


LONG = Size(chains=27, scenes=24, failing=6, slow=14, files=1000, edits=36, is_long=True)
SHORT = Size(chains=3, scenes=2, failing=1, slow=2, files=80, edits=4)


@dataclass(frozen=True)
class Drop:
    """A file that is dropped: into the directory of which Strike process, and in how many steps."""

    strike: str
    name: str
    content: bytes
    is_transfer: bool

    @property
    def checksum(self) -> str:
        """The sha256 of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def is_matched(self) -> bool:
        """Whether a rule of its Strike process takes it."""
        return self.name.endswith((".dat", ".csv", ".img"))


@dataclass
class Asked:
    """What was asked for, and what was answered; the invariants compare it with what there is."""

    drops: list[Drop] = field(default_factory=list)
    chains: dict[str, int] = field(default_factory=dict)
    """How often each recipe was asked for, by its word."""
    jobs: dict[str, int] = field(default_factory=dict)
    """How often each single job was asked for, by its word."""
    canceled: set[int] = field(default_factory=set)
    requeued: set[int] = field(default_factory=set)
    tokens: dict[str, bool] = field(default_factory=dict)
    """The names of tokens, and whether they were revoked."""
    clock_stopped: datetime | None = None
    """When the clock was first asked to start nothing more."""
    trouble: list[str] = field(default_factory=list)
