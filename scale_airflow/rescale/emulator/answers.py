# SPDX-License-Identifier: Apache-2.0
"""What a route answers: a status, headers, and a body in memory or in a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JSON = "application/json"
GATEWAY_PAGE = (
    "<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>"
)


@dataclass(frozen=True)
class FileSlice:
    """A piece of a file, sent without passing through this process.

    :param file_id: whose bytes are counted; None: a live file of a job.
    """

    path: Path
    offset: int
    count: int
    file_id: str | None = None


@dataclass(frozen=True)
class Answer:
    """One answer; the server sends it (shaped, and with the faults that are set)."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    file: FileSlice | None = None

    @property
    def length(self) -> int:
        """Return the number of bytes of the body."""
        return len(self.body) if self.file is None else self.file.count


def json_answer(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Return a JSON document as the answer."""
    return Answer(status, json.dumps(document).encode(), {"Content-Type": JSON, **(headers or {})})


def empty_answer(status: int) -> Answer:
    """Return an answer without a body."""
    return Answer(status)


def gateway_answer(status: int, headers: dict[str, str] | None = None) -> Answer:
    """Return what a proxy before the service says when that does not answer: a page, no JSON."""
    page = GATEWAY_PAGE.format(status=status).encode()
    return Answer(status, page, {"Content-Type": "text/html", **(headers or {})})
