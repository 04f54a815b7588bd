# SPDX-License-Identifier: Apache-2.0
"""Brings a job's product files into their workspaces, complete before anybody is told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from scale_airflow.errors import ExecutionFailure, WorkspaceError
from scale_airflow.execution.backends.base import Checkpoint
from scale_airflow.execution.collect import FoundFile, FoundOutput, iso
from scale_airflow.execution.order import ExecutionOrder, ReportedFile, ReportedOutput
from scale_airflow.workspaces.broker import Broker, PathTaken, StoredFile

_PREFIXES = (8, 16, 64)
"""How many digits of the content's checksum become a folder where a path is taken by other content."""


def store_outputs(
    order: ExecutionOrder,
    outputs: tuple[FoundOutput, ...],
    brokers: Mapping[int, Broker],
    checkpoint: Checkpoint,
) -> tuple[ReportedOutput, ...]:
    """Store every file under ``order.output_path``, at its path relative to the output directory.

    The scratch folder keeps the files until it is removed, so a worker that takes over can store them again
    without harm. Nothing that was stored is removed here, not even if another file can't be stored: a worker
    that took this execution over may have reported it meanwhile. Once the execution is over, a node agent
    removes what no report has named (:mod:`scale_airflow.execution.file_work`).

    :raises ExecutionFailure: (``nfs`` or ``filesystem-io``) naming the file that can't be stored.
    """
    workspaces = {output.name: output.workspace_id for output in order.outputs}
    reported = []
    for output in outputs:
        workspace_id = workspaces.get(output.name)
        if workspace_id is None:
            raise ExecutionFailure(f"The job's data names no workspace for the output {output.name!r}.")
        files = []
        for file in output.files:
            checkpoint()
            files.append(_store(order, file, workspace_id, brokers[workspace_id]))
        reported.append(ReportedOutput(output.name, output.is_list, tuple(files)))
    return tuple(reported)


def _store(order: ExecutionOrder, file: FoundFile, workspace_id: int, broker: Broker) -> ReportedFile:
    path = f"{order.output_path.rstrip('/')}/{file.path}"
    try:
        stored = _store_somewhere(broker, file.source, path)
    except WorkspaceError as error:
        raise ExecutionFailure(
            f"The output file {file.path!r} can't be stored: {error}",
            error_name=broker.error_name,
            exit_code=0,
        ) from error
    return ReportedFile(
        file_name=file.path.rpartition("/")[2],
        workspace_id=workspace_id,
        path=stored.path,
        file_size=stored.file_size,
        checksum=stored.checksum,
        media_type=file.media_type,
        data_started=iso(file.geo.data_started),
        data_ended=iso(file.geo.data_ended),
        geo_json=None if file.geo.geo_json is None else dict(file.geo.geo_json),
    )


def _store_somewhere(broker: Broker, source: Path, path: str) -> StoredFile:
    """Store at the path, or near it if an earlier start of this execution has left other content there."""
    try:
        return broker.store(source, path, how="link")
    except PathTaken as error:
        taken = error
    checksum = _checksum(source)
    folder, _, name = path.rpartition("/")
    for length in _PREFIXES:
        try:
            return broker.store(source, f"{folder}/{checksum[:length]}/{name}", how="link", checksum=checksum)
        except PathTaken as error:
            taken = error
    raise taken


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
