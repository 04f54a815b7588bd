# SPDX-License-Identifier: Apache-2.0
"""The admin plane: what tests and operators of the emulator ask, on a port of its own.

Every request carries the API key like those of the service. Paths: ``/counters``, ``/requests``, ``/faults``,
``/settings``, ``/advance``, ``/jobs``, ``/jobs/{id}``, ``/scenarios``, ``/files``, ``/kinds``.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from scale_airflow.rescale.emulator.auth import email_of
from scale_airflow.rescale.emulator.blobs import Blob, Blobs
from scale_airflow.rescale.emulator.exchange import Emulator
from scale_airflow.rescale.emulator.faults import KINDS
from scale_airflow.rescale.emulator.records import CLUSTER, INPUT_FILE, JOB, FileRecord, JobRecord
from scale_airflow.rescale.emulator.refusals import RefusedError, not_found, refused
from scale_airflow.rescale.emulator.routes_jobs import rules_for, save_job
from scale_airflow.rescale.emulator.work import SCENARIOS, Scenario

PIECE = 2**20


class Admin:
    """Answers the requests of the admin plane with JSON; a refused one with ``{"detail"}``."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._paths: dict[tuple[str, str], Callable[[Any], Awaitable[Any]]] = {
            ("GET", "/counters"): self._counters,
            ("DELETE", "/counters"): self._reset_counters,
            ("GET", "/requests"): self._requests,
            ("GET", "/faults"): self._faults,
            ("POST", "/faults"): self._add_fault,
            ("DELETE", "/faults"): self._clear_faults,
            ("GET", "/settings"): self._settings,
            ("PATCH", "/settings"): self._change_settings,
            ("POST", "/advance"): self._advance,
            ("GET", "/jobs"): self._jobs,
            ("POST", "/jobs"): self._add_job,
            ("POST", "/scenarios"): self._next_scenarios,
            ("POST", "/files"): self._make_file,
            ("GET", "/kinds"): self._kinds,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            self._emulator.keys.caller(request.headers.get("Authorization"))
            return web.json_response(await self._answer(request))
        except RefusedError as error:
            return web.json_response(error.body, status=error.status)
        except ValueError as error:
            return web.json_response({"detail": str(error)}, status=400)

    async def _answer(self, request: web.BaseRequest) -> Any:
        body = json.loads(await request.read() or b"null")
        path = request.path.rstrip("/")
        if path.startswith("/jobs/"):
            return self._job(request.method, path.removeprefix("/jobs/"), body)
        handler = self._paths.get((request.method, path))
        if handler is None:
            known = ", ".join(f"{method} {place}" for method, place in self._paths)
            raise not_found(
                f"There is no {request.method} {path}; there are {known}, GET and PATCH /jobs/ID."
            )
        return await handler(body)

    async def _counters(self, body: Any) -> Any:
        jobs = self._emulator.state.jobs.values()
        return {
            **self._emulator.counters.to_document(),
            "paid_runs": {one.id: one.paid_runs for one in jobs},
            "submissions": {one.id: one.submissions for one in jobs},
        }

    async def _reset_counters(self, body: Any) -> Any:
        self._emulator.counters.reset()
        return {}

    async def _requests(self, body: Any) -> Any:
        return list(self._emulator.counters.requests)

    async def _kinds(self, body: Any) -> Any:
        return {"faults": KINDS, "scenarios": SCENARIOS}

    async def _faults(self, body: Any) -> Any:
        return [one.to_document() for one in self._emulator.faults.rules]

    async def _add_fault(self, body: Any) -> Any:
        return self._emulator.faults.add(body).to_document()

    async def _clear_faults(self, body: Any) -> Any:
        self._emulator.faults.clear()
        return {}

    async def _settings(self, body: Any) -> Any:
        return self._emulator.settings.to_document()

    async def _change_settings(self, body: Any) -> Any:
        self._emulator.settings.change(body)
        self._emulator.throttle.forget()
        self._emulator.clock.pace = self._emulator.settings.pace
        return self._emulator.settings.to_document()

    async def _advance(self, body: Any) -> Any:
        seconds = _field(body, "seconds", (int, float))
        if not 0 <= seconds < 1e9:
            raise ValueError("seconds is between 0 and 1e9.")
        self._emulator.clock.advance(seconds)
        return {}

    async def _add_job(self, body: Any) -> Any:
        document, job_id = _field(body, "job", (dict,)), body.get("id") or ""
        if not isinstance(job_id, str) or (job_id and not (job_id.isascii() and job_id.isalnum())):
            raise ValueError("id is letters and digits.")
        if job_id in self._emulator.state.jobs:
            raise ValueError(f"There is a job {job_id} already.")
        owner = email_of(1)
        checked = await asyncio.to_thread(rules_for(self._emulator, owner).check, document)
        return self._job_document(save_job(self._emulator, owner, checked, job_id))

    async def _next_scenarios(self, body: Any) -> Any:
        scenario, times = _field(body, "scenario", (str,)), body.get("times", 1)
        Scenario.parse(scenario)
        if not isinstance(times, int) or not 0 <= times <= 10_000:
            raise ValueError("times is between 0 and 10000.")
        self._emulator.scenarios.clear()
        self._emulator.scenarios.extend([scenario] * times)
        return {}

    async def _jobs(self, body: Any) -> Any:
        return [self._job_document(one) for one in self._emulator.state.jobs.values()]

    def _job(self, method: str, job_id: str, body: Any) -> Any:
        record = self._emulator.state.jobs.get(job_id)
        if record is None:
            raise not_found(f"There is no job {job_id}.")
        if method == "PATCH":
            scenario = _field(body, "scenario", (str,))
            Scenario.parse(scenario)
            record = self._emulator.state.change_job(job_id, scenario=scenario)
        elif method != "GET":
            raise refused(f"{method} is not for a job.", 405)
        return self._job_document(record)

    def _job_document(self, record: JobRecord) -> dict[str, Any]:
        state = self._emulator.state
        life = state.lives.get(record.id)
        return {
            **record.to_document(),
            "statuses": [one.to_document() for one in state.history(JOB, record.id)],
            "cluster_statuses": [one.to_document() for one in state.history(CLUSTER, record.id)],
            "life": life.data if life is not None else None,
        }

    async def _make_file(self, body: Any) -> Any:
        name, size = _field(body, "name", (str,)), _field(body, "size", (int,))
        kind, old = body.get("kind", "random"), body.get("old", False)
        if kind not in ("random", "text"):
            raise ValueError("kind is random or text.")
        if not 0 <= size <= 2**40 or not name or "/" in name:
            raise ValueError("size is between 0 and 2^40, name is the name of a file.")
        blob = await asyncio.to_thread(_fill, self._emulator.blobs, size, kind, body.get("seed", 1))
        state = self._emulator.state
        record = FileRecord(
            id=state.new_id(),
            name=name,
            relative_path=body.get("relative_path", name),
            type_id=body.get("type_id", INPUT_FILE),
            size=blob.size,
            uploaded=self._emulator.clock.now(),
            owner=email_of(1),
            blob=blob.name,
            number=state.next_number(),
            sha512=None if old else blob.sha512,
            md5=blob.md5,
            job_id=body.get("job_id"),
            run_id=body.get("run_id"),
        )
        state.put(record)
        return {**record.to_document(), "sha512": blob.sha512}


def _fill(blobs: Blobs, size: int, kind: str, seed: int) -> Blob:
    source = random.Random(seed)  # noqa: S311 - content, no secret
    with blobs.writer() as writer:
        line = 0
        while writer.size < size:
            if kind == "random":
                piece = source.randbytes(min(PIECE, size - writer.size))
            else:
                lines = (f"{n} {source.random():.6f} cell value\n" for n in range(line, line + 20_000))
                piece, line = "".join(lines).encode(), line + 20_000
            writer.write(piece[: size - writer.size])
        return writer.finish(durable=False)


def _field(body: Any, name: str, types: tuple[type, ...]) -> Any:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, types) or isinstance(value, bool):
        raise ValueError(f"The body is an object with {name}: {' or '.join(one.__name__ for one in types)}.")
    return value
