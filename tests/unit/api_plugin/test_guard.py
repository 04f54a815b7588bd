# SPDX-License-Identifier: Apache-2.0
"""What stands before every request, and the addresses that answers carry."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request

from scale_airflow.api_plugin.guard import Guard
from scale_airflow.api_plugin.links import Links, links_of


def scope(path: str = "/scale/api/jobs", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "root_path": "/scale",
        "query_string": b"",
        "headers": [],
        "server": ("host", 80),
        **more,
    }


async def through(given: dict[str, Any], messages: tuple[bytes, ...] = (b"",), **options: Any) -> list[Any]:
    """Send a request through the guard to an application that reads all and answers its path."""
    seen: list[Any] = []
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        seen.append(message)

    async def app(inner: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        if inner["path"] == "/scale/api/bug/":
            raise RuntimeError("swordfish")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": inner["path"].encode()})

    await Guard(app, **options)(given, receive, send)
    return seen


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/scale/api/jobs", "/scale/api/jobs/"),
        ("/scale/api/jobs/", "/scale/api/jobs/"),
        ("/scale/api", "/scale/docs"),
        ("/scale/docs", "/scale/docs"),
        ("/scale/apish", "/scale/apish"),
    ],
)
async def test_one_spelling(path: str, inside: str) -> None:
    start, body = await through(scope(path, raw_path=path.encode()))
    assert body["body"].decode() == inside
    assert dict(start["headers"])[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("path", ["/air/scale/api/jobs/", "/scale/api/jobs", "/scale/api/jobs/"])
async def test_a_proxy_may_take_the_prefix_away(path: str) -> None:
    _, body = await through(scope(path, root_path="/air/scale"))
    assert body["body"] == b"/air/scale/api/jobs/"


async def test_a_body_that_grows_too_long() -> None:
    start, _ = await through(scope(), (b"x" * 6, b"x" * 6), max_body=10)
    assert start["status"] == 413


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"headers": [(b"content-length", b"11")]}, 413),
        ({"headers": [(b"content-length", b"9" * 5000)]}, 413),
        ({"headers": [(b"content-length", b"-1")]}, 200),
        ({"headers": [(b"content-encoding", b"gzip")]}, 415),
        ({"headers": [(b"content-encoding", b"Identity")]}, 200),
        ({"query_string": b"a=%00"}, 400),
        ({"query_string": b"&" * 1000}, 400),
        ({"path": "/scale/api/\0"}, 400),
        ({"path": "/scale/api/bug"}, 500),
    ],
)
async def test_refused(more: dict[str, Any], status: int) -> None:
    seen = await through({**scope(), **more}, max_body=10)
    assert seen[0]["status"] == status
    assert b"swordfish" not in seen[1]["body"]


@pytest.mark.parametrize(
    ("headers", "root"),
    [
        ({}, "http://host/air/scale"),
        ({"host": "h:81"}, "http://h:81/air/scale"),
        (
            {"host": "h", "x-forwarded-host": "pub.example, inner", "x-forwarded-proto": "https"},
            "https://pub.example/air/scale",
        ),
        ({"host": "h", "x-forwarded-host": "[::1]:8080"}, "http://[::1]:8080/air/scale"),
        ({"host": "h", "x-forwarded-host": "a/b", "x-forwarded-proto": "javascript"}, "http://h/air/scale"),
        ({"host": 'h"><script>'}, "http://host/air/scale"),
    ],
)
def test_links(headers: dict[str, str], root: str) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request(scope("/air/scale/api/jobs/", root_path="/air/scale", headers=raw))
    assert links_of(request) == Links(root)
    assert Links(root).content(3) == f"{root}/api/files/3/content/"
