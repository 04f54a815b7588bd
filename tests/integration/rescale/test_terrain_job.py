# SPDX-License-Identifier: Apache-2.0
"""Jobs of the terrain example run at Rescale's emulator, and what they make is what a container makes.

The same job types, once without and once with ``remote`` in their configuration, on the same scene: products
and their checksums, manifests, parse results and ancestry must be the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from docker_engine import docker_engine
from rescale_bench import HARDWARE, PACING, PATIENCE, rescale_settings
from sqlalchemy import select
from sqlalchemy.orm import Session
from unit.execution.fake_runtime import RecordingLog
from world import World

from demo import engine as demo_engine
from demo import pipeline
from scale_airflow.execution.backends.base import Backend
from scale_airflow.execution.backends.docker import DockerBackend, connect
from scale_airflow.execution.backends.process import ProcessBackend
from scale_airflow.execution.backends.rescale import RescaleBackend
from scale_airflow.execution.order import (
    BeatAnswer,
    BeatReport,
    CompletionReport,
    ExecutionOrder,
    FailureReport,
    LogChunk,
    ReportAnswer,
)
from scale_airflow.execution.runner import run_execution
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.services import executions, logs
from scale_airflow.services.errors import create_error
from scale_airflow.services.events import user_event
from scale_airflow.services.job_types import edit_job_type
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import FileAncestry, Job, JobExecution, JobType, ScaleFile
from scale_airflow.store.session import transaction

REMOTE = {"remote": {"type": "rescale", "hardware": HARDWARE}}
CHAIN = ("unpack-scene", "make-geotiff")


class Server:
    """The API server as one execution sees it, without HTTP."""

    def __init__(self, execution_id: int, max_log_bytes: int):
        self._id, self._most = execution_id, max_log_bytes

    def log(self, chunk: LogChunk) -> None:
        with transaction() as session:
            logs.append_log(session, self._id, chunk, self._most)

    def beat(self, report: BeatReport) -> BeatAnswer:
        with transaction() as session:
            return executions.beat(session, self._id, report)

    def complete(self, report: CompletionReport) -> ReportAnswer:
        with transaction() as session:
            return executions.complete(session, self._id, report)

    def fail(self, report: FailureReport) -> ReportAnswer:
        with transaction() as session:
            return executions.fail(session, self._id, report)


class Terrain:
    """The example's first two jobs, one after the other, on the scene."""

    def __init__(self, world: World, root: Path, emulator: EmulatorProcess):
        self.world, self.emulator = world, emulator
        document = json.loads(pipeline.CONFIGURATION.read_text())
        for error in document["errors"]:
            create_error(world.session, error)
        self.types = {
            each["name"]: world.job_type(**{**each, "document": each.pop("interface")})
            for each in document["job_types"]
            if each["name"] in CHAIN
        }
        self.source = world.source(pipeline.SCENE)
        self.place(pipeline.scene_bytes(), root)

    def place(self, content: bytes, root: Path) -> None:
        """Have the scene in the workspace."""
        path = root / "raw" / self.source.file_path
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        self.source.file_size = len(content)
        self.source.checksum = hashlib.sha256(content).hexdigest()
        self.world.session.commit()

    def configure(self, configuration: dict[str, Any] | None) -> None:
        """Change where the jobs run."""
        for job_type in self.types.values():
            edit_job_type(self.world.session, job_type.id, {"configuration": configuration or {}})
        self.world.session.commit()

    def run(self, name: str, **inputs: int) -> Job:
        """Run one job to its end."""
        world, job_type = self.world, self.world.session.get_one(JobType, self.types[name].id)
        outputs = [each["name"] for each in job_type.interface["output_data"]]
        data = {
            "input_data": [{"name": each, "file_id": number} for each, number in inputs.items()],
            "output_data": [{"name": each, "workspace_id": world.workspace().id} for each in outputs],
        }
        event = user_event(world.session, "me")
        job = queue_job(world.session, job_type=job_type, data=data, event=event)
        world.session.commit()
        assert world.dispatch() == 1
        order = world.claim(job).order
        assert order is not None
        log = RecordingLog()
        server = Server(order.execution_id, order.max_log_bytes)
        run_execution(order, server, self.backend(order), world.settings, log)
        world.set_task_state(job, "success")
        return world.reload(job)

    def backend(self, order: ExecutionOrder) -> Backend:
        settings = self.world.settings
        if order.backend == "rescale":
            return RescaleBackend(
                settings, lambda name: rescale_settings(self.emulator), pacing=PACING, patience=PATIENCE
            )
        if order.backend == "docker":
            return DockerBackend(settings, lambda: connect(settings.docker_url), agent_id="agent-1")
        return ProcessBackend(settings)

    def chain(self) -> list[dict[str, Any]]:
        """Run both jobs; return what there is to be said of what they made."""
        unpacked = self.run("unpack-scene", scene=self.source.id)
        assert unpacked.status == "COMPLETED", self.execution(unpacked).message
        made = {file.output_name: file.id for file in self.products(unpacked)}
        joined = self.run("make-geotiff", image=made["image"], georeference=made["georeference"])
        assert joined.status == "COMPLETED", self.execution(joined).message
        return [self.facts(job) for job in (unpacked, joined)]

    def products(self, job: Job) -> list[ScaleFile]:
        query = select(ScaleFile).where(ScaleFile.job_id == job.id).order_by(ScaleFile.output_name)
        return list(self.world.session.scalars(query))

    def execution(self, job: Job) -> JobExecution:
        return self.world.execution(job)

    def facts(self, job: Job) -> dict[str, Any]:
        """Return all that must not depend on where a job ran."""
        execution = self.execution(job)
        source = self.world.session.get_one(ScaleFile, self.source.id)
        manifest = json.dumps(execution.results_manifest)
        return {
            "products": [self.product(file) for file in self.products(job)],
            "manifest": re.sub(r"job_exe_\d+", "job_exe", manifest),
            "arguments": re.sub(r"job_exe_\d+", "job_exe", execution.command_arguments),
            "exit_code": execution.job_exit_code,
            "source": (source.is_parsed, source.data_type, source.geometry, source.data_started),
        }

    def product(self, file: ScaleFile) -> dict[str, Any]:
        names = (
            *("file_name", "checksum", "file_size", "media_type", "uuid", "output_name", "geometry"),
            *("center_point", "data_started", "data_ended", "meta_data", "data_type", "is_published"),
        )
        rows = self.world.session.execute(
            select(ScaleFile.uuid, FileAncestry.ancestor_job_id.is_(None))
            .join(FileAncestry, FileAncestry.ancestor_id == ScaleFile.id)
            .where(FileAncestry.descendant_id == file.id)
        )
        stems_from = sorted((uuid, is_direct) for uuid, is_direct in rows)
        assert stems_from
        return {**{name: getattr(file, name) for name in names}, "ancestry": stems_from}

    def output(self, job: Job) -> str:
        stdout, _ = logs.read_logs(self.world.session, self.execution(job).id)
        return str(stdout)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    # The example's programs are where this Python is, as at Rescale in an image or folder of one's own.
    path = os.environ.get("PATH", os.defpath)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{path}")
        made = EmulatorProcess(tmp_path_factory.mktemp("emulator") / "rescale", pace=0.002)
        made.start()
    yield made
    made.stop()


