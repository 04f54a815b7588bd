# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server whose answers a test writes down beforehand, byte by byte where it matters."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY = "k3y-which-must-not-be-seen-anywhere"


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Raw:
    """An answer.

    :param cut: send only so many bytes of the body, then break the connection.
    :param wait_for: before answering, wait for this (at most 20 s).
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    hang_up: bool = False
    wait_for: threading.Event | None = None


def answer(document: Any, status: int = 200, **headers: str) -> Raw:
    """Return an answer with JSON; a header's underscores become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Raw(status, json.dumps(document).encode(), {"Content-Type": "application/json", **named})


def page(*rows: Any, next: str | None = None) -> Raw:
    """Return one page of a list."""
    return answer({"count": len(rows), "next": next, "previous": None, "results": list(rows)})


Script = Raw | Callable[[Seen], Raw]


class Server:
    """Answers with what was put under "METHOD /path" (without query), one after the other; the last stays."""

    def __init__(self, port: int = 0, tls: Path | None = None) -> None:
        self.seen: list[Seen] = []
        self.script: dict[str, list[Script]] = {}
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(tls)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, what: str, *answers: Script) -> None:
        method, path = what.split(" ")
        self.script[f"{method} /api/v2/{path}"] = list(answers)

    def requests(self) -> list[str]:
        return [f"{seen.method} {seen.target.removeprefix('/api/v2/')}" for seen in self.seen]

    def close(self) -> None:
        with suppress(OSError):
            # A thread waits in accept, which closing alone would not end.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(connection)
                number = self.connections
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            return
        with connection, connection.makefile("rb") as stream:
            try:
                while seen := self._request(stream, number):
                    if not self._answer(connection, seen):
                        return
            except OSError:
                return

    def _request(self, stream: Any, number: int) -> Seen | None:
        line = stream.readline().decode().split()
        if len(line) < 2:
            return None
        headers = {}
        while (header := stream.readline().decode().strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        return Seen(line[0], line[1], headers, body, number)

    def _answer(self, connection: socket.socket, seen: Seen) -> bool:
        with self._lock:
            self.seen.append(seen)
            scripts = self.script.get(f"{seen.method} {seen.target.partition('?')[0]}")
            script = None if not scripts else scripts.pop(0) if len(scripts) > 1 else scripts[0]
        raw = script(seen) if callable(script) else script
        if raw is None:
            raw = answer({"detail": "Not found."}, 404)
        if raw.wait_for is not None:
            raw.wait_for.wait(20)
        if raw.hang_up:
            return False
        headers = {"Content-Length": str(len(raw.body)), **raw.headers}
        head = f"HTTP/1.1 {raw.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        connection.sendall(head.encode() + (raw.body if raw.cut is None else raw.body[: raw.cut]))
        return raw.cut is None


def certificate(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1 that signs itself, with its key, and return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "certificate.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


@contextmanager
def scripted(tls: Path | None = None) -> Iterator[Server]:
    """Run a server.

    :param tls: a file with a certificate and its key, to speak TLS.
    """
    server = Server(tls=tls)
    try:
        yield server
    finally:
        server.close()
