# SPDX-License-Identifier: Apache-2.0
"""The runs of jobs: one for each case of a parameter study, one for any other job; and their output files."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from scale_airflow.rescale.emulator.blobs import Blobs
from scale_airflow.rescale.emulator.clock import Clock
from scale_airflow.rescale.emulator.doe import StudyError, cases, described
from scale_airflow.rescale.emulator.plans import analyses, cargo, param_file, simultaneous_runs
from scale_airflow.rescale.emulator.records import OUTPUT_FILE, FileRecord, JobRecord, Record, RunRecord
from scale_airflow.rescale.emulator.runner import Runner, RunResult, give_up
from scale_airflow.rescale.emulator.staging import Output, Place, StagingError, harvest
from scale_airflow.rescale.emulator.state import State

# A job's runs are real processes of this machine, whatever its hardware's slots say.
_MOST_AT_ONCE = 8


class JobRuns:
    """Plans and executes the runs of jobs.

    :param hour: seconds of an hour of walltime.
    """

    def __init__(
        self, state: State, blobs: Blobs, clock: Clock, runner: Runner, *, hour: float = 3600.0
    ) -> None:
        self.runner = runner
        self.base_url = ""
        self._state = state
        self._blobs = blobs
        self._clock = clock
        self._hour = hour
        self._storage = state.root.resolve() / "storage"

    async def planned(self, job: JobRecord) -> list[RunRecord]:
        """Return the runs that a job is to have; one for a study that can't be read, which will say so."""
        try:
            found = await asyncio.to_thread(self._cases, job)
        except StudyError:
            found = [{}]
        return [
            RunRecord(job.id, str(number), variables=described(case)) for number, case in enumerate(found, 1)
        ]

    async def execute(
        self, job_id: str, attempt: int, is_stopped: Callable[[], bool], *, keep: bool = True
    ) -> list[RunResult]:
        """Execute all runs of a job that are not completed; return how each that began has ended.

        :param keep: whether to take the outputs and complete the runs.
        """
        room = asyncio.Semaphore(min(simultaneous_runs(self._state.jobs[job_id]), _MOST_AT_ONCE))

        async def one(run: RunRecord) -> RunResult | None:
            async with room:
                if is_stopped() and not self.runner.place(job_id, run.id, attempt).path.exists():
                    return None
                return await self._execute(job_id, run.id, attempt, keep=keep)

        ends = await asyncio.gather(*(one(run) for run in self._state.runs(job_id)))
        return [end for end in ends if end is not None]

    def stop(self, job_id: str, attempt: int, *, force: bool) -> None:
        """Ask all runs of a job to end."""
        for run in self._state.runs(job_id):
            if run.started is not None and run.completed is None:
                self.runner.stop(self.runner.place(job_id, run.id, attempt), force=force)

    async def kill(self, job_id: str, attempt: int) -> None:
        """End the runs of a job as if their machines were gone."""
        for run in self._state.runs(job_id):
            await self.runner.kill(self.runner.place(job_id, run.id, attempt))

    async def clear(self, job_id: str) -> None:
        """Delete the work directories of a job; what is on storage devices stays there."""
        job = self._state.jobs.get(job_id)
        devices = job.storage_device_ids if job else []
        await asyncio.to_thread(self._clear, job_id, list(devices))

    def left(self, job_id: str) -> list[RunRecord]:
        """Return the runs that will not be completed any more, as completed now."""
        now = self._clock.now()
        return [
            replace(run, completed=now, exit_code=run.exit_code or 128 + signal.SIGKILL)
            for run in self._state.runs(job_id)
            if run.started is not None and run.completed is None
        ]

    def places(self, job_id: str, attempt: int) -> list[Place]:
        """Return where the runs of a job that are not completed live."""
        return [
            self.runner.place(job_id, run.id, attempt)
            for run in self._state.runs(job_id)
            if run.completed is None
        ]

    async def _execute(self, job_id: str, run_id: str, attempt: int, *, keep: bool) -> RunResult:
        place = self.runner.place(job_id, run_id, attempt)
        run = self._state.run(job_id, run_id)
        if run is None or run.completed is not None:
            return RunResult((run.exit_code if run else 0) or 0, "command", 0.0, 0.0)
        job = self._state.jobs[job_id]
        if run.started is None:
            run = self._state.change_run(job_id, run_id, started=self._clock.now())
        try:
            if not run.variables:
                await asyncio.to_thread(self._cases, job)  # a study that can't be read says so here
            load = cargo(self._state, job, run, self._storage)
            for device, directory in load.devices.items():
                await asyncio.to_thread(self._mount, device, directory, place, job_id, run_id)
            key = next(
                (one for one in self._state.keys.values() if one.job_id == job_id and one.active), None
            )
            steps = analyses(job, run, key.key_text if key else "", self.base_url, self._hour)
            result = await self.runner.run(place, load, steps)
        except (StudyError, StagingError) as error:
            result = await asyncio.to_thread(give_up, place, str(error), "staging", 1)
        if keep:
            await self._finish(run, place, result)
        return result

    async def _finish(self, run: RunRecord, place: Place, result: RunResult) -> None:
        """Take a run's outputs and complete it, in one event."""
        exit_code, outputs = result.exit_code, list[Output]()
        try:
            outputs = await asyncio.to_thread(harvest, place, self._blobs)
        except OSError:
            exit_code = exit_code or 1  # the disk is full: a run without its outputs has failed
        job = self._state.jobs.get(run.job_id)
        if job is None:
            return
        records: list[Record] = [self._output(job, run, one) for one in outputs]
        records.append(
            replace(
                self._state.run(run.job_id, run.id) or run, completed=self._clock.now(), exit_code=exit_code
            )
        )
        self._state.put(*records)

    def _output(self, job: JobRecord, run: RunRecord, output: Output) -> FileRecord:
        return FileRecord(
            id=self._state.new_id(),
            name=output.relative_path.rpartition("/")[2],
            relative_path=output.relative_path,
            type_id=OUTPUT_FILE,
            size=output.blob.size,
            uploaded=datetime.now(timezone.utc),
            owner=job.owner,
            blob=output.blob.name,
            number=self._state.next_number(),
            sha512=output.blob.sha512,
            md5=output.blob.md5,
            job_id=job.id,
            run_id=run.id,
        )

    def _cases(self, job: JobRecord) -> list[dict[str, str]]:
        blob = param_file(self._state, job)
        text = None
        if blob is not None:
            try:
                text = self._blobs.path(blob).read_text("utf-8")
            except UnicodeDecodeError:
                raise StudyError("The parameter file is not text in UTF-8.") from None
        return cases({**job.document, "id": job.id}, text)

    @staticmethod
    def _mount(device_id: str, directory: Path, place: Place, job_id: str, run_id: str) -> None:
        """Show a run's work directory on a storage device, as ``jobs/<job>/run/<run>``."""
        shown = directory / "jobs" / job_id / "run" / run_id
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.unlink(missing_ok=True)
        shown.symlink_to(place.work)

    def _clear(self, job_id: str, devices: list[str]) -> None:
        for device in devices:
            for shown in sorted((self._storage / device / "jobs" / job_id / "run").glob("*")):
                if shown.is_symlink() and shown.is_dir():
                    work = shown.resolve()
                    shown.unlink()
                    shutil.copytree(work, shown, symlinks=True)
        self.runner.remove(self.runner.root / job_id)
