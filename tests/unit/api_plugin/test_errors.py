# SPDX-License-Identifier: Apache-2.0
"""What is no fault of the server is not in its log as one."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from scale_airflow.api_plugin import errors
from scale_airflow.api_plugin.runtime_access import raw_body


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    errors.install(app)

    @app.post("/beat")
    def beat(body: bytes = Depends(raw_body)) -> None:
        raise AssertionError("no whole body has come")

    messages = [
        {"type": "http.request", "body": b'{"agent', "more_body": True},
        {"type": "http.disconnect"},
    ]
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/beat",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
    }
    with caplog.at_level(logging.INFO):
        asyncio.run(app(scope, receive, send))
    assert answers[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
