# SPDX-License-Identifier: Apache-2.0
"""Claims: a task of Airflow asks for its job execution, and gets it, is told to wait, or that it is over.

The connection's secret may only claim. The server checks that the task instance runs this very try, and
hands out a token for this execution alone, which its reports carry.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.engine import tasks
from scale_airflow.errors import Forbidden, InvalidRequest
from scale_airflow.execution.order import ClaimAnswer, ClaimRequest, Outcome, ReserveAnswer
from scale_airflow.services import adoption, facts, orders
from scale_airflow.services.admission import (
    Decision,
    admit,
    find_node,
    is_online,
    may_be_sent,
    note_sent,
    note_waiting,
    other_nodes,
)
from scale_airflow.services.clears import follow_clear, was_cleared
from scale_airflow.services.executions import lose_execution
from scale_airflow.services.jobs import refuse_start
from scale_airflow.services.locks import latest_execution, lock_job_of
from scale_airflow.services.queue import set_status
from scale_airflow.services.room import needs_of
from scale_airflow.store.models import Job, JobExecution, Node, QueueEntry, utcnow


def claim(session: Session, request: ClaimRequest, settings: Settings) -> ClaimAnswer:
    """Give a running task its execution.

    :raises Forbidden: if the task instance that asks does not run this very try.
    :raises InvalidDocument: if a run to adopt has a wrong definition or wrong data.
    :raises InvalidRequest: if a run to adopt belongs to nothing that Scale knows.
    """
    task_instance_id = _require_running(session, request)
    job = _job_of(session, request)
    if job.status in ("FAILED", "CANCELED") and was_cleared(session, job, task_instance_id):
        follow_clear(session, job)
    over = _over(job)
    if over is not None:
        _note_first_to_hear(session, job, task_instance_id)
        return over
    execution = latest_execution(session, job)
    if job.status == "PENDING" or execution is None:
        # Airflow believes more of the jobs before it than Scale does, for instance because a user said so.
        return ClaimAnswer("wait", reason=_no_execution(job))
    # Once more, now that nothing of the job changes: while this claim waited for the lock, the task may have
    # moved on to its next try, whose token would be taken away.
    _require_running(session, request)
    facts.interface_of(job.job_type_rev)  # read now: reading sends first what has changed
    try:
        with session.begin_nested():
            return _grant(session, job, execution, request, settings)
    except InvalidRequest as error:
        refuse_start(session, job, execution, str(error))
        return ClaimAnswer("over", outcome="failed", reason=str(error))


def _grant(
    session: Session, job: Job, execution: JobExecution, request: ClaimRequest, settings: Settings
) -> ClaimAnswer:
    """Give the execution to the try that asks, or say why it waits.

    :raises InvalidRequest: if the job's type can't run any more.
    """
    if execution.status == "RUNNING":
        node = session.get(Node, execution.node_id) if execution.node_id else None
        if _goes_on(execution, node, request):
            return _go_on(session, job, execution, request, settings)
        reason = _held_elsewhere(execution, node, settings)
        if reason is not None:
            job.why = reason
            return ClaimAnswer("wait", reason=reason)
        lose_execution(session, job, execution, "Its worker is gone.", error_name="node-lost")
        session.flush()
        latest = latest_execution(session, job)
        over = _over(job)
        if over is not None or latest is None:
            return over or ClaimAnswer("over", outcome="failed", reason=_no_execution(job))
        execution = latest
    node, decision = _ask(session, job, execution, request, settings)
    if not decision.go:
        # Should Airflow wake this very try up while it is canceled, that is not taken for a user's clear.
        execution.task_instance_id = uuid.UUID(request.task_instance_id)
        return ClaimAnswer("wait", reason=decision.reason)
    assert node is not None
    return _go(session, job, execution, node, request, settings)


def reserve(session: Session, request: ClaimRequest, settings: Settings) -> ReserveAnswer:
    """Reserve room for a waiting task; when it comes back within a minute, its claim is granted.

    Ready is also the answer when there is nothing (more) to wait for: the claim then says what is the case.
    """
    found = _find_job(session, request)
    if found is None:
        return ReserveAnswer(True)
    job = lock_job_of(session, *found)
    execution = latest_execution(session, job)
    if execution is not None and execution.status == "RUNNING":
        node = session.get(Node, execution.node_id) if execution.node_id else None
        reason = None if _goes_on(execution, node, request) else _held_elsewhere(execution, node, settings)
        return ReserveAnswer(reason is None, reason)
    if job.status == "PENDING":
        return ReserveAnswer(False, _no_execution(job))
    if job.status != "QUEUED" or execution is None or execution.status != "QUEUED":
        return ReserveAnswer(True)
    node, decision = _ask(session, job, execution, request, settings)
    if not decision.go and decision.is_of_node:
        other = _other_node(session, job, execution, node, settings)
        if other is not None:
            _schedule(execution, job, other)
            execution.reserved = utcnow()
            note_sent(execution)
            return ReserveAnswer(True)
    if not decision.go or node is None:
        return ReserveAnswer(False, decision.reason)
    _schedule(execution, job, node)
    execution.reserved = utcnow()
    return ReserveAnswer(True)


def _other_node(
    session: Session, job: Job, execution: JobExecution, node: Node | None, settings: Settings
) -> Node | None:
    """Return a node with room for an execution that waits on one where it can't start."""
    if not may_be_sent(execution):
        return None
    for other in other_nodes(session, node, needs_of(job), settings):
        found = admit(
            session, job=job, execution=execution, node=other, hostname=other.hostname, settings=settings
        )
        if found.go:
            return other
    return None


