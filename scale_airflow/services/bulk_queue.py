# SPDX-License-Identifier: Apache-2.0
"""Many jobs queued at once: each document is checked, the rows are made a table at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.definitions.documents import nested
from scale_airflow.definitions.faults import Faults
from scale_airflow.definitions.job_data import FileFacts, JobData
from scale_airflow.errors import InvalidDocument, InvalidRequest
from scale_airflow.services import facts, queue
from scale_airflow.services.dispatch import wake
from scale_airflow.store.base import Base
from scale_airflow.store.models import (
    Job,
    JobExecution,
    JobInputFile,
    JobType,
    JobTypeRevision,
    QueueEntry,
    TriggerEvent,
    utcnow,
)

MOST_JOBS = 10_000
"""How many jobs may be queued at once: their transaction takes some seconds, and one answer names them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job to queue.

    :param data: the job data document (specification: Job Data 1.0).
    """

    job_type_id: int
    data: object


@dataclass(frozen=True, slots=True)
class Queued:
    """A job that was queued, and its first execution."""

    job_id: int
    execution_id: int


@dataclass(frozen=True, slots=True)
class _Ready:
    """A job of which everything is known but its ids."""

    job_type: JobType
    revision: JobTypeRevision
    data: JobData


_Types = Mapping[int, tuple[JobType, JobTypeRevision]]


def queue_jobs(session: Session, wanted: Sequence[Wanted], event: TriggerEvent) -> list[Queued]:
    """Queue jobs, all of them or none, in the order in which they are given.

    :param event: what all of them come of.
    :raises InvalidDocument: with every fault, each below ``/<index>/job_type_id`` or ``/<index>/job_data``.
    """
    faults = Faults()
    types = _types(session, wanted, faults)
    parsed = [
        None if faults.are_enough else nested(JobData.parse, each.data, f"/{index}/job_data", faults)
        for index, each in enumerate(wanted)
    ]
    found = [each for each in parsed if each is not None]
    files = facts.file_facts(session, (number for each in found for number in each.file_ids()))
    workspaces = facts.workspace_facts(session, (number for each in found for number in each.workspace_ids()))
    ready = []
    for index, (each, data) in enumerate(zip(wanted, parsed, strict=True)):
        if data is None or each.job_type_id not in types or faults.are_enough:
            continue
        job_type, revision = types[each.job_type_id]
        try:
            data.check(facts.interface_of(revision), files, workspaces)
        except InvalidDocument as error:
            faults.extend(error.faults, f"/{index}/job_data")
        ready.append(_Ready(job_type, revision, data))
    faults.refuse("jobs", [{"job_type_id": each.job_type_id, "job_data": each.data} for each in wanted])
    return _insert(session, ready, files, event)


def _types(session: Session, wanted: Sequence[Wanted], faults: Faults) -> _Types:
    """Return the job types, each with its current revision, that exist and can run."""
    rows = session.execute(
        select(JobType, JobTypeRevision)
        .join(
            JobTypeRevision,
            (JobTypeRevision.job_type_id == JobType.id)
            & (JobTypeRevision.revision_num == JobType.revision_num),
        )
        .where(JobType.id.in_({each.job_type_id for each in wanted}))
    )
    types = {job_type.id: (job_type, revision) for job_type, revision in rows}
    refused: dict[int, str] = {}
    for job_type, _ in types.values():
        try:
            queue.require_runnable(job_type)
        except InvalidRequest as error:
            refused[job_type.id] = error.detail
    for index, each in enumerate(wanted):
        place = f"/{index}/job_type_id"
        if each.job_type_id not in types:
            faults.add(place, "", f"There is no job type with the id {each.job_type_id}.")
        elif each.job_type_id in refused:
            faults.add(place, "", refused[each.job_type_id])
    return {number: row for number, row in types.items() if number not in refused}


def _insert(
    session: Session, ready: Sequence[_Ready], files: Mapping[int, FileFacts], event: TriggerEvent
) -> list[Queued]:
    now = utcnow()
    made = [
        Queued(*ids)
        for ids in zip(_ids(session, Job, len(ready)), _ids(session, JobExecution, len(ready)), strict=True)
    ]
    jobs, executions, inputs, entries = [], [], [], []
    for each, ids in zip(ready, made, strict=True):
        interface = facts.interface_of(each.revision)
        job = _job(each, ids.job_id, files, event) | {"queued": now, "last_status_change": now}
        jobs.append(job)
        executions.append(
            {
                "id": ids.execution_id,
                "job_id": ids.job_id,
                "exe_num": 1,
                "status": "QUEUED",
                "timeout": job["timeout"],
                "queued": now,
                "command_arguments": queue.command_arguments(interface, job["data"]),
            }
        )
        inputs += [
            {"job_id": ids.job_id, "input_name": name, "file_id": number}
            for name, number in queue.input_files(interface, each.data)
        ]
        entries.append(
            {
                "job_id": ids.job_id,
                "job_type_ids": [each.job_type.id],
                "priority": job["priority"],
                "queued": now,
            }
        )
    for model, rows in (
        (Job, jobs),
        (JobExecution, executions),
        (JobInputFile, inputs),
        (QueueEntry, entries),
    ):
        if rows:
            session.execute(insert(model), rows)
    wake(session)
    return made


def _job(ready: _Ready, job_id: int, files: Mapping[int, FileFacts], event: TriggerEvent) -> dict[str, Any]:
    job_type, revision = ready.job_type, ready.revision
    return {
        "id": job_id,
        **queue.job_values(job_type, revision, event),
        **queue.ready_values(job_type, facts.interface_of(revision), ready.data, files),
        "status": "QUEUED",
        "num_exes": 1,
        "results": {},
        "dag_id": revision.dag_id or "",
        "task_id": names.JOB_TASK_ID,
    }


def _ids(session: Session, model: type[Base], count: int) -> Sequence[int]:
    """Take the next ids of a table, so that rows which refer to each other can be made a table at a time."""
    sequence = func.pg_get_serial_sequence(model.__tablename__, "id")
    drawn = select(func.nextval(sequence)).select_from(func.generate_series(1, count))
    return sorted(session.scalars(drawn))
