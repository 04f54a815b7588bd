# SPDX-License-Identifier: Apache-2.0
"""Answers that refuse a request, in the words of Django REST Framework, as the real service has them."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """The request is answered with this status and body.

    :param status: HTTP status.
    :param body: JSON document, e.g. ``{"detail": "Not found."}`` or ``{"field": ["message", …]}``.
    """

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers or {}


def not_found(detail: str = "Not found.") -> RefusedError:
    """Return the answer for what does not exist, or is not the caller's."""
    return RefusedError(404, {"detail": detail})


def refused(detail: str, status: int = 400) -> RefusedError:
    """Return the answer for a request that can't be done now."""
    return RefusedError(status, {"detail": detail})


def invalid(body: Any) -> RefusedError:
    """Return the answer for a document with faults, nested as the document is."""
    return RefusedError(400, body)
