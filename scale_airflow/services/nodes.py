# SPDX-License-Identifier: Apache-2.0
"""Nodes: worker hosts as their agents report them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.execution.order import NodeAnswer, NodeBeat
from scale_airflow.services.executions import lose_execution
from scale_airflow.store.models import JobExecution, Node, utcnow

_BIGGEST_ID = 2**63 - 1


def beat(session: Session, report: NodeBeat, settings: Settings) -> NodeAnswer:
    """Record that a host's agent is alive and what it sees; say what is to be killed and forgotten there."""
    node = _node_of(session, report)
    # Locks are taken in one order everywhere: recipe, job, execution, and the node last.
    _end_what_is_gone(session, node, set(report.executions))
    node.hostname, node.port = report.hostname, report.port
    node.cpus, node.mem_mib, node.disk_mib = report.cpus, report.mem_mib, report.disk_mib
    node.last_offer = utcnow()
    seen = _known(session, {*report.executions, *report.work_dir_executions})
    stop = tuple(number for number in report.executions if not _may_run(seen.get(number), node))
    forget = tuple(
        number
        for number in report.work_dir_executions
        if number not in report.executions and not _is_unfinished(seen.get(number))
    )
    session.flush()
    return NodeAnswer(node_id=node.id, stop=stop, forget=forget, interval=settings.agent_beat_interval)


def _node_of(session: Session, report: NodeBeat) -> Node:
    node = session.scalars(select(Node).where(Node.slave_id == report.agent_id)).one_or_none()
    if node is None:
        # The host is known but its agent lost its id (a new work folder): it is still that node.
        node = session.scalars(
            select(Node).where(Node.hostname == report.hostname, Node.is_active)
        ).one_or_none()
    if node is None:
        node = Node(slave_id=report.agent_id, hostname=report.hostname, port=report.port)
        session.add(node)
        session.flush()
    node.slave_id = report.agent_id
    return node


def _known(session: Session, ids: Iterable[int]) -> dict[int, JobExecution]:
    wanted = [number for number in ids if 0 < number <= _BIGGEST_ID]
    if not wanted:
        return {}
    found = session.scalars(select(JobExecution).where(JobExecution.id.in_(wanted)))
    return {execution.id: execution for execution in found}


def _may_run(execution: JobExecution | None, node: Node) -> bool:
    return (
        execution is not None
        and execution.status == "RUNNING"
        and execution.stop_requested is None
        and execution.node_id == node.id
    )


def _is_unfinished(execution: JobExecution | None) -> bool:
    return execution is not None and execution.status in ("QUEUED", "RUNNING")


def _end_what_is_gone(session: Session, node: Node, present: set[int]) -> None:
    """An execution that was to be stopped here, because its try has moved on, and is gone: it is over."""
    stopping = session.scalars(
        select(JobExecution).where(
            JobExecution.node_id == node.id,
            JobExecution.status == "RUNNING",
            JobExecution.stop_requested.is_not(None),
        )
    ).all()
    for execution in stopping:
        if execution.id not in present:
            lose_execution(session, execution, "Its worker died; what it left on the node was removed.")
