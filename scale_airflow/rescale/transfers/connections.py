# SPDX-License-Identifier: Apache-2.0
"""Connections for bytes: kept alive, one request at a time each, bodies read into and sent from memory as is.

The standard library's HTTP client: it reads into our buffers without another copy, and tells every break.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from scale_airflow.errors import InstallationError
from scale_airflow.rescale.http_settings import certificates, proxy_urls
from scale_airflow.rescale.policy import Answer, Failure

_LONGEST_ERROR = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_MOMENT = 0.5
_STALE = 5.0
"""Seconds after which a server may have closed an idle connection: a body is not sent into such a one."""


class Broken(Exception):  # noqa: N818 - an event for the caller, never seen by users
    """A request had no whole answer; ``failure`` says why."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.value)


@dataclass(frozen=True)
class Network:
    """How servers are reached.

    :param verify: True for the certificates that everything else here trusts, the path of a file or folder
        of others, or False for none.
    :param proxies: the URL of a proxy for everything, or URLs by scheme; None for what the environment says.
    :param user_agent: what we call ourselves.
    :param connect_timeout: seconds for a connection.
    :param read_timeout: seconds without a byte.
    """

    verify: bool | str = True
    proxies: str | Mapping[str, str] | None = field(default=None, repr=False)
    user_agent: str = "scale-airflow"
    connect_timeout: float = 10.0
    read_timeout: float = 60.0

    def proxy_for(self, scheme: str, host: str) -> str | None:
        """Return the URL of the proxy on the way to a host, None if there is none.

        :raises InstallationError: if it is of a kind that transfers can't use.
        """
        named = proxy_urls(self.proxies)
        found = named.get(f"{scheme}://") or named.get("all://")
        if found is None and not named and not urllib.request.proxy_bypass(host):
            outside = urllib.request.getproxies()
            found = outside.get(scheme) or outside.get("all")
        if found is not None and found.startswith("socks"):
            raise InstallationError(
                "Transfers to and from Rescale can't go through a SOCKS proxy.", "Name an HTTP proxy."
            )
        return found

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Return what decides whom to trust, made once: to read all certificates takes a while.

        :raises InstallationError: if the certificates can't be read.
        """
        return httpx.create_ssl_context(verify=certificates(self.verify))


class _Response(http.client.HTTPResponse):
    """A response that can give what has come, without waiting for more."""

    def read_some(self, view: memoryview) -> int:
        """Read bytes of the body into ``view`` with one call to the system at most; 0 at its end."""
        if self.isclosed():
            return 0
        if self.chunked or self.length is None:
            return self.readinto(view)
        count = self.fp.readinto1(view[: self.length])
        self.length -= count
        if not count or not self.length:
            self._close_conn()  # type: ignore[attr-defined]
        return count


class ByteAnswer:
    """An answer whose body is still on its way; :meth:`leave` it when done."""

    def __init__(self, line: _Line, *, reusable: bool = True) -> None:
        self._line = line
        with _network_errors():
            answer = line.http.getresponse()
        if not isinstance(answer, _Response):
            raise TypeError("The connection has made another response than it was told to.")
        self._answer = answer
        self._reusable = reusable
        self._broken: Broken | None = None
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.headers.items()}

    @property
    def length(self) -> int | None:
        """Bytes of the body as the server says, None if it doesn't."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isascii() and told.isdigit() else None

    def fill(self, view: memoryview) -> int:
        """Read the next bytes of the body into ``view`` and return how many: 0 only after its end.

        It waits for as many as there is room for, but not much longer than a moment once there are some.
        What has come before a break is given first; the break is told by the next call.

        :raises Broken: if the connection breaks or stalls.
        """
        if self._broken is not None:
            raise self._broken
        filled = 0
        until = time.monotonic() + _MOMENT
        while filled < len(view) and (not filled or time.monotonic() < until):
            try:
                with _network_errors():
                    count = self._answer.read_some(view[filled:])
            except Broken as broken:
                self._broken = broken
                if filled:
                    return filled
                raise
            if not count:
                break
            filled += count
        return filled

    def small_body(self) -> bytes:
        """Return the beginning of the body, for an error's text or a small document."""
        try:
            with _network_errors():
                return self._answer.read(_LONGEST_ERROR)
        except Broken:
            return b""

    def whole_body(self, most: int) -> bytes:
        """Return the whole body.

        :raises Broken: if it does not come whole, or is longer than ``most`` bytes.
        """
        with _network_errors():
            body = self._answer.read(most + 1)
        if len(body) > most or (self.length is not None and len(body) != self.length):
            raise Broken(Failure.BROKEN)
        return body

    def leave(self) -> None:
        """Keep the connection for the next request if all was read, close it otherwise."""
        if self._reusable and self._answer.isclosed() and not self._answer.will_close:
            self._line.used = time.monotonic()
        else:
            self._answer.close()
            self._line.close()

    def as_answer(self) -> Answer:
        """Return status, headers and the beginning of the body, for the request policy."""
        return Answer(self.status, self.headers, self.small_body())


