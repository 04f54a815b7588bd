# SPDX-License-Identifier: Apache-2.0
"""Queueing jobs and recipes: documents are checked, rows are made, the tick is told. Airflow hears of it at
dispatch (:mod:`scale_airflow.services.dispatch`), so a long queue costs it nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from scale_airflow.compiler import names
from scale_airflow.config import Settings, settings
from scale_airflow.definitions.job_data import FileFacts, JobData
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.recipe_data import RecipeData, job_data_for
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.errors import InvalidRequest
from scale_airflow.services import facts
from scale_airflow.services.backends import backend_of
from scale_airflow.services.dispatch import wake
from scale_airflow.services.events import user_event
from scale_airflow.store.models import (
    Job,
    JobExecution,
    JobInputFile,
    JobType,
    JobTypeRevision,
    QueueEntry,
    Recipe,
    RecipeType,
    RecipeTypeRevision,
    TriggerEvent,
    utcnow,
)

__all__ = ["Address", "queue_job", "queue_recipe", "user_event"]

MIN_CPUS = 0.25
MIN_MEM_MIB = 128.0
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """Where a run that Airflow already has is found: it is adopted instead of created."""

    dag_id: str
    run_id: str
    task_id: str | None = None


def queue_job(
    session: Session,
    *,
    job_type: JobType,
    data: object,
    event: TriggerEvent,
    priority: int | None = None,
    revision: JobTypeRevision | None = None,
    adopted: Address | None = None,
) -> Job:
    """Make a job of one type and put it on the queue.

    :param data: the job data document (specification: Job Data 1.0).
    :param priority: instead of the type's own; lower runs first.
    :param revision: instead of the current one.
    :param adopted: the run of Airflow that already waits for this job.
    :raises InvalidDocument: with every fault of the data.
    :raises InvalidRequest: if the job type can't run at all.
    """
    require_runnable(job_type)
    revision = revision or facts.current_revision(session, job_type)
    parsed = JobData.parse(data)
    interface = facts.interface_of(revision)
    files = check_job_data(session, parsed, interface)
    job = _new_job(job_type, revision, event, priority)
    job.dag_id = adopted.dag_id if adopted else revision.dag_id or ""
    job.task_id = (adopted and adopted.task_id) or names.JOB_TASK_ID
    if adopted:
        job.run_id, job.dispatched = adopted.run_id, utcnow()
    # Its row is written once, as it is when it waits.
    _give(job, job_type, interface, parsed, files)
    _begin_try(job)
    job.executions = [_execution(job, interface)]
    session.add(job)
    session.flush()
    # Who shows the job need not read again what it came of.
    set_committed_value(job, "job_type", job_type)
    set_committed_value(job, "job_type_rev", revision)
    set_committed_value(job, "event", event)
    _add_input_files(session, job, interface, parsed)
    if not adopted:
        entry = QueueEntry(job_id=job.id, job_type_ids=[job_type.id], priority=job.priority)
        entry.queued = job.queued or utcnow()
        session.add(entry)
        wake(session)
    session.flush()
    return job


def queue_recipe(
    session: Session,
    *,
    recipe_type: RecipeType,
    data: object,
    event: TriggerEvent,
    priority: int | None = None,
    revision: RecipeTypeRevision | None = None,
    adopted: Address | None = None,
) -> Recipe:
    """Make a recipe with all its jobs and queue those that depend on nothing.

    :param data: the recipe data document (specification: Recipe Data 1.0).
    :param revision: instead of the current one.
    :param adopted: the run of Airflow that already waits for this recipe.
    :raises InvalidDocument: with every fault of the data.
    :raises InvalidRequest: if the recipe type or one of its job types can't run at all.
    """
    if not recipe_type.is_active:
        raise InvalidRequest(
            f"Recipe type {recipe_type.name} {recipe_type.version} is archived: "
            "queue recipes of another version of it."
        )
    revision = revision or facts.current_recipe_revision(session, recipe_type)
    definition = facts.definition_of(revision)
    types = facts.job_types_of(session, definition)
    _require_runnable(definition, types)
    parsed = RecipeData.parse(data)
    _check_recipe_data(session, parsed, definition, types)

    recipe = Recipe(
        recipe_type_id=recipe_type.id,
        recipe_type_rev_id=revision.id,
        event_id=event.id,
        data=parsed.document,
        dag_id=adopted.dag_id if adopted else revision.dag_id or "",
    )
    session.add(recipe)
    session.flush()
    if adopted:
        recipe.run_id, recipe.dispatched = adopted.run_id, utcnow()
    jobs = _make_recipe_jobs(session, recipe, definition, types, event, priority)
    for root in definition.roots():
        job_type, job_revision = types[(root.job_type_name, root.job_type_version)]
        interface = facts.interface_of(job_revision)
        job_data = job_data_for(definition, root.name, interface, parsed, {})
        files = check_job_data(session, job_data, interface)
        make_ready(session, jobs[root.name], job_type, interface, job_data, files)
    if not jobs:
        recipe.completed = utcnow()
    elif not adopted:
        _enter(session, recipe, definition, jobs)
    session.flush()
    return recipe


def _enter(session: Session, recipe: Recipe, definition: RecipeDefinition, jobs: Mapping[str, Job]) -> None:
    """Let a recipe wait for its run in Airflow."""
    roots = [jobs[root.name] for root in definition.roots()]
    at_once = {job.job_type_id for job in roots}
    session.add(
        QueueEntry(
            recipe_id=recipe.id,
            job_type_ids=sorted(at_once),
            later_type_ids=sorted({job.job_type_id for job in jobs.values()} - at_once),
            priority=min(job.priority for job in roots),
            queued=utcnow(),
        )
    )
    wake(session)


def make_ready(
    session: Session,
    job: Job,
    job_type: JobType,
    interface: JobInterface,
    data: JobData,
    files: Mapping[int, FileFacts],
) -> JobExecution:
    """Give a PENDING job its data and its first execution: it is QUEUED from now on."""
    _give(job, job_type, interface, data, files)
    _begin_try(job)
    _add_input_files(session, job, interface, data)
    return _add_execution(session, job, interface)


def _give(
    job: Job, job_type: JobType, interface: JobInterface, data: JobData, files: Mapping[int, FileFacts]
) -> None:
    for name, value in ready_values(job_type, interface, data, files).items():
        setattr(job, name, value)


def _add_input_files(session: Session, job: Job, interface: JobInterface, data: JobData) -> None:
    session.add_all(
        JobInputFile(job_id=job.id, input_name=input_name, file_id=number)
        for input_name, number in input_files(interface, data)
    )


def ready_values(
    job_type: JobType, interface: JobInterface, data: JobData, files: Mapping[int, FileFacts]
) -> dict[str, Any]:
    """Return what a job has as soon as its data is known."""
    numbers = {number for _, number in input_files(interface, data)}
    input_mib = ceil(sum(files[number].file_size for number in numbers) / _MIB)
    disk_out = job_type.disk_out_mult_required * input_mib + job_type.disk_out_const_required
    return {
        "data": dict(data.document),
        "input_signature": _signature(data),
        "disk_in_required": float(input_mib),
        "disk_out_required": float(ceil(disk_out)),
    }


def input_files(interface: JobInterface, data: JobData) -> list[tuple[str, int]]:
    """Return the name of the input and the file's id for each input file; data of no input is ignored."""
    return [
        (given.name, number)
        for given in data.inputs
        if interface.input(given.name) is not None
        for number in dict.fromkeys(given.file_ids or ())
    ]


