# SPDX-License-Identifier: Apache-2.0
"""Orders: all that a worker needs to run one execution, worked out when it claims."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.definitions.job_data import JobData
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.execution.order import (
    ExecutionOrder,
    FileRef,
    OrderInput,
    OrderOutput,
    WorkspaceRef,
)
from scale_airflow.services import facts, remote_jobs
from scale_airflow.services.backends import BackendName, backend_of
from scale_airflow.store.models import (
    FileAncestry,
    Job,
    JobExecution,
    JobInputFile,
    Recipe,
    ScaleFile,
    Workspace,
    utcnow,
)

_UNSAFE = re.compile(r"[^A-Za-z0-9_. -]")
_SEGMENT_LIMIT = 100
_INPUT_TYPES: dict[str, Literal["property", "file", "files"]] = {
    "property": "property",
    "file": "file",
    "files": "files",
}


def order_of(
    session: Session, job: Job, execution: JobExecution, token: str, settings: Settings, *, continues: bool
) -> ExecutionOrder:
    """Return the order of an execution that has just been claimed.

    :raises InvalidRequest: if no backend may run the job's type any more.
    """
    job_type = job.job_type
    interface = facts.interface_of(job.job_type_rev)
    data = JobData.parse(job.data)
    files = _files(session, data)
    backend = _backend(execution) or backend_of(job_type, settings)
    execution.backend = backend
    if execution.output_path is None:
        execution.output_path = _output_path(session, job, execution, has_files=bool(files))
    if interface.outputs:
        # Recorded before anything is stored: whatever becomes of this worker, somebody looks for its files.
        execution.unswept += 1
    workspaces = {file.workspace_id for file in files.values()} | set(data.outputs.values())
    return ExecutionOrder(
        execution_id=execution.id,
        job_id=job.id,
        token=token,
        job_type_name=job_type.name,
        job_type_version=job_type.version,
        backend=backend,
        image=job_type.docker_image if backend == "docker" else None,
        privileged=job_type.docker_privileged,
        interface=dict(interface.document),
        inputs=_inputs(interface, data, files),
        outputs=_outputs(interface, data),
        workspaces=_workspaces(session, workspaces),
        output_path=execution.output_path,
        timeout=execution.timeout,
        cpus=job.cpus_required,
        mem_mib=job.mem_required,
        disk_mib=job.disk_in_required + job.disk_out_required,
        configuration=dict(job_type.configuration or {}),
        remote=remote_jobs.note(session, job_type, execution) if backend == "rescale" else None,
        node_id=execution.node_id,
        max_log_bytes=settings.max_log_bytes,
        continues=continues,
    )


def _backend(execution: JobExecution) -> BackendName | None:
    """Return the backend that an earlier claim of the execution has chosen."""
    known: dict[str | None, BackendName] = {"docker": "docker", "process": "process", "rescale": "rescale"}
    return known.get(execution.backend)


def path_segment(text: str) -> str:
    """Return a name as one folder's name: what is not safe there becomes ``_``, and a hash keeps it apart."""
    safe = _UNSAFE.sub("_", text)[:_SEGMENT_LIMIT].strip(" ").lstrip(". ")
    if safe == text:
        return text
    return f"{safe or '_'}.{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _files(session: Session, data: JobData) -> dict[int, ScaleFile]:
    wanted = data.file_ids()
    if not wanted:
        return {}
    rows = session.scalars(select(ScaleFile).where(ScaleFile.id.in_(wanted)))
    return {row.id: row for row in rows}


def _inputs(interface: JobInterface, data: JobData, files: dict[int, ScaleFile]) -> tuple[OrderInput, ...]:
    found = []
    for declared in interface.inputs:
        given = data.input(declared.name)
        numbers = (given.file_ids or ()) if given else ()
        found.append(
            OrderInput(
                name=declared.name,
                type=_INPUT_TYPES[declared.type],
                value=given.value if given else None,
                files=tuple(_reference(files[number]) for number in numbers),
            )
        )
    return tuple(found)


def _outputs(interface: JobInterface, data: JobData) -> tuple[OrderOutput, ...]:
    return tuple(
        OrderOutput(
            name=output.name,
            type="files" if output.type == "files" else "file",
            required=output.required,
            media_type=output.media_type,
            workspace_id=data.outputs[output.name],
        )
        for output in interface.outputs
    )


def _reference(file: ScaleFile) -> FileRef:
    return FileRef(
        id=file.id,
        file_name=file.file_name,
        media_type=file.media_type,
        file_size=file.file_size,
        checksum=file.checksum,
        workspace_id=file.workspace_id,
        path=file.file_path,
        kind="SOURCE" if file.kind == "SOURCE" else "PRODUCT",
    )


def _workspaces(session: Session, ids: set[int]) -> tuple[WorkspaceRef, ...]:
    if not ids:
        return ()
    rows = session.scalars(select(Workspace).where(Workspace.id.in_(ids)).order_by(Workspace.id))
    return tuple(WorkspaceRef(row.id, row.name, row.json_config) for row in rows)


def _output_path(session: Session, job: Job, execution: JobExecution, *, has_files: bool) -> str:
    """``[recipes/<name>/<version>/]jobs/<name>/<version>/[unknown_source_data_time/]YYYY/MM/DD/job_exe_<id>``."""
    parts = []
    if job.recipe_id is not None:
        recipe_type = session.get_one(Recipe, job.recipe_id).recipe_type
        parts += ["recipes", path_segment(recipe_type.name), path_segment(recipe_type.version)]
    parts += ["jobs", path_segment(job.job_type.name), path_segment(job.job_type.version)]
    moment = _source_time(session, job) if has_files else None
    if moment is None:
        parts.append("unknown_source_data_time")
        moment = utcnow()
    parts += [moment.strftime("%Y"), moment.strftime("%m"), moment.strftime("%d"), f"job_exe_{execution.id}"]
    return "/".join(parts)


def _source_time(session: Session, job: Job) -> datetime | None:
    """Return when the data of the earliest source file that the job's inputs stem from began."""
    inputs = select(JobInputFile.file_id).where(JobInputFile.job_id == job.id)
    ancestors = select(FileAncestry.ancestor_id).where(FileAncestry.descendant_id.in_(inputs))
    return session.execute(
        select(func.min(ScaleFile.data_started)).where(
            ScaleFile.kind == "SOURCE", ScaleFile.id.in_(inputs.union(ancestors))
        )
    ).scalar()