class _Line:
    """One connection to one server."""

    def __init__(self, network: Network, scheme: str, host: str, port: int) -> None:
        self.used = float("-inf")
        self.prefix = ""
        self.headers: dict[str, str] = {}
        self._port = port
        proxy = network.proxy_for(scheme, host)
        place, place_port, tunnel = host, port, None
        if proxy is not None:
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            place, place_port = parts.hostname or "", parts.port or 80
            pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            login = (
                {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
                if parts.username
                else {}
            )
            if scheme == "https":
                tunnel = login
            else:
                shown = f"[{host}]" if ":" in host else host
                self.prefix, self.headers = f"http://{shown}:{port}", login
        self._timeout = network.read_timeout
        self.http: http.client.HTTPConnection
        if scheme == "https":
            self.http = http.client.HTTPSConnection(
                place, place_port, timeout=network.connect_timeout, context=network.tls
            )
        else:
            self.http = http.client.HTTPConnection(place, place_port, timeout=network.connect_timeout)
        self.http.response_class = _Response
        if tunnel is not None:
            self.http.set_tunnel(host, port, tunnel)

    @property
    def is_open(self) -> bool:
        return self.http.sock is not None

    def open(self) -> None:
        """Connect.

        :raises Broken: if that fails.
        """
        try:
            self.http.connect()
        except ssl.SSLCertVerificationError:
            self.close()
            raise Broken(Failure.UNTRUSTED) from None
        except (OSError, http.client.HTTPException):
            self.close()
            raise Broken(Failure.NOT_CONNECTED) from None
        self.http.sock.settimeout(self._timeout)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.http.close()

    def abort(self) -> None:
        """Wake whoever reads from it, from another thread."""
        sock = self.http.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class ByteConnection:
    """The connections of one worker, one to each server it talks to."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._lines: dict[tuple[str, str, int], _Line] = {}
        self._aborted = threading.Event()
        self._awaits_answer = False

    def get(self, url: str, headers: Mapping[str, str], authorization: str) -> ByteAnswer:
        """Ask for a resource and return the answer as soon as its headers are there.

        A redirect is followed; the key goes to the origin of ``url`` only, and never from HTTPS to HTTP.

        :raises Broken: if there is no answer.
        """
        first = _origin(url)
        for _ in range(_MOST_REDIRECTS):
            origin = _origin(url)
            sent = {**headers, "Authorization": authorization} if origin == first else dict(headers)
            answer = self._get_once(url, sent)
            target = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not target:
                return answer
            following = urljoin(url, target)
            scheme = urlsplit(following).scheme
            if scheme not in ("http", "https") or (origin[0] == "https" and scheme == "http"):
                return answer
            answer.small_body()
            answer.leave()
            url = following
        return answer

    def post(
        self, url: str, headers: Mapping[str, str], body: Iterable[bytes | memoryview], length: int
    ) -> ByteAnswer:
        """Send a body of exactly ``length`` bytes and return the answer.

        A server that answers before it has read everything is heard all the same. What the body itself raises
        closes the connection and passes.

        :raises Broken: if there is no answer.
        """
        line, target = self._line(url)
        if line.is_open and time.monotonic() - line.used > _STALE:
            line.close()
        if not line.is_open:
            line.open()
        try:
            with _network_errors():
                self._head(line, "POST", target, {**headers, "Content-Length": str(length)})
            for block in body:
                try:
                    with _network_errors():
                        line.http.send(block)
                except Broken:
                    return self._answer_in_spite(line)
            self._awaits_answer = True
            return ByteAnswer(line)
        except BaseException:
            line.close()
            raise
        finally:
            self._awaits_answer = False

    def close(self) -> None:
        """Close all; nothing else may be under way."""
        for line in self._lines.values():
            line.close()

    def abort(self, *, at_once: bool = True) -> None:
        """End what is under way, from another thread.

        :param at_once: False lets an answer come to a body that was sent: it tells what came about.
        """
        self._aborted.set()
        if self._awaits_answer and not at_once:
            return
        for line in list(self._lines.values()):
            line.abort()

    def _answer_in_spite(self, line: _Line) -> ByteAnswer:
        """Return what a server has said that did not want to read any more."""
        answer = ByteAnswer(line, reusable=False)
        if answer.status < 400:
            raise Broken(Failure.BROKEN)
        return answer

    def _get_once(self, url: str, headers: Mapping[str, str]) -> ByteAnswer:
        line, target = self._line(url)
        kept = line.is_open
        while True:
            if not line.is_open:
                line.open()
                if self._aborted.is_set():
                    line.close()
                    raise Broken(Failure.BROKEN)
            try:
                with _network_errors():
                    self._head(line, "GET", target, headers)
                return ByteAnswer(line)
            except Broken as broken:
                line.close()
                # An idle connection that the server has closed meanwhile is no failed attempt.
                if not kept or broken.failure is not Failure.BROKEN or self._aborted.is_set():
                    raise
                kept = False

    def _head(self, line: _Line, method: str, target: str, headers: Mapping[str, str]) -> None:
        line.http.putrequest(method, line.prefix + target, skip_accept_encoding=True)
        sent = {"Accept-Encoding": "identity", "User-Agent": self._network.user_agent}
        for name, value in {**sent, **line.headers, **headers}.items():
            line.http.putheader(name, value)
        line.http.endheaders()

    def _line(self, url: str) -> tuple[_Line, str]:
        parts = urlsplit(url)
        origin = _origin(url)
        if origin not in self._lines:
            self._lines[origin] = _Line(self._network, *origin)
        return self._lines[origin], (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


@contextlib.contextmanager
def _network_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise Broken(Failure.TIMED_OUT) from None
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        # ValueError and AttributeError: closed by another thread in the middle of a read.
        raise Broken(Failure.BROKEN) from None
