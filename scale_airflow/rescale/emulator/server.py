# SPDX-License-Identifier: Apache-2.0
"""The HTTP server: from a request to its answer, with all that may go wrong on the way."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Any

from aiohttp import web
from yarl import URL

from scale_airflow.rescale.emulator import (
    routes_account,
    routes_devices,
    routes_files,
    routes_jobs,
    routes_runs,
)
from scale_airflow.rescale.emulator.admin import Admin
from scale_airflow.rescale.emulator.answers import Answer, gateway_answer, json_answer
from scale_airflow.rescale.emulator.contents import STORAGE, contents_answer, stored_file
from scale_airflow.rescale.emulator.exchange import Emulator, Exchange
from scale_airflow.rescale.emulator.faults import Fault
from scale_airflow.rescale.emulator.refusals import RefusedError, refused
from scale_airflow.rescale.emulator.routing import Match, RedirectError, Router
from scale_airflow.rescale.emulator.sending import cut, hang, send
from scale_airflow.rescale.emulator.throttle import retry_after

HOST = "127.0.0.1"
# Small enough that the kernel's buffers do not blur the speed of a shaped connection.
SOCKET_BUFFER = 2**18
READ_SIZE = 2**18
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HALF_A_DOCUMENT = '{"count": 3, "next": null, "resul'

log = logging.getLogger(__name__)


class Service:
    """Answers the requests of the emulated service."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._router = Router(
            [
                *routes_account.ENDPOINTS,
                *routes_files.ENDPOINTS,
                *routes_jobs.ENDPOINTS,
                *routes_runs.ENDPOINTS,
                *routes_devices.ENDPOINTS,
            ]
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        counters = self._emulator.counters
        counters.request_begins()
        fault = self._emulator.faults.pick(request.method, request.path_qs)
        entry: dict[str, Any] = {
            "method": request.method,
            "path": request.path_qs,
            "range": request.headers.get("Range"),
            "user_agent": request.headers.get("User-Agent"),
            "time": self._emulator.clock.now().isoformat(),
            "status": None,
            "fault": fault.kind if fault else None,
        }
        counters.requests.append(entry)
        counted = "cut"
        try:
            await self._emulator.shaping.latency()
            if fault is not None:
                await self._before(request, fault)
            answer = await self._answer(request, fault)
            if fault is not None:
                answer = await self._after(request, fault, answer)
            entry["status"] = answer.status
            response = await send(self._emulator, request, answer, fault)
            counted = str(answer.status)
            return response
        finally:
            counters.by_status[counted] += 1
            counters.request_ends()

    async def _before(self, request: web.BaseRequest, fault: Fault) -> None:
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        if fault.kind == "cut":
            cut(request)
        if fault.kind == "hang" and not fault.effect:
            await hang(request)

    async def _after(self, request: web.BaseRequest, fault: Fault, answer: Answer) -> Answer:
        if fault.kind == "lost":
            cut(request)
        if fault.kind == "hang":
            await hang(request)
        return _replaced(fault) or answer

    async def _answer(self, request: web.BaseRequest, fault: Fault | None) -> Answer:
        try:
            if fault is not None and not fault.effect and (answer := _replaced(fault)):
                if not request.path.startswith(STORAGE):
                    self._count(request)
                return answer
            url = _url(request)
            if request.path.startswith(STORAGE):
                return self._from_storage(request, fault)
            match = self._count(request)
            key, caller = self._emulator.keys.caller(request.headers.get("Authorization"))
            headers = self._emulator.throttle.pass_or_refuse(key, match.endpoint.scope)
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0
            exchange = Exchange(self._emulator, request, url, caller, match.values, fault)
            answer = await match.handler(exchange)
            answer.headers.update(headers)
            await self._emulator.state.durable()
            return answer
        except RedirectError:
            place = request.rel_url.with_path(request.rel_url.raw_path + "/", encoded=True, keep_query=True)
            return Answer(301, b"", {"Location": str(place), "Content-Type": "text/html; charset=utf-8"})
        except RefusedError as error:
            return json_answer(error.body, error.status, error.headers)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except web.RequestPayloadError:
            return json_answer({"detail": "The request's body is broken."}, 400)
        except Exception as error:
            return _failure(request, error)

    def _from_storage(self, request: web.BaseRequest, fault: Fault | None) -> Answer:
        self._emulator.counters.by_endpoint[f"{request.method} {STORAGE}"] += 1
        record = stored_file(self._emulator.state, request.path, request.headers)
        path = self._emulator.blobs.path(record.blob)
        return contents_answer(record, path, request.headers, fault)

    def _count(self, request: web.BaseRequest) -> Match:
        match = self._router.match(request.method, request.path)
        self._emulator.counters.by_scope[match.endpoint.scope] += 1
        self._emulator.counters.by_endpoint[f"{request.method} {match.endpoint.template}"] += 1
        return match


