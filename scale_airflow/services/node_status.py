# SPDX-License-Identifier: Apache-2.0
"""How the nodes are doing: what runs on each, and how its executions ended lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.services.admission import is_online
from scale_airflow.services.job_type_status import JobCount
from scale_airflow.services.listing import Found, Window, among, fetch
from scale_airflow.services.node_control import NODE_FIELDS
from scale_airflow.services.time_ranges import lately
from scale_airflow.services.work_lists import EXECUTION_FORM
from scale_airflow.store.models import ErrorModel, JobExecution, Node


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node, and what its executions are doing.

    :param counts: its executions by status, failed ones by their errors' category as well.
    :param running: what runs there, the oldest first.
    """

    node: Node
    is_online: bool
    counts: Sequence[JobCount]
    running: Sequence[JobExecution]


def list_status(session: Session, window: Window, settings: Settings) -> Found[NodeStatus]:
    """Return a page of the active nodes by their names, with counts of their executions.

    :param window: its range, of ``last_modified``, is by default the last three hours; RUNNING executions
        count whatever the range is.
    :raises InvalidRequest: if the range ends before it starts, or for a page past the end.
    """
    started = lately(window)
    every: Select[tuple[Node]] = select(Node)
    found = fetch(session, every.where(Node.is_active), window, fields=NODE_FIELDS, default=("hostname",))
    ids = [node.id for node in found.items]
    counts = _counts(session, ids, started, window.ended)
    running = _running(session, ids)
    return Found(
        found.count,
        [
            NodeStatus(node, is_online(node, settings), counts.get(node.id, []), running.get(node.id, []))
            for node in found.items
        ],
    )


def _counts(
    session: Session, node_ids: Sequence[int], started: datetime, ended: datetime | None
) -> dict[int, list[JobCount]]:
    """Return by node how many executions it has run; one that is QUEUED only waits for it."""
    in_range: ColumnElement[bool] = and_(
        JobExecution.last_modified >= started, JobExecution.status.in_(("FAILED", "COMPLETED", "CANCELED"))
    )
    if ended is not None:
        in_range = and_(in_range, JobExecution.last_modified <= ended)
    category = case((JobExecution.status == "FAILED", ErrorModel.category), else_=None)
    most_recent = func.max(func.coalesce(JobExecution.ended, JobExecution.started, JobExecution.queued))
    rows = session.execute(
        select(JobExecution.node_id, JobExecution.status, func.count(), most_recent, category)
        .outerjoin(ErrorModel, ErrorModel.id == JobExecution.error_id)
        .where(among(JobExecution.node_id, node_ids), or_(JobExecution.status == "RUNNING", in_range))
        .group_by(JobExecution.node_id, JobExecution.status, category)
        .order_by(JobExecution.node_id, JobExecution.status, category)
    ).all()
    found: dict[int, list[JobCount]] = {}
    for node_id, status, count, latest, of_category in rows:
        found.setdefault(node_id, []).append(JobCount(status, count, latest, of_category))
    return found


def _running(session: Session, node_ids: Sequence[int]) -> dict[int, list[JobExecution]]:
    query = (
        select(JobExecution)
        .where(among(JobExecution.node_id, node_ids), JobExecution.status == "RUNNING")
        .order_by(JobExecution.started, JobExecution.id)
        .options(*EXECUTION_FORM)
    )
    found: dict[int, list[JobExecution]] = {}
    for execution in session.scalars(query):
        found.setdefault(execution.node_id or 0, []).append(execution)
    return found
