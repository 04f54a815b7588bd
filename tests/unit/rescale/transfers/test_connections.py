# SPDX-License-Identifier: Apache-2.0
"""Connections: kept, proxied, encrypted, and closed for good when a transfer ends."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from unit.rescale.transfers.file_server import Handler, Served, serving

from scale_airflow.errors import InstallationError
from scale_airflow.rescale.policy import Failure
from scale_airflow.rescale.transfers.connections import Broken, ByteConnection, Network

KEY = "Token secret"
CONTENT = bytes(range(256)) * 100


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as made:
        made.file("file", CONTENT)
        yield made


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def read(connection: ByteConnection, url: str) -> bytes:
    answer = connection.get(f"{url}/api/v2/files/file/contents/", {}, KEY)
    view = memoryview(bytearray(len(CONTENT) + 1))
    filled = 0
    while count := answer.fill(view[filled:]):
        filled += count
    answer.leave()
    return bytes(view[:filled])


def test_a_connection_serves_many_requests(served: Served) -> None:
    connection = ByteConnection(Network())
    assert [read(connection, served.url) for _ in range(5)] == [CONTENT] * 5
    assert served.connections == 1
    connection.close()


def test_one_that_was_closed_meanwhile_is_opened_again(served: Served) -> None:
    def answer(handler: Handler, content: bytes) -> bool:
        handler.close_connection = True  # without a word about it
        return False

    served.answer = answer
    connection = ByteConnection(Network())
    assert [read(connection, served.url) for _ in range(3)] == [CONTENT] * 3
    assert served.connections == 3
    connection.close()


def test_an_answer_that_is_not_read_to_its_end_costs_its_connection(served: Served) -> None:
    connection = ByteConnection(Network())
    connection.get(f"{served.url}/api/v2/files/file/contents/", {}, KEY).leave()
    assert read(connection, served.url) == CONTENT
    assert served.connections == 2
    connection.close()


def test_what_came_before_a_break_is_given_first(served: Served) -> None:
    def answer(handler: Handler, content: bytes) -> bool:
        handler.give(200, content, cut=1000)
        return True

    served.answer = answer
    connection = ByteConnection(Network())
    got = connection.get(f"{served.url}/api/v2/files/file/contents/", {}, KEY)
    view = memoryview(bytearray(5000))
    assert got.fill(view) == 1000
    assert bytes(view[:1000]) == CONTENT[:1000]
    assert got.fill(view) == 0
    got.leave()
    connection.close()


@pytest.mark.parametrize("how", ["named", "environment"])
def test_a_proxy_is_asked_for_the_whole_address(
    served: Served, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []
    with serving() as proxy:

        def forward(handler: Handler) -> None:
            asked.append((handler.path, handler.headers.get("Proxy-Authorization")))
            handler.give(200, CONTENT)

        assert proxy.handler is not None
        proxy.handler.do_GET = forward  # type: ignore[method-assign]
        address = proxy.url.replace("http://", "http://user:pass%20word@")
        if how == "environment":
            monkeypatch.setenv("http_proxy", address)
        network = Network(proxies={"http": address} if how == "named" else None)
        connection = ByteConnection(network)
        assert read(connection, "http://rescale.invalid:81") == CONTENT
        connection.close()
        assert address not in repr(network)
    assert asked == [("http://rescale.invalid:81/api/v2/files/file/contents/", "Basic dXNlcjpwYXNzIHdvcmQ=")]


def test_a_proxy_that_can_not_be_used_is_told() -> None:
    with pytest.raises(InstallationError, match="SOCKS"):
        ByteConnection(Network(proxies="socks5://127.0.0.1:1")).get("http://rescale.invalid/", {}, KEY)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(Broken) as caught:
            ByteConnection(Network()).get(address, {}, KEY)
    assert caught.value.failure is Failure.NOT_CONNECTED


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for this machine and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rescale")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def test_encrypted_connections_trust_whom_they_are_told_to(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with serving(context) as served:
        served.file("file", CONTENT)
        for verify in (str(certificate), False):
            network = Network(verify=verify)
            connection = ByteConnection(network)
            assert [read(connection, served.url) for _ in range(2)] == [CONTENT] * 2
            connection.close()
            assert network.tls is network.tls
        with pytest.raises(Broken) as caught:
            read(ByteConnection(Network()), served.url)
        assert caught.value.failure is Failure.UNTRUSTED


@pytest.mark.parametrize("encrypted", [False, True])
def test_who_waits_for_bytes_is_freed(certificate: Path, encrypted: bool) -> None:
    context = None
    if encrypted:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    reached, release = threading.Event(), threading.Event()

    def answer(handler: Handler, content: bytes) -> bool:
        reached.set()
        release.wait(20)
        handler.close_connection = True
        return True

    with serving(context) as served:
        served.file("file", CONTENT)
        served.answer = answer
        connection = ByteConnection(Network(verify=False, read_timeout=30))
        failures: list[Failure] = []

        def wait() -> None:
            try:
                read(connection, served.url)
            except Broken as broken:
                failures.append(broken.failure)

        waiter = threading.Thread(target=wait)
        waiter.start()
        assert reached.wait(10)
        began = time.monotonic()
        connection.abort()
        waiter.join(20)
        assert time.monotonic() - began < 10
        assert failures == [Failure.BROKEN]
        release.set()
        connection.close()


def test_a_server_that_answers_before_it_has_read_all_is_heard() -> None:
    """As some do who refuse a body: they answer, and close."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            talk, _ = server.accept()
            with talk:
                talk.recv(1000)
                talk.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlong")
                talk.shutdown(socket.SHUT_WR)
                while talk.recv(1 << 16):
                    pass

        refusing = threading.Thread(target=refuse)
        refusing.start()
        connection = ByteConnection(Network())
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        answer = connection.post(url, {}, iter([b"x" * 100_000] * 10), 1_000_000)
        assert (answer.status, answer.small_body()) == (413, b"long")
        answer.leave()
        connection.close()
        refusing.join(10)
