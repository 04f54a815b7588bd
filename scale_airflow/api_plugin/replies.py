# SPDX-License-Identifier: Apache-2.0
"""How this API writes its answers: JSON as it stands, without a second walk over it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


class Reply(Response):
    """A JSON answer. Endpoints return it ready, so that FastAPI does not walk a long list once more."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the content as UTF-8; what UTF-8 can't hold becomes a question mark, never an error."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def created(content: Any, location: str) -> Reply:
    """Answer 201 with the address of what was created."""
    return Reply(content, status_code=201, headers={"Location": location})


def refusal(
    status: int,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Answer an error: ``{"detail"}``, and ``errors`` with every fault where a document was refused."""
    content: dict[str, Any] = {"detail": detail}
    if errors:
        content["errors"] = errors
    return Reply(content, status_code=status, headers=dict(headers or {}))
