# SPDX-License-Identifier: Apache-2.0
"""Sends answers: large ones from file to socket by the kernel, shaped, and broken where a fault says so."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path
from typing import BinaryIO, NoReturn

from aiohttp import web

from scale_airflow.rescale.emulator.answers import Answer, FileSlice
from scale_airflow.rescale.emulator.exchange import Emulator
from scale_airflow.rescale.emulator.faults import Fault

# How often a silent connection is looked at for its client's leaving.
WATCH = 0.05
BREAKING = ("reset", "truncate", "corrupt", "stall", "slow")


async def send(
    emulator: Emulator, request: web.BaseRequest, answer: Answer, fault: Fault | None
) -> web.StreamResponse:
    """Send an answer to the client and return what aiohttp is to end the request with.

    :raises ConnectionResetError: the client is gone, or the fault cut the connection.
    """
    breaking = fault if fault is not None and fault.kind in BREAKING else None
    if answer.file is None and breaking is None:
        await emulator.shaping.sent(connection_of(request), answer.length)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = answer.length
    await response.prepare(request)
    if request.method != "HEAD":
        await _Body(emulator, request, response, answer, breaking).send()
    await response.write_eof()
    return response


class _Body:
    def __init__(
        self,
        emulator: Emulator,
        request: web.BaseRequest,
        response: web.StreamResponse,
        answer: Answer,
        fault: Fault | None,
    ) -> None:
        self._emulator = emulator
        self._request = request
        self._response = response
        self._answer = answer
        self._fault = fault

    async def send(self) -> None:
        fault, length = self._fault, self._answer.length
        place = None
        if fault is not None and fault.kind != "slow":
            place = self._emulator.faults.break_at(fault, length)
        with contextlib.ExitStack() as stack:
            file = None
            if self._answer.file is not None:
                file = stack.enter_context(self._answer.file.path.open("rb", buffering=0))
            if fault is None or place is None:
                await self._move(file, 0, length)
                return
            await self._move(file, 0, place)
            await self._break(fault, file, place)

    async def _break(self, fault: Fault, file: BinaryIO | None, place: int) -> None:
        if fault.kind == "reset":
            cut(self._request)
        if fault.kind == "truncate":
            end(self._request)
        if fault.kind == "stall":
            await hang(self._request)
        if place < self._answer.length:
            right = self._bytes(file, place, 1)
            await self._response.write(bytes([right[0] ^ 0x55]))
            self._count(1)
            await self._move(file, place + 1, self._answer.length)

    async def _move(self, file: BinaryIO | None, first: int, last: int) -> None:
        shaping, transport = self._emulator.shaping, connection_of(self._request)
        speed = self._fault.speed if self._fault is not None and self._fault.kind == "slow" else 0.0
        while first < last:
            count = min(last - first, shaping.piece())
            if speed:
                count = min(count, max(1, int(speed / 20)))
                await asyncio.sleep(count / speed)
            await shaping.sent(transport, count)
            if transport.is_closing():
                raise ConnectionResetError("The client is gone.")
            if file is None:
                await self._response.write(self._answer.body[first : first + count])
            else:
                assert self._answer.file is not None
                offset = self._answer.file.offset + first
                loop = asyncio.get_running_loop()
                if await loop.sendfile(transport, file, offset, count) < count:
                    # A live file that became shorter meanwhile: the announced length can't be kept.
                    end(self._request)
            self._count(count)
            first += count

    def _bytes(self, file: BinaryIO | None, first: int, count: int) -> bytes:
        if file is None or self._answer.file is None:
            return self._answer.body[first : first + count]
        file.seek(self._answer.file.offset + first)
        return file.read(count)

    def _count(self, count: int) -> None:
        if self._answer.file is not None and self._answer.file.file_id is not None:
            self._emulator.counters.bytes_sent[self._answer.file.file_id] += count


def connection_of(request: web.BaseRequest) -> asyncio.Transport:
    """Return the connection of a request; ConnectionResetError when the client is gone."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("The client is gone.")
    assert isinstance(transport, asyncio.Transport)
    return transport


def cut(request: web.BaseRequest) -> NoReturn:
    """Reset the connection (the client sees ECONNRESET)."""
    transport = connection_of(request)
    plain = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    raise ConnectionResetError("Cut, as a fault rule says.")


def end(request: web.BaseRequest) -> NoReturn:
    """Close the connection in the middle of an answer (the client sees an orderly end)."""
    connection_of(request).close()
    raise ConnectionResetError("Ended, as a fault rule says.")


async def hang(request: web.BaseRequest) -> NoReturn:
    """Send nothing until the client leaves."""
    while (transport := request.transport) is not None and not transport.is_closing():
        await asyncio.sleep(WATCH)
    raise ConnectionResetError("The client is gone.")


def whole(path: Path, file_id: str | None = None) -> FileSlice:
    """Return all of a file as a slice; OSError when it is gone."""
    return FileSlice(path, 0, path.stat().st_size, file_id)