@pytest.fixture
def options(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What makes jobs run on this host by the backend that the test names."""
    with ExitStack() as stack:
        if request.param == "docker":
            engine = stack.enter_context(docker_engine())
            yield demo_engine.scale_options(engine.url, from_host_only=True)
        else:
            yield {"backend": "process", "allow_process_jobs": "True"}


@pytest.fixture
def terrain(
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    emulator: EmulatorProcess,
    options: dict[str, str],
) -> Terrain:
    given = {
        **options,
        "allowed_roots": str(tmp_path),
        "work_dir": str(tmp_path / "work"),
        "agent_beat_interval": "600",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"AIRFLOW__SCALE__{name.upper()}", value)
    path = os.environ.get("PATH", os.defpath)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{path}")
    world = World(session)
    world.install(tmp_path)
    return Terrain(world, tmp_path, emulator)


@pytest.mark.parametrize(
    "options", ["process", pytest.param("docker", marks=pytest.mark.docker)], indirect=True
)
def test_what_is_made_there_is_what_is_made_here(terrain: Terrain) -> None:
    here = terrain.chain()
    terrain.configure(REMOTE)
    there = terrain.chain()
    assert there == here
    assert [len(facts["products"]) for facts in there] == [2, 1]
    assert there[0]["source"][0], "the source file was parsed"
    counters = terrain.emulator.admin.counters()
    assert sorted(counters["paid_runs"].values())[-2:] == [1, 1]


@pytest.mark.parametrize("options", ["process"], indirect=True)
def test_a_broken_scene_fails_by_the_error_mapping(terrain: Terrain, tmp_path: Path) -> None:
    terrain.configure(REMOTE)
    terrain.source = terrain.world.source("broken.zip")
    terrain.place(pipeline.scene_bytes(broken=True), tmp_path)
    job = terrain.run("unpack-scene", scene=terrain.source.id)
    execution = terrain.execution(job)
    assert (job.status, execution.job_exit_code) == ("FAILED", 2)
    assert execution.error is not None
    assert execution.error.name == "terrain-bad-archive"
    assert execution.backend == "rescale"
