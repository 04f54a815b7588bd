# SPDX-License-Identifier: Apache-2.0
"""A small Scale installation for tests of the services: types, workspaces, files, a node, and Airflow's part
played by hand (a task instance is set running as a worker's start would do)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from scale_airflow.config import Settings, settings
from scale_airflow.execution.order import (
    ClaimAnswer,
    ClaimRequest,
    CompletionReport,
    ExecutionOrder,
    FailureReport,
    NodeBeat,
    PhaseTimes,
    ReportAnswer,
    ReportedFile,
    ReportedOutput,
)
from scale_airflow.services import claims, dispatch, executions, nodes
from scale_airflow.services.installation import initialize
from scale_airflow.services.job_types import create_job_type
from scale_airflow.services.recipe_types import create_recipe_type
from scale_airflow.services.workspaces import create_workspace
from scale_airflow.store.models import Job, JobExecution, JobType, RecipeType, ScaleFile, Workspace

HOST = "worker-1"
AGENT = "agent-1"


def interface(inputs: dict[str, str] | None = None, outputs: dict[str, str] | None = None) -> dict[str, Any]:
    """An interface whose inputs and outputs are given as name → type."""
    names = {"input": "file"} if inputs is None else inputs
    return {
        "version": "1.0",
        "command": "run",
        "command_arguments": " ".join(f"${{{name}}}" for name in names) + " ${job_output_dir}",
        "input_data": [{"name": name, "type": kind} for name, kind in names.items()],
        "output_data": [
            {"name": name, "type": kind}
            for name, kind in ({"output": "file"} if outputs is None else outputs).items()
        ],
    }


@dataclass
class World:
    """An installation in the database of a test; every method leaves its changes committed."""

    session: Session

    @property
    def settings(self) -> Settings:
        return settings()

    def install(self, root: Path) -> None:
        initialize(self.session)
        for name in ("raw", "products"):
            (root / name).mkdir(parents=True, exist_ok=True)
            broker = {"type": "host", "path": str(root / name)}
            create_workspace(
                self.session, {"name": name, "json_config": {"version": "1.0", "broker": broker}}
            )
        self.session.commit()
        self.beat()

    def beat(self, *executions_seen: int, agent: str = AGENT, host: str = HOST, cpus: float = 8.0) -> Any:
        report = NodeBeat(agent, host, 8793, cpus, 16384.0, 100000.0, tuple(executions_seen), ())
        answer = nodes.beat(self.session, report, self.settings)
        self.session.commit()
        return answer

    def workspace(self, name: str = "products") -> Workspace:
        return self.session.scalars(select(Workspace).where(Workspace.name == name)).one()

    def job_type(self, name: str, document: dict[str, Any] | None = None, **fields: Any) -> JobType:
        body = {
            "name": name,
            "version": "1.0",
            "interface": document or interface(),
            "docker_image": "image",
            **fields,
        }
        made, _ = create_job_type(self.session, body)
        self.session.commit()
        return made

    def recipe_type(self, name: str, jobs: list[dict[str, Any]], **fields: Any) -> RecipeType:
        definition = {"version": "1.0", "input_data": [{"name": "scene", "type": "file"}], "jobs": jobs}
        made, _ = create_recipe_type(
            self.session, {"name": name, "version": "1.0", "definition": definition, **fields}
        )
        self.session.commit()
        return made

    def source(self, name: str = "scene.zip", **fields: Any) -> ScaleFile:
        made = ScaleFile(
            kind="SOURCE",
            workspace_id=self.workspace("raw").id,
            file_name=name,
            file_path=f"a/{uuid.uuid4().hex}/{name}",
            file_size=10 * 1024 * 1024,
            uuid=uuid.uuid4().hex,
            **{"media_type": "application/zip", "meta_data": {}, "data_type": [], "countries": [], **fields},
        )
        self.session.add(made)
        self.session.commit()
        return made

    def dispatch(self) -> int:
        taken = dispatch.dispatch(self.session, self.settings)
        self.session.commit()
        return taken

    def task(self, job: Job) -> TaskInstance:
        self.session.expire_all()
        return self.session.scalars(
            select(TaskInstance).where(
                TaskInstance.dag_id == job.dag_id,
                TaskInstance.run_id == job.run_id,
                TaskInstance.task_id == job.task_id,
            )
        ).one()

    def set_task_state(self, job: Job, state: str | None) -> None:
        task = self.task(job)
        values = {"state": state}
        if state == "running":
            values["try_number"] = max(task.try_number, 1)
        self.session.execute(update(TaskInstance).where(TaskInstance.id == task.id).values(values))
        self.session.commit()

    def request(self, job: Job, *, agent: str = AGENT, host: str = HOST) -> ClaimRequest:
        task = self.task(job)
        return ClaimRequest(
            job.dag_id, str(job.run_id), job.task_id, -1, task.try_number, str(task.id), host, agent, None
        )

    def claim(self, job: Job, **where: str) -> ClaimAnswer:
        """Let Airflow start the job's task, and the task claim."""
        self.set_task_state(job, "running")
        answer = claims.claim(self.session, self.request(job, **where), self.settings)
        self.session.commit()
        return answer

    def complete(
        self, order: ExecutionOrder, files: dict[str, list[str]] | None = None, **fields: Any
    ) -> ReportAnswer:
        """Report an execution's completion with these output files (output → names)."""
        given = {output.name: [f"{output.name}.dat"] for output in order.outputs} if files is None else files
        spaces = {output.name: output for output in order.outputs}
        outputs = tuple(
            ReportedOutput(
                name,
                spaces[name].type == "files" if name in spaces else False,
                tuple(
                    ReportedFile(
                        file_name=file,
                        workspace_id=spaces[name].workspace_id if name in spaces else 1,
                        path=f"{order.output_path}/{file}",
                        file_size=3,
                        checksum="0" * 64,
                        media_type="application/octet-stream",
                        data_started=None,
                        data_ended=None,
                        geo_json=None,
                    )
                    for file in names
                ),
            )
            for name, names in given.items()
        )
        report = CompletionReport(
            **{
                "exit_code": 0,
                "times": PhaseTimes(),
                "outputs": outputs,
                "parse_results": (),
                "manifest": {"version": "1.1", "output_data": []},
                "environment": {},
                "warnings": (),
                **fields,
            }
        )
        answer = executions.complete(self.session, order.execution_id, report)
        self.session.commit()
        return answer

    def fail(
        self, order: ExecutionOrder, *, exit_code: int | None = None, error: str | None = None
    ) -> ReportAnswer:
        report = FailureReport(error, exit_code, "it failed", PhaseTimes(), {}, None)
        answer = executions.fail(self.session, order.execution_id, report)
        self.session.commit()
        return answer

    def run(self, job: Job) -> None:
        """Let a queued job run to its completion."""
        answer = self.claim(job)
        assert answer.order is not None, answer
        assert self.complete(answer.order).decision == "done"
        self.set_task_state(job, "success")

    def reload(self, job: Job) -> Job:
        self.session.expire_all()
        return self.session.get_one(Job, job.id)

    def execution(self, job: Job) -> JobExecution:
        self.session.expire_all()
        return self.session.scalars(
            select(JobExecution).where(JobExecution.job_id == job.id).order_by(JobExecution.exe_num.desc())
        ).first()  # type: ignore[return-value]
