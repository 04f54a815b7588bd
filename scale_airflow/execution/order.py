# SPDX-License-Identifier: Apache-2.0
"""What the API server and its workers say to each other about job executions, type by type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from scale_airflow.execution.wire import Message, MessageError

__all__ = [
    "BeatAnswer",
    "BeatReport",
    "ClaimAnswer",
    "ClaimRequest",
    "CompletionReport",
    "ExecutionOrder",
    "FailureReport",
    "FileRef",
    "KeptOutput",
    "LogChunk",
    "MessageError",
    "NodeAnswer",
    "NodeBeat",
    "OrderInput",
    "OrderOutput",
    "PhaseTimes",
    "RemoteMark",
    "ReportAnswer",
    "ReportedFile",
    "ReportedOutput",
    "ReportedParse",
    "ReserveAnswer",
    "WorkspaceRef",
]

BackendName = Literal["docker", "process", "rescale"]
Outcome = Literal["completed", "failed", "canceled"]
Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True)
class FileRef(Message):
    """One input file: where it lies and what is known of it (sizes in bytes, checksum sha256 in hex)."""

    id: int
    file_name: str
    media_type: str
    file_size: int
    checksum: str | None
    workspace_id: int
    path: str
    kind: Literal["SOURCE", "PRODUCT"]


@dataclass(frozen=True)
class WorkspaceRef(Message):
    """One workspace that an execution reads from or writes to, with its configuration document."""

    id: int
    name: str
    configuration: dict[str, Any]


@dataclass(frozen=True)
class OrderInput(Message):
    """One input of the job: a property's value, or the files of a file input; neither when not given."""

    name: str
    type: Literal["property", "file", "files"]
    value: str | None
    files: tuple[FileRef, ...]


@dataclass(frozen=True)
class OrderOutput(Message):
    """One output that the job's interface promises, and the workspace its files go to."""

    name: str
    type: Literal["file", "files"]
    required: bool
    media_type: str | None
    workspace_id: int


@dataclass(frozen=True)
class KeptOutput(Message):
    """How much of a stream the API server has: the next chunk's ``sequence``, and the ``size`` in bytes."""

    sequence: int
    size: int


@dataclass(frozen=True)
class RemoteMark(Message):
    """What an execution's job on another system is found by, and since when there may be one (ISO 8601).

    Also a worker that knows nothing of it may go on with it: of its output that comes again, so much is kept.
    """

    marker: str
    since: str
    stdout: KeptOutput
    stderr: KeptOutput


@dataclass(frozen=True)
class ExecutionOrder(Message):
    """All that a worker needs to run one job execution; ``token`` lets it report on this one alone.

    ``output_path`` is relative to the output's workspace and unique to the execution. ``timeout`` is in
    seconds (0: none), memory and disk in MiB, ``max_log_bytes`` counts each stream on its own.
    ``continues`` says that this very try already held the claim.
    """

    execution_id: int
    job_id: int
    token: str = field(repr=False)
    job_type_name: str
    job_type_version: str
    backend: BackendName
    image: str | None
    privileged: bool
    interface: dict[str, Any]
    inputs: tuple[OrderInput, ...]
    outputs: tuple[OrderOutput, ...]
    workspaces: tuple[WorkspaceRef, ...]
    output_path: str
    timeout: int
    cpus: float
    mem_mib: float
    disk_mib: float
    configuration: dict[str, Any]
    node_id: int | None
    max_log_bytes: int
    continues: bool
    remote: RemoteMark | None = None


