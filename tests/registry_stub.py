# SPDX-License-Identifier: Apache-2.0
"""A tiny image registry over HTTP with one image, which may ask for a login.

Engines take plain HTTP from registries on the loopback interface.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from docker_engine import busybox_tar

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """Serves ``host/team/tool:1``; ``requests`` keeps method, path and Authorization of what was asked.

    :param scheme: how it wants a login: ``basic`` with every request, ``token`` as the large registries do.
    """

    user, password = "robot", "the pass$word of the robot"

    def __init__(self, scheme: Literal["none", "basic", "token"]):
        self.scheme = scheme
        self.requests: list[tuple[str, str, str | None]] = []
        self.tokens: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.manifest = b""
        self.change("first")
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                given = self.headers.get("Authorization")
                registry.requests.append((self.command, self.path, given))
                status, headers, body = registry.take(self.path, given)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_GET = do_HEAD = answer  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    @property
    def image(self) -> str:
        """The name of the image."""
        return f"{self.host}/team/tool:1"

    def change(self, mark: str) -> None:
        """Serve another image under the same name: its variable MARK says which."""
        layer = busybox_tar()
        packed = gzip.compress(layer, 1, mtime=0)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["PATH=/bin", f"MARK={mark}"]},
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
                "history": [{"created_by": "test"}],
            }
        ).encode()
        self.blobs = {_digest(config): config, _digest(packed): packed}
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    "size": len(config),
                    "digest": _digest(config),
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                        "size": len(packed),
                        "digest": _digest(packed),
                    }
                ],
            }
        ).encode()

    def asked(self, part: str) -> list[tuple[str, str, str | None]]:
        """The requests whose path has this part."""
        return [request for request in self.requests if part in request[1]]

    def take(self, path: str, given: str | None) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer."""
        where = urlsplit(path)
        if where.path == "/token":
            if given != self.basic:
                return _refusal("the user or the password is wrong")
            token = secrets.token_hex(16)
            self.tokens.add(token)
            assert parse_qs(where.query)["service"] == ["stub"]
            return 200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode()
        if not self._is_welcome(given):
            challenge = {
                "basic": 'Basic realm="stub"',
                "token": f'Bearer realm="http://{self.host}/token",service="stub"',
            }[self.scheme]
            status, headers, body = _refusal("log in first")
            return status, {**headers, "WWW-Authenticate": challenge}, body
        if where.path == "/v2/":
            return 200, {"Docker-Distribution-Api-Version": "registry/2.0"}, b"{}"
        if where.path.startswith("/v2/team/tool/manifests/"):
            digest = {"Docker-Content-Digest": _digest(self.manifest)}
            return 200, {"Content-Type": _MANIFEST, **digest}, self.manifest
        blob = self.blobs.get(where.path.rpartition("/")[2])
        if blob is None:
            return 404, {}, b'{"errors":[{"code":"NAME_UNKNOWN","message":"there is no such thing"}]}'
        return 200, {"Content-Type": "application/octet-stream"}, blob

    @property
    def basic(self) -> str:
        """The right Authorization header of a login."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def _is_welcome(self, given: str | None) -> bool:
        if self.scheme == "basic":
            return given == self.basic
        if self.scheme == "token":
            return given is not None and given.removeprefix("Bearer ") in self.tokens
        return True


def _refusal(reason: str) -> tuple[int, dict[str, str], bytes]:
    body: dict[str, Any] = {"errors": [{"code": "UNAUTHORIZED", "message": reason}]}
    return 401, {"Content-Type": "application/json"}, json.dumps(body).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextmanager
def registry(scheme: Literal["none", "basic", "token"]) -> Iterator[Registry]:
    """Run a registry for a while."""
    made = Registry(scheme)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()
