# SPDX-License-Identifier: Apache-2.0
"""The side of the emulator that runs things: jobs, clusters, storage devices, SSH (see :mod:`.work`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from scale_airflow.rescale.emulator import live, plans
from scale_airflow.rescale.emulator.blobs import Blob, Blobs
from scale_airflow.rescale.emulator.clock import Clock
from scale_airflow.rescale.emulator.course import OVER, Course, Surroundings
from scale_airflow.rescale.emulator.delays import Delays
from scale_airflow.rescale.emulator.devices import Devices
from scale_airflow.rescale.emulator.records import SNAPSHOT_FILE, FileRecord, RunRecord
from scale_airflow.rescale.emulator.runner import Patience, Runner
from scale_airflow.rescale.emulator.runs import JobRuns
from scale_airflow.rescale.emulator.staging import Place
from scale_airflow.rescale.emulator.state import State
from scale_airflow.rescale.emulator.work import USER_PREFIX, ClusterInstance, SnapshotResult

if TYPE_CHECKING:
    from scale_airflow.rescale.emulator.ssh import SshServer

log = logging.getLogger(__name__)

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Conditions:
    """How long things take here.

    :param delays: of statuses, multiplied by the clock's pace.
    :param patience: with runs, in real seconds.
    :param walltime_hour: real seconds of an hour of walltime, of jobs and storage devices.
    """

    delays: Delays = field(default_factory=Delays)
    patience: Patience = field(default_factory=Patience)
    walltime_hour: float = 3600.0


class _NoSsh:
    """In place of :class:`.ssh.SshServer` where nobody may log in."""

    port = 0

    async def start(self) -> None:
        """Listen nowhere."""

    async def close(self) -> None:
        """Nothing to end."""

    def disconnect(self, job_id: str) -> None:
        """Nobody is there."""


class JobLife:
    """Runs an emulator's jobs and storage devices; implements :class:`.work.Work`.

    :param authorized_keys: public keys for SSH, read anew at each login; None: no SSH.
    """

    def __init__(
        self,
        state: State,
        blobs: Blobs,
        clock: Clock,
        *,
        conditions: Conditions | None = None,
        base_url: str = "",
        authorized_keys: Path | None = None,
    ) -> None:
        conditions = conditions or Conditions()
        self._state = state
        self._blobs = blobs
        self._clock = clock
        self._runner = Runner(state.root, blobs, conditions.patience)
        self._runs = JobRuns(state, blobs, clock, self._runner, hour=conditions.walltime_hour)
        self._devices = Devices(state, clock, conditions.delays, hour=conditions.walltime_hour)
        self._ssh = self._ssh_server(authorized_keys) if authorized_keys is not None else _NoSsh()
        self._around = Surroundings(state, clock, conditions.delays, self._runs, self._ssh.disconnect)
        self._courses: dict[str, Course] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.base_url = base_url

    @property
    def base_url(self) -> str:
        """Where jobs reach this emulator (``RESCALE_API_BASE_URL`` in their environment)."""
        return self._runs.base_url

    @base_url.setter
    def base_url(self, base_url: str) -> None:
        self._runs.base_url = base_url

    async def start(self) -> None:
        """Go on with what a former emulator of this directory left: adopt what runs, end what is lost."""
        courses = [Course(job_id, self._around) for job_id in self._state.lives]
        alive = [one for one in courses if one.phase != OVER]
        adopted = [
            place
            for one in alive
            if one.phase == "executing"
            for place in self._runs.places(one.job_id, one.data["attempt"])
        ]
        await asyncio.to_thread(self._runner.open, adopted, {one.job_id for one in alive})
        await self._ssh.start()
        for course in alive:
            self._follow(course)
        self._devices.start()

    async def close(self) -> None:
        """Stop all that runs; nothing stays behind."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._devices.close()
        await self._ssh.close()
        await asyncio.to_thread(self._runner.close)

    # ---- jobs ----

    def submit(self, job_id: str) -> bool:
        """See :meth:`.work.Work.submit`."""
        if self._state.jobs[job_id].submitted is not None:
            return False
        course = Course(job_id, self._around)
        course.begin()
        self._follow(course)
        return True

    def stop(self, job_id: str) -> bool:
        """See :meth:`.work.Work.stop`."""
        return job_id in self._courses and self._courses[job_id].stop(force=False)

    def force_stop(self, job_id: str) -> bool:
        """See :meth:`.work.Work.force_stop`."""
        return job_id in self._courses and self._courses[job_id].stop(force=True)

    def stop_run(self, job_id: str, run_id: str) -> bool:
        """See :meth:`.work.Work.stop_run`."""
        place = self._running(job_id, run_id)
        if place is None:
            return False
        self._runner.stop(place)
        return True

    def forget(self, job_id: str) -> None:
        """See :meth:`.work.Work.forget`."""
        self._runner.remove(self._runner.root / job_id)

    # ---- looking into runs ----

    def is_running(self, job_id: str, run_id: str) -> bool:
        """See :meth:`.work.Work.is_running`."""
        return self._running(job_id, run_id) is not None

    async def directory(self, job_id: str, run_id: str) -> list[str] | None:
        """See :meth:`.work.Work.directory`."""
        place = self._running(job_id, run_id)
        return None if place is None else await asyncio.to_thread(live.directory, place)

    def live_file(self, job_id: str, run_id: str, path: str) -> Path | None:
        """See :meth:`.work.Work.live_file`."""
        place = self._running(job_id, run_id)
        return None if place is None else live.live_file(place, path)

    async def tail(self, job_id: str, run_id: str, path: str, lines: int) -> tuple[str, list[str]] | None:
        """See :meth:`.work.Work.tail`."""
        file = self.live_file(job_id, run_id, path)
        if file is None:
            return None
        try:
            return await asyncio.to_thread(live.last_lines, file, lines)
        except OSError:
            return None

    async def snapshot(self, job_id: str, run_id: str) -> SnapshotResult:
        """See :meth:`.work.Work.snapshot`."""
        place, run = self._running(job_id, run_id), self._state.run(job_id, run_id)
        if place is None or run is None:
            return SnapshotResult(1, None, run.last_snapshot_id if run else 0, "The run is not running.")
        number = run.last_snapshot_id + 1
        run = self._state.change_run(job_id, run_id, last_snapshot_id=number)
        name = f"snapshot_{number}.zip"
        packed = place.path / name
        try:
            await asyncio.to_thread(live.pack, place, packed)
            blob = await asyncio.to_thread(self._blobs.adopt, packed)
        except (OSError, RuntimeError) as error:  # RuntimeError: a file grew past what it was begun as
            return SnapshotResult(1, None, number, f"The snapshot can't be taken: {error}.")
        finally:
            with contextlib.suppress(OSError):
                packed.unlink()
        if job_id not in self._state.jobs:
            return SnapshotResult(1, None, number, "The job was deleted.")
        record = self._snapshot_file(run, name, blob)
        self._state.put(record)
        return SnapshotResult(0, record.id, number, "")

    def instances(self, job_id: str) -> list[ClusterInstance]:
        """See :meth:`.work.Work.instances`."""
        course, job = self._courses.get(job_id), self._state.jobs.get(job_id)
        if course is None or job is None or course.phase != "executing":
            return []
        count, cores = plans.machines(job)
        return [
            ClusterInstance(
                id=f"{job.cluster_id}-{number}",
                public_ip=_HOST,
                private_ip=_HOST,
                ssh_port=self._ssh.port,
                username=f"{USER_PREFIX}{job_id}",
                role="MPI_SLAVE" if number else "MPI_MASTER",
                cluster_id=job.cluster_id,
                cores=cores,
            )
            for number in range(count)
        ]

    # ---- storage devices ----

    def submit_device(self, device_id: str) -> bool:
        """See :meth:`.work.Work.submit_device`."""
        return self._devices.submit(device_id)

    def shutdown_device(self, device_id: str) -> bool:
        """See :meth:`.work.Work.shutdown_device`."""
        return self._devices.shutdown(device_id)

    # ---- inside ----

    def _follow(self, course: Course) -> None:
        job_id = course.job_id
        self._courses[job_id] = course
        self._tasks[job_id] = asyncio.create_task(self._to_the_end(course), name=f"job {job_id}")

    async def _to_the_end(self, course: Course) -> None:
        try:
            await course.follow()
        except Exception:
            log.exception("The course of job %s broke.", course.job_id)
            course.give_up()
            await course.follow()
        finally:
            self._tasks.pop(course.job_id, None)
            self._courses.pop(course.job_id, None)

    def _running(self, job_id: str, run_id: str) -> Place | None:
        """Return where a run lives whose directory is made and whose commands run."""
        course, run = self._courses.get(job_id), self._state.run(job_id, run_id)
        if course is None or run is None or course.phase != "executing":
            return None
        if run.started is None or run.completed is not None:
            return None
        place = self._runner.place(job_id, run_id, course.data["attempt"])
        return place if place.order.exists() else None

    def _ssh_server(self, authorized_keys: Path) -> SshServer:
        # Takes as long to import as all the rest of the emulator: only for those who want it.
        from scale_airflow.rescale.emulator.ssh import SshServer

        return SshServer(
            self._state.root / "ssh_host_key", authorized_keys, self._ssh_place, self._runner.visit
        )

    def _ssh_place(self, job_id: str) -> Place | None:
        for run in self._state.runs(job_id):
            if (place := self._running(job_id, run.id)) is not None:
                return place
        return None

    def _snapshot_file(self, run: RunRecord, name: str, blob: Blob) -> FileRecord:
        return FileRecord(
            id=self._state.new_id(),
            name=name,
            relative_path=name,
            type_id=SNAPSHOT_FILE,
            size=blob.size,
            uploaded=datetime.now(timezone.utc),
            owner=self._state.jobs[run.job_id].owner,
            blob=blob.name,
            number=self._state.next_number(),
            sha512=blob.sha512,
            md5=blob.md5,
            job_id=run.job_id,
            run_id=run.id,
        )