def _ask(
    session: Session, job: Job, execution: JobExecution, request: ClaimRequest, settings: Settings
) -> tuple[Node | None, Decision]:
    """Ask for room on the host, and remember who waits for it, and why."""
    node = find_node(session, agent_id=request.agent_id, hostname=request.hostname)
    decision = admit(
        session, job=job, execution=execution, node=node, hostname=request.hostname, settings=settings
    )
    if job.why != decision.reason:
        job.why = decision.reason
    note_waiting(execution, node, decision)
    return node, decision


def _require_running(session: Session, request: ClaimRequest) -> uuid.UUID:
    try:
        task_instance_id = uuid.UUID(request.task_instance_id)
    except ValueError:
        raise InvalidRequest("task_instance_id is not a UUID.") from None
    found = tasks.running_try(session, task_instance_id)
    asked = (request.dag_id, request.run_id, request.task_id, request.map_index, request.try_number)
    if found is None or asked != (
        found.dag_id,
        found.run_id,
        found.task_id,
        found.map_index,
        found.try_number,
    ):
        raise Forbidden(
            f"Airflow does not run try {request.try_number} of task {request.task_id} in run "
            f"{request.run_id} of {request.dag_id} as the task instance that asks."
        )
    return task_instance_id


def _find_job(session: Session, request: ClaimRequest) -> tuple[int, int | None] | None:
    """Return the id of the task's job, and that of its recipe."""
    row = session.execute(
        select(Job.id, Job.recipe_id).where(
            Job.dag_id == request.dag_id, Job.run_id == request.run_id, Job.task_id == request.task_id
        )
    ).one_or_none()
    return None if row is None else (row.id, row.recipe_id)


def _job_of(session: Session, request: ClaimRequest) -> Job:
    found = _find_job(session, request)
    if found is None:
        adoption.adopt(session, request)
        found = _find_job(session, request)
    if found is None:
        raise InvalidRequest(
            f"Task {request.task_id} of {request.dag_id} is not a job of the recipe that the run was "
            "adopted as."
        )
    return lock_job_of(session, *found)


def _note_first_to_hear(session: Session, job: Job, task_instance_id: uuid.UUID) -> None:
    """Remember which try of the task learns that its job could not even start with what its parents made.

    A later try is then known as this one's retry, or as a user's wish.
    """
    if job.status == "FAILED":
        execution = latest_execution(session, job)
        if execution is not None and execution.task_instance_id is None:
            execution.task_instance_id = task_instance_id


