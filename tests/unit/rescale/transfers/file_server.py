# SPDX-License-Identifier: Apache-2.0
"""A small server of files, where each test decides what is answered: more than fault rules can do."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.file_models import RemoteFile

_CONTENTS = re.compile(r"/api/v2/files/([^/]+)/contents/")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class Served:
    """What is served, and what was asked."""

    contents: dict[str, bytes] = field(default_factory=dict)
    answer: Callable[[Handler, bytes], bool] = lambda handler, content: False
    ranges: list[str | None] = field(default_factory=list)
    connections: int = 0
    etag: str = '"one"'
    handler: type[Handler] | None = None
    url: str = ""

    @property
    def credentials(self) -> Credentials:
        return Credentials.of(self.url, "key-of-the-test")

    def file(self, name: str, content: bytes, **more: object) -> RemoteFile:
        """Serve a file and return its metadata."""
        self.contents[name] = content
        told = {
            "id": name,
            "name": name,
            "relativePath": name,
            "decryptedSize": len(content),
            "fileChecksums": [{"hashFunction": "sha512", "fileHash": hashlib.sha512(content).hexdigest()}],
            **more,
        }
        return RemoteFile.from_document(told)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def setup(self) -> None:
        super().setup()
        self.served.connections += 1

    def do_GET(self) -> None:
        found = _CONTENTS.fullmatch(self.path)
        content = self.served.contents.get(found[1]) if found else None
        if content is None:
            self.give(404, json.dumps({"detail": "Not found."}).encode())
            return
        self.served.ranges.append(self.headers.get("Range"))
        if not self.served.answer(self, content):
            self.give_range(content)

    def asked(self, content: bytes) -> tuple[int, int] | None:
        """Return the first and the last byte that was asked for."""
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        return (int(found[1]), min(int(found[2]), len(content) - 1)) if found else None

    def give_range(self, content: bytes, *, cut: int | None = None, total: int | None = None) -> None:
        """Answer as it should be; with ``cut`` only so many bytes, then the connection is cut."""
        asked = self.asked(content)
        if asked is None:
            self.give(200, content, cut=cut)
            return
        first, last = asked
        told = f"bytes {first}-{last}/{len(content) if total is None else total}"
        self.give(206, content[first : last + 1], cut=cut, **{"Content-Range": told})

    def give(self, status: int, body: bytes, *, cut: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.served.etag)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.cut()

    def cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Tests tell enough."""


@contextmanager
def serving(encrypted: ssl.SSLContext | None = None) -> Iterator[Served]:
    """Give a server on a free port."""
    served = Served()
    handler = type("Handler", (Handler,), {"served": served})
    served.handler = handler

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is no error here."""

    with Server(("127.0.0.1", 0), handler) as server:
        served.url = f"{'https' if encrypted else 'http'}://127.0.0.1:{server.server_address[1]}"
        if encrypted:
            server.socket = encrypted.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
