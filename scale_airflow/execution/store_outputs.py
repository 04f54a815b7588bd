# SPDX-License-Identifier: Apache-2.0
"""Brings a job's product files into their workspaces, complete before anybody is told."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from scale_airflow.errors import ExecutionFailure, WorkspaceError
from scale_airflow.execution.backends.base import Checkpoint
from scale_airflow.execution.collect import FoundFile, FoundOutput, iso
from scale_airflow.execution.order import ExecutionOrder, ReportedFile, ReportedOutput
from scale_airflow.workspaces.broker import Broker

log = logging.getLogger(__name__)


def store_outputs(
    order: ExecutionOrder,
    outputs: tuple[FoundOutput, ...],
    brokers: Mapping[int, Broker],
    checkpoint: Checkpoint,
) -> tuple[ReportedOutput, ...]:
    """Store every file under ``order.output_path``, at its path relative to the output directory.

    The scratch folder keeps the files until it is removed, so a worker that takes over can store them again
    without harm. What was stored goes away again if one fails.

    :raises ExecutionFailure: (``nfs`` or ``filesystem-io``) naming the file that can't be stored.
    """
    workspaces = {output.name: output.workspace_id for output in order.outputs}
    stored: list[tuple[Broker, str]] = []
    reported = []
    try:
        for output in outputs:
            workspace_id = workspaces.get(output.name)
            if workspace_id is None:
                raise ExecutionFailure(f"The job's data names no workspace for the output {output.name!r}.")
            broker = brokers[workspace_id]
            files = []
            for file in output.files:
                checkpoint()
                files.append(_store(order, file, workspace_id, broker))
                stored.append((broker, files[-1].path))
            reported.append(ReportedOutput(output.name, output.is_list, tuple(files)))
    except BaseException:
        _forget(stored)
        raise
    return tuple(reported)


def _store(order: ExecutionOrder, file: FoundFile, workspace_id: int, broker: Broker) -> ReportedFile:
    path = f"{order.output_path.rstrip('/')}/{file.path}"
    try:
        stored = broker.store(file.source, path, how="link")
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


def _forget(stored: list[tuple[Broker, str]]) -> None:
    for broker, path in stored:
        try:
            broker.delete(path)
        except WorkspaceError as error:
            log.warning("A file of the failed execution stays in its workspace: %s", error)