def new_execution(session: Session, job: Job, interface: JobInterface) -> JobExecution:
    """Begin the next try of a job: QUEUED, with an execution that a worker may claim."""
    _begin_try(job)
    return _add_execution(session, job, interface)


def _begin_try(job: Job) -> None:
    job.num_exes += 1
    job.error_id = None
    job.queued, job.started, job.ended = utcnow(), None, None
    set_status(job, "QUEUED")


def _add_execution(session: Session, job: Job, interface: JobInterface) -> JobExecution:
    execution = _execution(job, interface)
    session.add(execution)
    return execution


def _execution(job: Job, interface: JobInterface) -> JobExecution:
    return JobExecution(
        job_id=job.id,
        exe_num=job.num_exes,
        status="QUEUED",
        timeout=job.timeout,
        queued=job.queued,
        command_arguments=command_arguments(interface, job.data),
    )


def set_status(job: Job, status: str) -> None:
    """Change a job's status and remember when."""
    if job.status != status:
        job.status = status
        job.last_status_change = utcnow()


def check_job_data(session: Session, data: JobData, interface: JobInterface) -> dict[int, FileFacts]:
    """Check job data against an interface and the database; return what is known of its files.

    :raises InvalidDocument: with every fault.
    """
    files = facts.file_facts(session, data.file_ids())
    data.check(interface, files, facts.workspace_facts(session, data.workspace_ids()))
    return files


