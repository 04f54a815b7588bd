# SPDX-License-Identifier: Apache-2.0
"""What is still to be done to the files of workspaces, and what became of it; node agents do it.

All of it may be repeated without harm, so an agent that dies is simply replaced by the next. Locks are taken
in one order: the file's row, the paths of its workspace, the duty.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.definitions.job_data import JobData
from scale_airflow.errors import Conflict
from scale_airflow.execution.file_duties import DutyKind, DutyOrder, DutyRequest, DutyResult, SweepQuestion
from scale_airflow.execution.order import WorkspaceRef
from scale_airflow.services.admission import is_online
from scale_airflow.services.file_moves import GRACE, free_place, give_up_move
from scale_airflow.services.file_paths import candidates, lock_paths, owned_paths
from scale_airflow.services.lookup import MAX_ID
from scale_airflow.store.models import (
    FileDuty,
    Job,
    JobExecution,
    JobInputFile,
    Node,
    ScaleFile,
    Workspace,
    utcnow,
)

log = logging.getLogger(__name__)

HOLD = timedelta(minutes=5)
"""How long a duty is left to the agent that took it."""
SECOND_LOOK = timedelta(hours=1)
"""When what was done is looked at once more: a worker that was given up may have gone on for a while."""
_AT_ONCE = 20
_LOOKED_AT = 200
_SWEEPS_AT_ONCE = 50
_OWN_TRIES = 3
_TRIES_OF_A_MISSING_FILE = 5
_LONGEST_PAUSE = timedelta(hours=1)
_OVER = ("FAILED", "COMPLETED", "CANCELED")
_KINDS: dict[str, DutyKind] = {"MOVE": "MOVE", "REMOVE": "REMOVE", "SWEEP": "SWEEP"}


def take(session: Session, request: DutyRequest, settings: Settings) -> tuple[DutyOrder, ...]:
    """Hand out what is due to the agent that asks; it has it for :data:`HOLD`.

    What has to do with an execution goes to the node where that ran, to another when that node is offline or
    has tried in vain.
    """
    node = session.scalars(select(Node).where(Node.slave_id == request.agent_id)).one_or_none()
    if node is None:
        return ()
    plan_sweeps(session)
    due = session.execute(
        select(FileDuty.id, FileDuty.node_id, FileDuty.tries)
        .where(*_is_due(request))
        .order_by(FileDuty.not_before, FileDuty.id)
        .limit(_LOOKED_AT)
    ).all()
    theirs = _online(session, {row.node_id for row in due} - {node.id, None}, settings)
    mine = [row.id for row in due if row.node_id not in theirs or row.tries >= _OWN_TRIES]
    duties = session.scalars(
        select(FileDuty)
        .where(FileDuty.id.in_(mine), *_is_due(request))
        .order_by(FileDuty.not_before, FileDuty.id)
        .limit(_AT_ONCE)
        .with_for_update(of=FileDuty, skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    orders = []
    for duty in duties:
        order = _order(session, duty)
        if order is not None:
            duty.holder, duty.held_until = _holder(request), utcnow() + HOLD
            orders.append(order)
    session.flush()
    return tuple(orders)


def record(session: Session, result: DutyResult) -> None:
    """Take note of what became of a duty; the word of one who does not hold it any more changes nothing."""
    if not 0 < result.duty_id <= MAX_ID:
        return
    held = and_(FileDuty.id == result.duty_id, FileDuty.holder == _holder(result))
    seen = session.execute(select(FileDuty.file_id, FileDuty.workspace_id).where(held)).one_or_none()
    if seen is None:
        return
    file = None
    if seen.file_id is not None:
        file = session.scalars(
            select(ScaleFile)
            .where(ScaleFile.id == seen.file_id)
            .with_for_update(of=ScaleFile, key_share=True)
            .execution_options(populate_existing=True)
        ).one()
        lock_paths(session, seen.workspace_id)
    duty = session.scalars(
        select(FileDuty).where(held).with_for_update(of=FileDuty).execution_options(populate_existing=True)
    ).one_or_none()
    if duty is None:
        return
    duty.holder, duty.held_until = None, None
    if result.outcome == "done" or (result.outcome == "taken" and duty.kind == "REMOVE"):
        # What is taken by another file is not what was to be removed.
        _conclude(session, duty, file)
    elif result.outcome == "taken" and duty.kind == "MOVE" and file is not None:
        _go_elsewhere(session, duty, file)
    else:
        _put_off(session, duty, result)
    session.flush()


def choose(session: Session, question: SweepQuestion) -> list[str]:
    """Say which files of the swept folder belong to nothing.

    :raises Conflict: if the agent that asks does not hold the duty (any more).
    """
    duty = None
    if 0 < question.duty_id <= MAX_ID:
        duty = session.scalars(
            select(FileDuty)
            .where(FileDuty.id == question.duty_id, FileDuty.holder == _holder(question))
            .with_for_update(of=FileDuty)
        ).one_or_none()
    if duty is None or duty.kind != "SWEEP":
        raise Conflict(f"This agent is not the one that sweeps for duty {question.duty_id}.")
    duty.held_until = utcnow() + HOLD
    below = [path for path in question.paths if path.startswith(f"{duty.path}/")]
    owned = owned_paths(session, duty.workspace_id, below)
    return [path for path in below if path not in owned]


def plan_sweeps(session: Session) -> int:
    """Plan to look for what executions that are over have stored and no report has named.

    What somebody else is at is left for the next time.

    :returns: how many executions there were.
    """
    executions = session.execute(
        select(JobExecution.id, JobExecution.node_id, JobExecution.output_path, Job.data)
        .join(Job, Job.id == JobExecution.job_id)
        .where(JobExecution.unswept > 0, JobExecution.status.in_(_OVER))
        .order_by(JobExecution.id)
        .limit(_SWEEPS_AT_ONCE)
        .with_for_update(of=JobExecution, skip_locked=True, key_share=True)
    ).all()
    for execution in executions:
        for workspace_id in sorted({*JobData.parse(execution.data).outputs.values()}):
            session.add(
                FileDuty(
                    kind="SWEEP",
                    workspace_id=workspace_id,
                    path=execution.output_path,
                    job_exe_id=execution.id,
                    node_id=execution.node_id,
                )
            )
    if executions:
        session.execute(
            update(JobExecution)
            .where(JobExecution.id.in_([execution.id for execution in executions]))
            # Tidying up is no change of the execution itself.
            .values(unswept=0, last_modified=JobExecution.last_modified)
        )
        session.flush()
    return len(executions)


def _is_due(request: DutyRequest) -> tuple[ColumnElement[bool], ...]:
    now = utcnow()
    started = (
        exists()
        .where(JobInputFile.file_id == FileDuty.file_id)
        .where(JobExecution.job_id == JobInputFile.job_id)
        .where(JobExecution.status == "RUNNING", JobExecution.started <= FileDuty.created + GRACE)
    )
    return (
        FileDuty.not_before <= now,
        or_(
            FileDuty.held_until.is_(None),
            FileDuty.held_until <= now,
            # An earlier process of the same agent has died.
            and_(
                FileDuty.holder.startswith(f"{request.agent_id}:", autoescape=True),
                FileDuty.holder != _holder(request),
            ),
        ),
        # Whoever was told of the old place goes on reading there.
        or_(FileDuty.kind != "REMOVE", ~started),
    )


def _holder(message: DutyRequest | DutyResult | SweepQuestion) -> str:
    return f"{message.agent_id}:{message.process}"


def _online(session: Session, ids: Collection[int], settings: Settings) -> set[int]:
    if not ids:
        return set()
    found: Iterable[Node] = session.scalars(select(Node).where(Node.id.in_(ids)))
    return {node.id for node in found if node.is_active and is_online(node, settings)}


def _order(session: Session, duty: FileDuty) -> DutyOrder | None:
    """Return the order of a locked duty; None where there is nothing to do (any more)."""
    file = session.get(ScaleFile, duty.file_id, populate_existing=True) if duty.file_id is not None else None
    target = duty.target
    if duty.kind == "MOVE":
        if file is None or file.is_deleted or file.file_path != duty.path:
            give_up_move(duty)
            return None
    elif duty.kind == "REMOVE":
        if _is_a_files_place(session, duty.workspace_id, duty.path):
            session.delete(duty)
            return None
        target = None if file is None or file.is_deleted else file.file_path
    workspace = session.get_one(Workspace, duty.workspace_id)
    return DutyOrder(
        id=duty.id,
        kind=_KINDS[duty.kind],
        workspace=WorkspaceRef(workspace.id, workspace.name, workspace.json_config),
        path=duty.path,
        target=target,
        checksum=file.checksum if file is not None else None,
    )


def _is_a_files_place(session: Session, workspace_id: int, path: str) -> bool:
    query = select(ScaleFile.id).where(ScaleFile.workspace_id == workspace_id, ScaleFile.file_path == path)
    return session.execute(query).first() is not None


def _conclude(session: Session, duty: FileDuty, file: ScaleFile | None) -> None:
    if duty.kind != "MOVE":
        if duty.done is not None:
            session.delete(duty)
            return
        duty.done, duty.message, duty.tries = utcnow(), None, 0
        duty.not_before = utcnow() + SECOND_LOOK
        return
    assert file is not None
    assert duty.target is not None
    if file.is_deleted or file.file_path != duty.path:
        give_up_move(duty)
    elif _is_a_files_place(session, duty.workspace_id, duty.target):
        _go_elsewhere(session, duty, file)
    else:
        file.file_path = duty.target
        duty.kind, duty.target, duty.tries, duty.message = "REMOVE", None, 0, None
        duty.created, duty.not_before = utcnow(), utcnow() + GRACE
        log.info("File %s is at %s now", file.id, file.file_path)


def _go_elsewhere(session: Session, duty: FileDuty, file: ScaleFile) -> None:
    """Choose another place for a file whose planned one is taken by content that is no file of ours."""
    assert duty.target is not None
    places = candidates(duty.target.rpartition("/")[0], file.file_name, file.checksum or file.uuid)
    tried = places[: places.index(duty.target) + 1] if duty.target in places else []
    target = free_place(session, duty.workspace_id, [place for place in places if place not in tried])
    if target is None:
        log.warning("File %s stays at %s: every place at %s is taken", file.id, file.file_path, duty.target)
        session.delete(duty)
        return
    duty.target, duty.tries, duty.message = target, 0, None


def _put_off(session: Session, duty: FileDuty, result: DutyResult) -> None:
    duty.tries += 1
    duty.message = (result.message or result.outcome)[:2000]
    duty.not_before = utcnow() + pause_after(duty.tries)
    log.warning("%s of %s, try %s: %s", duty.kind, duty.path, duty.tries, duty.message)
    if duty.kind == "MOVE" and result.outcome == "missing" and duty.tries >= _TRIES_OF_A_MISSING_FILE:
        log.warning("File %s is not moved: it is not in its workspace", duty.file_id)
        session.delete(duty)


def pause_after(tries: int) -> timedelta:
    """Return how long to wait after so many tries in vain."""
    return min(timedelta(seconds=5 * (1 << min(tries, 12))), _LONGEST_PAUSE)


def stuck(session: Session, since: datetime) -> list[FileDuty]:
    """Return what could not be done although it is due since long, the oldest first."""
    return list(
        session.scalars(
            select(FileDuty)
            .where(FileDuty.tries > 0, FileDuty.done.is_(None), FileDuty.created <= since)
            .order_by(FileDuty.id)
            .limit(100)
        )
    )
