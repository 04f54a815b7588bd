# SPDX-License-Identifier: Apache-2.0
"""Requests that the OpenAPI document allows, and such that it does not, sent into an ASGI application.

schemathesis makes them of the document; here they are sent without a network and a thread for each, and what
comes back is looked at: whatever was sent, the answer is documented, whole, and in the API's form.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests
import schemathesis
from answer_models import Models
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

ROOT = "http://scale.example/scale"
LONGEST = 60.0
"""Seconds after which a request is taken to hang."""

# What must never be told to a caller.
_INSIDES = ("Traceback (most recent call last)", 'File "/', "psycopg2", "sqlalchemy", "[SQL:")

# Values that have broken others: beyond 64 bits, not a number, half of a surrogate pair, NUL, line ends.
NASTY = (
    *("-1", "0", "9223372036854775808", "-9223372036854775809", "1e400", "NaN", "Infinity", "null", "true"),
    *("%00", "\x00", "\ud800", "%ED%A0%80", "\r\n", "'", '"', "--", "../..", "${jndi:x}", "{}", "[]", "٣"),
    *("(a+)+$", "A" * 5000, "1" * 400, "P1Y", "PT9999999999S", "9999-12-31T23:59:59.999999-23:59"),
)


@dataclass(frozen=True)
class Sent:
    """A request as it was sent; ``str()`` shows how to send it again."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        shown = {name: value for name, value in self.headers.items() if name.lower() == "content-type"}
        return f"{self.method} {self.url} {shown} {self.body[:2000]!r}"


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    body: bytes


class Server:
    """Serves requests of an ASGI application in this thread, one after the other.

    :param headers: sent with each; of the login.
    :param others: other ones by what the address begins with.
    """

    def __init__(
        self, app: Any, headers: Mapping[str, str], others: Mapping[str, Mapping[str, str]] | None = None
    ):
        self.app = app
        self.headers = dict(headers)
        self.others = dict(others or {})
        self.loop = asyncio.new_event_loop()

    def close(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def send(self, sent: Sent) -> Answer:
        return self.loop.run_until_complete(asyncio.wait_for(self._send(sent), LONGEST))

    async def _send(self, sent: Sent) -> Answer:
        parts = urlsplit(sent.url)
        # "identity": what comes back is to be read here, not to be unpacked.
        own = {"Content-Length": str(len(sent.body)), "Host": parts.netloc, "Accept-Encoding": "identity"}
        login = next(
            (other for start, other in self.others.items() if sent.url.startswith(start)), self.headers
        )
        given = {name.title(): value for name, value in {**sent.headers, **login}.items()} | own
        given.pop("Cookie", None)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": sent.method,
            "scheme": parts.scheme,
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), _latin(value)) for name, value in given.items()],
            "client": ("client.example", 1),
            "server": (parts.hostname, 80),
            "state": {},
        }
        waiting = [{"type": "http.request", "body": sent.body, "more_body": False}]
        told: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return waiting.pop() if waiting else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            told.append(message)

        await self.app(scope, receive, send)
        start, *rest = told
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
        body = b"".join(message.get("body", b"") for message in rest)
        return Answer(start["status"], headers.get("content-type", ""), body)


def _latin(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


class Fuzz:
    """Tries the operations of an OpenAPI document, which are known by ``<METHOD> <path>``.

    :param known: ids under which there is something, which half of the cases name in their paths.
    """

    def __init__(self, document: Any, server: Server, known: tuple[int, ...] = (1, 2, 3)):
        self.server = server
        self.known = known
        self.models = Models(document)
        schema = schemathesis.openapi.from_dict(document)
        self.operations = {each.ok().label: each.ok() for each in schema.get_all_operations()}

    def run(self, label: str, cases: int, number: int | None = None) -> int:
        """Try an operation; return how many requests were sent.

        :param cases: how many at least; half of them are against the document.
        :param number: the seed; without one, the same cases come each time.
        :raises AssertionError: naming the simplest request whose answer is wrong.
        """
        sent = 0
        for mode in (GenerationMode.NEGATIVE, GenerationMode.POSITIVE):
            # Where nothing can be against the document, all are for it.
            wanted = cases // 2 if mode is GenerationMode.NEGATIVE else cases - sent
            sent += self._run(self.operations[label], mode, wanted, number)
        return sent

    def _run(self, operation: Any, mode: GenerationMode, cases: int, number: int | None) -> int:
        sent = 0

        def attempt(case: Any, known: int | None, more: dict[str, str]) -> None:
            nonlocal sent
            request = self._request(case, known, more)
            sent += 1
            faults = self.faults(operation.label, self.server.send(request))
            assert not faults, f"{request}\n" + "\n".join(faults)

        near = st.one_of(st.none(), st.sampled_from(self.known))
        name = st.sampled_from(("page", "order", "status", "x", "\x00", "job_id", "started", "é"))
        value = st.one_of(st.sampled_from(NASTY), st.text(max_size=20))
        more = st.one_of(st.just({}), st.just({}), st.dictionaries(name, value, max_size=3))
        test = given(case=operation.as_strategy(generation_mode=mode), known=near, more=more)(attempt)
        if number is not None:
            test = seed(number)(test)
        how = settings(
            max_examples=cases,
            deadline=None,
            database=None,
            derandomize=number is None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate] if number is None else [Phase.generate, Phase.shrink],
        )
        try:
            how(test)()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, operation.label
        return sent

    def _request(self, case: Any, known: int | None, more: dict[str, str]) -> Sent:
        if known is not None:
            for name in case.path_parameters:
                if name.endswith("_id"):
                    case.path_parameters[name] = known
        arguments = case.as_transport_kwargs(base_url=ROOT)
        parts = ("method", "url", "headers", "params", "data", "files", "json", "cookies")
        prepared = requests.Request(**{name: arguments.get(name) for name in parts}).prepare()
        url = str(prepared.url)
        for name, value in more.items():
            pair = f"{quote(name)}={quote(value.encode('utf-8', 'surrogatepass'))}"
            url += f"{'&' if '?' in url else '?'}{pair}"
        body = prepared.body or b""
        body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
        return Sent(str(prepared.method), url, dict(prepared.headers), body)

    def faults(self, label: str, answer: Answer) -> list[str]:
        """Return what is wrong with an answer."""
        method, _, path = label.partition(" ")
        text = answer.body.decode("utf-8", "replace")
        shown = f"{answer.status} {text[:1000]}"
        found = [f"fails: {shown}"] if answer.status >= 500 else []
        found += [f"shows its insides ({each}): {shown}" for each in _INSIDES if each in text]
        if answer.status >= 400 or answer.content_type == "application/json":
            try:
                content = json.loads(answer.body)
            except ValueError:
                return [*found, f"is no JSON: {shown}"]
            found += [f"{each}: {shown}" for each in self.models.faults(method, path, answer.status, content)]
        return found