def _over(job: Job) -> ClaimAnswer | None:
    outcomes: dict[str, Outcome] = {"COMPLETED": "completed", "FAILED": "failed", "CANCELED": "canceled"}
    if job.status == "COMPLETED":
        reason = (
            f"Job {job.id} is COMPLETED already and does not run again: its results stay as they are. To "
            "have the work done once more, queue a new job or recipe with the same data."
        )
        return ClaimAnswer("over", outcome="completed", reason=reason)
    if job.status in outcomes:
        reason = f"Job {job.id} is {job.status} already. Requeue it, or clear its task, for one more try."
        return ClaimAnswer("over", outcome=outcomes[job.status], reason=reason)
    if job.status == "BLOCKED":
        return ClaimAnswer("over", outcome="failed", reason=_no_execution(job))
    return None


def _no_execution(job: Job) -> str:
    return f"Job {job.id} is {job.status}: the jobs that it depends on have not completed in Scale."


def _goes_on(execution: JobExecution, node: Node | None, request: ClaimRequest) -> bool:
    """Say whether a running execution is the asking try's own, or that of one that died on the same host.

    Its container may still run there: the new try finds it by its label and goes on with it. A job on another
    system is found from any host. One that is being stopped already is past that.
    """
    if execution.stop_requested is not None:
        return False
    if execution.backend == "rescale":
        return True
    same_host = node is not None and (
        node.slave_id == request.agent_id if request.agent_id else node.hostname == request.hostname
    )
    return same_host or str(execution.task_instance_id) == request.task_instance_id


def _go_on(
    session: Session, job: Job, execution: JobExecution, request: ClaimRequest, settings: Settings
) -> ClaimAnswer:
    execution.task_instance_id = uuid.UUID(request.task_instance_id)
    execution.try_number = request.try_number
    if execution.backend == "rescale":
        # Wherever this try runs, the products come to its host from now on.
        node = find_node(session, agent_id=request.agent_id, hostname=request.hostname)
        execution.node_id = execution.node_id if node is None else node.id
    job.why = None
    token = _new_token(execution)
    return ClaimAnswer("go", order=orders.order_of(session, job, execution, token, settings, continues=True))


def _held_elsewhere(execution: JobExecution, node: Node | None, settings: Settings) -> str | None:
    """Say why a running execution can't be given up yet, or None if its worker counts as lost."""
    if node is None or node.last_offer is None:
        return None
    if is_online(node, settings):
        # The agent there kills what still runs, and says so with its next beat.
        execution.stop_requested = execution.stop_requested or utcnow()
        return f"Its last try is being stopped on node {node.hostname}."
    silent = (utcnow() - node.last_offer).total_seconds()
    if silent >= settings.node_lost_timeout:
        return None
    return (
        f"Its last try may still run on node {node.hostname}, which has been silent for "
        f"{silent:.0f} of {settings.node_lost_timeout:g} seconds."
    )


def _go(
    session: Session,
    job: Job,
    execution: JobExecution,
    node: Node,
    request: ClaimRequest,
    settings: Settings,
) -> ClaimAnswer:
    now = utcnow()
    _schedule(execution, job, node)
    execution.status = "RUNNING"
    execution.started = now
    execution.last_beat = now
    execution.reserved = None
    execution.task_instance_id = uuid.UUID(request.task_instance_id)
    execution.try_number = request.try_number
    job.started = now
    set_status(job, "RUNNING")
    if job.dispatched is None:
        # Requeued, and cleared by a user before its turn came: it must not be dispatched while it runs.
        job.dispatched = now
        session.execute(delete(QueueEntry).where(QueueEntry.job_id == job.id))
    token = _new_token(execution)
    with session.no_autoflush:  # what is read for the order has not changed
        order = orders.order_of(session, job, execution, token, settings, continues=False)
    return ClaimAnswer("go", order=order)


def _schedule(execution: JobExecution, job: Job, node: Node) -> None:
    cpus, mem, _, gpus = needs_of(job)
    execution.node_id = node.id
    execution.cpus_scheduled = cpus
    execution.mem_scheduled = mem
    execution.disk_in_scheduled = job.disk_in_required
    execution.disk_out_scheduled = job.disk_out_required
    execution.disk_total_scheduled = job.disk_in_required + job.disk_out_required
    execution.gpus_scheduled = int(gpus)


def _new_token(execution: JobExecution) -> str:
    """Make the execution's token anew: an earlier try's opens nothing from now on."""
    token = secrets.token_urlsafe(32)
    execution.token_sha256 = hashlib.sha256(token.encode()).hexdigest()
    return token
