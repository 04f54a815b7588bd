# SPDX-License-Identifier: Apache-2.0
"""What stands before every request: limits, one spelling of each path, and a last net for errors."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scale_airflow.api_plugin.errors import BodyEncodingError, BodyTooLargeError, unexpected
from scale_airflow.api_plugin.replies import refusal
from scale_airflow.errors import InvalidRequest, ScaleError

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a request's body; the largest documents, exports of thousands of types, have a few millions."""

MAX_PARAMETERS = 1000
"""Query parameters of a request, repeated ones counted each."""

_STARTS = ("/", "/api", "/api/", "/docs/")
"""Where somebody may look who knows no address yet: the page of the documentation is there."""

_STATUS = {InvalidRequest: 400, BodyTooLargeError: 413, BodyEncodingError: 415}


class Guard:
    """ASGI middleware around the whole application.

    It refuses what no endpoint should see (a NUL in path or query, too many parameters, a body that is too
    long or compressed), gives every path its prefix and its trailing slash, so that all spellings answer
    the same without a redirect that would lose the body, and turns what nobody caught into a plain 500.
    """

    def __init__(self, app: ASGIApp, max_body: int = MAX_BODY):
        self.app = app
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check(scope)
            await self.app(_with_slash(scope), self._limited(receive), sending)
        except ScaleError as error:
            if started:
                raise
            status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 503)
            await refusal(status, str(error))(scope, receive, sending)
        except Exception as error:
            if started:
                raise
            await unexpected(Request(scope), error)(scope, receive, sending)

    def _check(self, scope: Scope) -> None:
        query: bytes = scope["query_string"]
        if b"\0" in unquote_to_bytes(query) or "\0" in scope["path"]:
            raise InvalidRequest("The address of this request contains a NUL character.")
        if query.count(b"&") >= MAX_PARAMETERS:
            raise InvalidRequest(f"A request may have at most {MAX_PARAMETERS} query parameters.")
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            raise BodyEncodingError("Send the body without a Content-Encoding.")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self.max_body:
            raise self._too_large()

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"The body of a request may have at most {self.max_body} bytes.")

    def _limited(self, receive: Receive) -> Receive:
        seen = 0

        async def receiving() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.max_body:
                    raise self._too_large()
            return message

        return receiving


def _with_slash(scope: Scope) -> Scope:
    """Return the scope with the one spelling of its path that routes are compared with."""
    root: str = scope.get("root_path", "")
    path = _under(root, scope["path"])
    inside = path.removeprefix(root)
    if inside in _STARTS:
        path = f"{root}/docs"
    elif not path.endswith("/") and (inside + "/").startswith("/api/"):
        path += "/"
    return scope if path == scope["path"] else {**scope, "path": path, "raw_path": quote(path).encode()}


def _under(root: str, path: str) -> str:
    """Return the path with the prefix of ``[api] base_url``, which some proxies take away.

    The plugin's mount then has put its own place behind the prefix in ``root``, but not in the path.
    """
    if path == root or path.startswith(root + "/"):
        return path
    for start, character in enumerate(root):
        mount = root[start:]
        if character == "/" and (path == mount or path.startswith(mount + "/")):
            return root[:start] + path
    return path