def _check_recipe_data(
    session: Session,
    data: RecipeData,
    definition: RecipeDefinition,
    types: Mapping[tuple[str, str], tuple[JobType, JobTypeRevision]],
) -> None:
    workspaces = [data.workspace_id] if data.workspace_id is not None else []
    needs_workspace = any(facts.interface_of(revision).outputs for _, revision in types.values())
    data.check(
        definition,
        facts.file_facts(session, data.file_ids()),
        facts.workspace_facts(session, workspaces),
        needs_workspace=needs_workspace,
    )


def _make_recipe_jobs(
    session: Session,
    recipe: Recipe,
    definition: RecipeDefinition,
    types: Mapping[tuple[str, str], tuple[JobType, JobTypeRevision]],
    event: TriggerEvent,
    priority: int | None,
) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    for entry in definition.topological_order():
        job_type, revision = types[(entry.job_type_name, entry.job_type_version)]
        job = _new_job(job_type, revision, event, priority)
        job.recipe_id, job.recipe_job_name = recipe.id, entry.name
        job.dag_id, job.run_id, job.task_id = recipe.dag_id, recipe.run_id, names.task_id(entry.name)
        job.dispatched = recipe.dispatched
        jobs[entry.name] = job
        session.add(job)
    session.flush()
    return jobs


def _new_job(job_type: JobType, revision: JobTypeRevision, event: TriggerEvent, priority: int | None) -> Job:
    values = job_values(job_type, revision, event)
    if priority is not None:
        values["priority"] = priority
    return Job(**values, num_exes=0, status="PENDING", data={}, results={})


def job_values(job_type: JobType, revision: JobTypeRevision, event: TriggerEvent) -> dict[str, Any]:
    """Return what a new job has of its type, revision and event."""
    return {
        "job_type_id": job_type.id,
        "job_type_rev_id": revision.id,
        "event_id": event.id,
        "priority": job_type.priority,
        "timeout": job_type.timeout,
        "max_tries": job_type.max_tries,
        "cpus_required": max(job_type.cpus_required, MIN_CPUS),
        "mem_required": max(job_type.mem_required, MIN_MEM_MIB),
    }


def require_runnable(job_type: JobType) -> None:
    """Check that jobs of a type can be queued and run at all.

    :raises InvalidRequest: saying why not.
    """
    problem = _problem(job_type, settings())
    if problem is not None:
        raise InvalidRequest(problem)


def _problem(job_type: JobType, current: Settings) -> str | None:
    """Return why no jobs of a type can be queued or run, and what to do about it."""
    label = f"Job type {job_type.name} {job_type.version}"
    if not job_type.is_active:
        return f"{label} is archived: queue jobs of another version of it."
    if job_type.is_system:
        return f"{label} is Scale's own: its jobs are queued by Scale alone."
    try:
        backend_of(job_type, current)
    except InvalidRequest as error:
        return str(error)
    return None


def _require_runnable(
    definition: RecipeDefinition, types: Mapping[tuple[str, str], tuple[JobType, JobTypeRevision]]
) -> None:
    missing = sorted(definition.job_types() - types.keys())
    listed = ", ".join(f"{name} {version}" for name, version in missing)
    problems = [f"The recipe's job types do not exist (any more): {listed}."] if missing else []
    current = settings()
    found = [_problem(job_type, current) for job_type, _ in types.values()]
    problems += sorted(problem for problem in found if problem is not None)
    if problems:
        raise InvalidRequest(" ".join(problems))


def command_arguments(interface: JobInterface, data: Mapping[str, Any]) -> str:
    """Return the arguments as they are shown while a job waits: with the properties, but no files yet."""
    values = {entry["name"]: str(entry["value"]) for entry in data.get("input_data", ()) if "value" in entry}
    return interface.template.render_text(values)


def _signature(data: JobData) -> str:
    """Identify the work: exactly the same input files and property values give the same text.

    An algorithm sees the files of an input in a directory, so their order is none.
    """
    inputs = {
        given.name: sorted(given.file_ids) if given.file_ids is not None else given.value
        for given in data.inputs
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