@dataclass(frozen=True)
class ClaimRequest(Message):
    """A task's wish to run: which try of which task it is, and where.

    ``definition`` is set when a run that Scale did not create asks to be adopted:
    ``{"name", "version", "title", "definition"}`` from a user's DAG file.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    task_instance_id: str
    hostname: str
    agent_id: str | None
    definition: dict[str, Any] | None


@dataclass(frozen=True)
class ClaimAnswer(Message):
    """Go (with the order), wait (with the reason), or over (with the outcome that is already known)."""

    answer: Literal["go", "wait", "over"]
    order: ExecutionOrder | None = None
    reason: str | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class ReserveAnswer(Message):
    """Whether the API server has reserved room for a waiting task, and if not why."""

    ready: bool
    reason: str | None = None


@dataclass(frozen=True)
class PhaseTimes(Message):
    """When each phase of an execution began and ended (ISO 8601, UTC); null while it has not."""

    pre_started: str | None = None
    pre_completed: str | None = None
    job_started: str | None = None
    job_completed: str | None = None
    post_started: str | None = None
    post_completed: str | None = None


@dataclass(frozen=True)
class ReportedFile(Message):
    """One product file, complete in its workspace; ``path`` is relative to it."""

    file_name: str
    workspace_id: int
    path: str
    file_size: int
    checksum: str
    media_type: str
    data_started: str | None
    data_ended: str | None
    geo_json: dict[str, Any] | None


@dataclass(frozen=True)
class ReportedOutput(Message):
    """The product files of one output, in the manifest's order."""

    name: str
    is_list: bool
    files: tuple[ReportedFile, ...]


@dataclass(frozen=True)
class ReportedParse(Message):
    """What the job found out about one of its source files."""

    filename: str
    new_workspace_path: str | None
    data_types: tuple[str, ...]
    data_started: str | None
    data_ended: str | None
    geo_json: dict[str, Any] | None
    meta_data: dict[str, Any] | None


@dataclass(frozen=True)
class CompletionReport(Message):
    """A job that ended well: its products and parse results, its manifest (1.1) and its surroundings."""

    exit_code: int
    times: PhaseTimes
    outputs: tuple[ReportedOutput, ...]
    parse_results: tuple[ReportedParse, ...]
    manifest: dict[str, Any]
    environment: dict[str, Any]
    warnings: tuple[str, ...]
    command_arguments: str | None = None


@dataclass(frozen=True)
class FailureReport(Message):
    """A job that failed; without ``error_name`` the job type's exit-code mapping decides."""

    error_name: str | None
    exit_code: int | None
    message: str
    times: PhaseTimes
    environment: dict[str, Any]
    manifest: dict[str, Any] | None = None
    command_arguments: str | None = None


@dataclass(frozen=True)
class ReportAnswer(Message):
    """What the task does next: end well, be retried, fail for good; ignored reports came too late."""

    decision: Literal["done", "retry", "failed", "ignored"]
    message: str


@dataclass(frozen=True)
class BeatReport(Message):
    """A sign of life of a running execution; ``command_arguments`` once they are known."""

    times: PhaseTimes
    command_arguments: str | None = None


@dataclass(frozen=True)
class BeatAnswer(Message):
    """Whether the execution goes on; if not (canceled, fenced off) the reason."""

    continue_: bool
    reason: str | None = None


@dataclass(frozen=True)
class LogChunk(Message):
    """A piece of one stream: ``data`` is base64 of zlib; ``sequence`` counts from 0 in each stream."""

    stream: Stream
    sequence: int
    data: str


@dataclass(frozen=True)
class NodeBeat(Message):
    """A sign of life of a host's agent, with what the host has and what it sees there.

    ``executions`` are those with a container or process on the host, ``work_dir_executions`` those with a
    scratch folder. CPUs are counted, memory and disk are in MiB. ``run`` stands for the agent's process, and
    ``is_leaving`` says that it ends now: this beat is its last.
    """

    agent_id: str
    hostname: str
    port: int
    cpus: float
    mem_mib: float
    disk_mib: float
    executions: tuple[int, ...]
    work_dir_executions: tuple[int, ...]
    gpus: int = 0
    run: str = ""
    is_leaving: bool = False


@dataclass(frozen=True)
class NodeAnswer(Message):
    """What the agent does next: kill, forget scratch folders, and beat again after ``interval`` seconds."""

    node_id: int
    stop: tuple[int, ...]
    forget: tuple[int, ...]
    interval: float
