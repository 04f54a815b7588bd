# SPDX-License-Identifier: Apache-2.0
"""The agents' part in moving and removing files, played with real files; an agent may die at each step."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from work import queued, started
from world import AGENT, World

from scale_airflow.execution.file_duties import (
    DutyAnswer,
    DutyRequest,
    DutyResult,
    SweepAnswer,
    SweepQuestion,
)
from scale_airflow.execution.file_work import FileWork
from scale_airflow.execution.order import ExecutionOrder, ReportedParse
from scale_airflow.services import file_duties
from scale_airflow.store.models import FileDuty, Ingest, Job, ScaleFile, Strike, utcnow


class Killed(BaseException):
    """The agent's process was killed here."""


class Agent:
    """A node agent without HTTP: each call is a transaction; it may die at any numbered step."""

    def __init__(self, world: World, agent_id: str = AGENT, process: str = "p1"):
        self.world = world
        self.process = process
        self.agent_id = agent_id
        self.steps: list[str] = []
        self.dies_at: int | None = None
        self.work = FileWork(world.settings, lambda: self, agent_id)  # type: ignore[arg-type, return-value]
        self.work._process = process

    def reach(self, step: str) -> None:
        self.steps.append(step)
        if len(self.steps) == self.dies_at:
            raise Killed(step)

    def run(self) -> None:
        """Do all that is due."""
        self.world.session.expire_all()
        self.work.round()
        self.world.session.expire_all()

    def file_duties(self, request: DutyRequest) -> Any:
        self.reach("before take")
        orders = file_duties.take(self.world.session, request, self.world.settings)
        self.world.session.commit()
        self.reach("after take")
        return DutyAnswer.from_dict(DutyAnswer(orders, 1.0).to_dict())

    def file_duty_result(self, result: DutyResult) -> None:
        self.reach("before result")
        file_duties.record(self.world.session, DutyResult.from_dict(result.to_dict()))
        self.world.session.commit()
        self.reach("after result")

    def file_duty_sweep(self, question: SweepQuestion) -> Any:
        self.reach("before question")
        remove = file_duties.choose(self.world.session, question)
        self.world.session.commit()
        self.reach("after question")
        return SweepAnswer(tuple(remove))

    def close(self) -> None:
        pass


def later(world: World) -> None:
    """Let so much time pass that everything is due and nobody holds anything."""
    world.session.execute(
        update(FileDuty).values(not_before=utcnow() - timedelta(seconds=1), held_until=None)
    )
    world.session.commit()


def settle(world: World) -> None:
    """Let agents work until nothing is left to do."""
    agent = Agent(world, process="settling")
    for _ in range(20):
        agent.run()
        if not duties(world):
            return
        later(world)
    raise AssertionError([(duty.kind, duty.path, duty.message) for duty in duties(world)])


def duties(world: World) -> list[FileDuty]:
    world.session.expire_all()
    return list(world.session.scalars(select(FileDuty).order_by(FileDuty.id)))


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def stored_source(
    world: World, root: Path, name: str = "scene.zip", content: bytes = b"content"
) -> ScaleFile:
    source = world.source(name, checksum=hashlib.sha256(content).hexdigest())
    path = root / "raw" / source.file_path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return source


def queue(world: World, source: ScaleFile, name: str = "one", **fields: Any) -> Job:
    known = world.session.scalars(select(Job).join(Job.job_type).where(Job.job_type.has(name=name))).first()
    job_type = known.job_type if known is not None else world.job_type(name, **fields)
    job = queued(world, job_type, source)
    world.dispatch()
    return job


def parsed(folder: str | None, name: str = "scene.zip") -> ReportedParse:
    return ReportedParse(name, folder, (), None, None, None, None)


def parse(world: World, source: ScaleFile, folder: str, name: str = "one") -> Job:
    """Run a job that says where the source file belongs."""
    job = queue(world, source, name)
    order = started(world, job)
    assert world.complete(order, parse_results=(parsed(folder, source.file_name),)).decision == "done"
    world.set_task_state(job, "success")
    return job


def place(world: World, source: ScaleFile) -> str:
    world.session.expire_all()
    return world.session.get_one(ScaleFile, source.id).file_path


def leave_behind(world: World, root: Path, *names: str, **fields: Any) -> ExecutionOrder:
    """Start a job and store files as its worker does, without a report."""
    job = queue(world, stored_source(world, root), **fields)
    order = started(world, job)
    store(root, order, *names)
    return order


def ingest_of(world: World, workspace_id: int, path: str) -> Ingest:
    """An ingest that is storing a file at a path of a workspace."""
    strike = Strike(name="incoming", configuration={}, dag_id="scale_strike.incoming")
    world.session.add(strike)
    world.session.flush()
    return Ingest(
        strike_id=strike.id,
        file_name=path.rpartition("/")[2],
        file_path=path,
        workspace_id=workspace_id,
        status="INGESTING",
        transfer_path="incoming",
    )


def store(root: Path, order: ExecutionOrder, *names: str) -> None:
    for name in names:
        path = root / "products" / order.output_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def job_of(world: World, order: ExecutionOrder) -> Job:
    return world.session.get_one(Job, order.job_id)