def _failure(request: web.BaseRequest, error: Exception) -> Answer:
    if isinstance(error, OSError) and error.errno in FULL:
        return json_answer({"detail": "No space left on the emulator's disk."}, 507)
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return json_answer({"detail": "The emulator has a defect; its log says more."}, 500)


def _replaced(fault: Fault) -> Answer | None:
    if fault.kind == "garbage":
        body = HALF_A_DOCUMENT if fault.body is None else fault.body
        return Answer(200, body.encode(), {"Content-Type": "application/json"})
    if fault.kind != "status":
        return None
    headers = retry_after(fault.retry_after, fault.seconds)
    if fault.body is not None:
        return Answer(fault.status, fault.body.encode(), {"Content-Type": "application/json", **headers})
    if fault.status == 429:
        seconds = int(fault.seconds)
        detail = f"Request was throttled. Expected available in {seconds} seconds."
        return json_answer({"detail": detail}, 429, headers)
    if fault.status >= 500:
        return gateway_answer(fault.status, headers)
    return json_answer({"detail": "Refused, as a fault rule says."}, fault.status, headers)


def _url(request: web.BaseRequest) -> URL:
    try:
        return request.url
    except ValueError:
        raise refused("Bad Request: invalid Host header.") from None


class CountingServer(web.Server):
    """Counts connections."""

    def __init__(self, emulator: Emulator, service: Service) -> None:
        # Bodies come as they were sent: the service does not unpack them either.
        super().__init__(service.handle, access_log=None, read_bufsize=READ_SIZE, auto_decompress=False)
        self._counters = emulator.counters

    def connection_made(self, handler: object, transport: asyncio.Transport) -> None:
        """Count a connection that begins."""
        super().connection_made(handler, transport)  # type: ignore[arg-type]
        self._counters.connection_opened()

    def connection_lost(self, handler: object, exc: BaseException | None = None) -> None:
        """Count a connection that ends."""
        super().connection_lost(handler, exc)  # type: ignore[arg-type]
        self._counters.connection_closed()


class Planes:
    """The service and its admin plane, each on a port of the loopback interface."""

    def __init__(self, emulator: Emulator, port: int, admin_port: int) -> None:
        """Take the ports (0: any free one), which nobody is served at yet.

        :raises OSError: a port is taken.
        """
        self._servers = [
            CountingServer(emulator, Service(emulator)),
            web.Server(Admin(emulator).handle, access_log=None),
        ]
        self._listeners = [_listener(port)]
        try:
            self._listeners.append(_listener(admin_port))
        except OSError:
            self._listeners[0].close()
            raise
        self._runners: list[web.ServerRunner] = []
        self.address, self.admin_address = (
            f"http://{HOST}:{listener.getsockname()[1]}" for listener in self._listeners
        )

    async def start(self) -> None:
        """Serve."""
        for server, listener in zip(self._servers, self._listeners, strict=True):
            runner = web.ServerRunner(server, shutdown_timeout=1.0)
            await runner.setup()
            self._runners.append(runner)
            await web.SockSite(runner, listener, backlog=1024).start()

    async def close(self) -> None:
        """Stop listening and end what is under way."""
        for runner in self._runners:
            await runner.cleanup()
        for listener in self._listeners:
            listener.close()


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    return listener
