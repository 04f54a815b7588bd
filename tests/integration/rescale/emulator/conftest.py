# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.rescale.emulator.blobs import Blobs
from scale_airflow.rescale.emulator.clock import Clock
from scale_airflow.rescale.emulator.life import Conditions, JobLife
from scale_airflow.rescale.emulator.processes import reap
from scale_airflow.rescale.emulator.records import (
    CLUSTER,
    INPUT_FILE,
    JOB,
    DeviceRecord,
    FileRecord,
    JobRecord,
)
from scale_airflow.rescale.emulator.runner import Patience
from scale_airflow.rescale.emulator.state import State

OWNER = "user@example.com"
DEADLINE = 60.0


class Crash(BaseException):
    """The emulator is gone, in the middle of what it does."""


class Bench:
    """The working side of an emulator without its HTTP side."""

    Crash = Crash

    def __init__(self, root: Path, *, conditions: Conditions, authorized_keys: Path | None):
        self.root = root
        self.state = State(root)
        self.blobs = Blobs(root)
        self.clock = Clock(0.01)
        self.crashed = False
        self.life = JobLife(
            self.state, self.blobs, self.clock, conditions=conditions, authorized_keys=authorized_keys
        )

    def upload(self, name: str, content: bytes) -> str:
        with self.blobs.writer() as writer:
            writer.write(content)
            blob = writer.finish()
        record = FileRecord(
            id=self.state.new_id(),
            name=name,
            relative_path=name,
            type_id=INPUT_FILE,
            size=blob.size,
            uploaded=datetime.now(timezone.utc),
            owner=OWNER,
            blob=blob.name,
            number=self.state.next_number(),
            sha512=blob.sha512,
            md5=blob.md5,
        )
        self.state.put(record)
        return record.id

    def create(
        self,
        *commands: str,
        inputs: list[dict[str, Any]] | None = None,
        scenario: str = "",
        devices: list[str] | None = None,
        hardware: dict[str, Any] | None = None,
        analysis: dict[str, Any] | None = None,
        **document: Any,
    ) -> str:
        job_id = self.state.new_id()
        analyses = [
            {
                "command": command,
                "hardware": {"coreType": "granite", "coresPerSlot": 2, "slots": 1, **(hardware or {})},
                "inputFiles": inputs or [],
                **(analysis or {}),
            }
            for command in commands
        ]
        self.state.put(
            JobRecord(
                job_id,
                OWNER,
                {"name": "test", "jobanalyses": analyses, **document},
                datetime.now(timezone.utc),
                self.state.next_number(),
                scenario=scenario,
                storage_device_ids=devices or [],
            )
        )
        return job_id

    def device(self, **hardware: Any) -> str:
        device_id = self.state.new_id()
        self.state.put(
            DeviceRecord(
                device_id,
                OWNER,
                {"name": "disk", "hardware": hardware},
                datetime.now(timezone.utc),
                self.state.next_number(),
            )
        )
        return device_id

    def phase(self, job_id: str) -> str | None:
        life = self.state.lives.get(job_id)
        return life.data["phase"] if life else None

    def statuses(self, job_id: str, of: str = JOB) -> list[str]:
        return [one.status for one in self.state.history(of, job_id)]

    def reason(self, job_id: str) -> str | None:
        return self.state.history(JOB, job_id)[-1].reason

    async def until(self, true: Callable[[], object]) -> None:
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while not true():
            assert asyncio.get_running_loop().time() < deadline, "it took too long"
            await asyncio.sleep(0.01)

    async def executing(self, job_id: str) -> None:
        await self.until(lambda: self.life.is_running(job_id, "1"))

    async def over(self, job_id: str) -> None:
        await self.until(lambda: not self.state.jobs[job_id].cluster_up)

    async def ran(self, *commands: str, **details: Any) -> str:
        job_id = self.create(*commands, **details)
        assert self.life.submit(job_id)
        await self.over(job_id)
        return job_id

    def outputs(self, job_id: str, run_id: str | None = None) -> dict[str, bytes]:
        return {
            one.relative_path: self.blobs.path(one.blob).read_bytes()
            for one in self.state.output_files(job_id, run_id)
        }

    def log(self, job_id: str) -> list[str]:
        """The lines of the log, without their times."""
        text = self.outputs(job_id)["process_output.log"].decode()
        return [line.partition("]: ")[2] for line in io.StringIO(text)]

    def crash_after_next_event(self) -> None:
        """Let nothing happen after the next event is in the journal."""
        record = self.state.record

        def recorded(event: dict[str, Any]) -> None:
            if not self.crashed:
                self.crashed = True
                record(event)
            raise Crash

        self.state.record = recorded  # type: ignore[method-assign]

    async def vanish(self) -> None:
        """Leave everything as it is: files, processes, the journal without its snapshot."""
        tasks = [*self.life._tasks.values(), *self.life._devices._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.state._journal.close()

    async def close(self) -> None:
        if not self.crashed:
            await self.life.close()
            self.state.close()


MakeBench = Callable[..., Any]


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    made: list[Bench] = []

    async def make(
        *,
        walltime_hour: float = 3600.0,
        authorized_keys: Path | None = None,
        stop_grace: float = 0.3,
    ) -> Bench:
        conditions = Conditions(
            patience=Patience(stop_grace=stop_grace, force_grace=0.1, abandon_after=30.0),
            walltime_hour=walltime_hour,
        )
        bench = Bench(tmp_path / "root", conditions=conditions, authorized_keys=authorized_keys)
        made.append(bench)
        await bench.life.start()
        return bench

    yield make
    for bench in made:
        await bench.close()
    assert reap(tmp_path / "root") == 0


@pytest.fixture
async def bench(make_bench: MakeBench) -> Bench:
    found: Bench = await make_bench()
    return found


__all__ = ["CLUSTER", "JOB"]
