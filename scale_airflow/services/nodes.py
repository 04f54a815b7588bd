# SPDX-License-Identifier: Apache-2.0
"""Nodes: worker hosts as their agents report them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.errors import Conflict
from scale_airflow.execution.order import NodeAnswer, NodeBeat
from scale_airflow.services.admission import is_online
from scale_airflow.services.executions import lose_execution
from scale_airflow.services.locks import lock_execution, try_lock_job
from scale_airflow.services.lookup import MAX_ID, lock_name
from scale_airflow.store.models import JobExecution, Node, utcnow


def beat(session: Session, report: NodeBeat, settings: Settings) -> NodeAnswer:
    """Record that a host's agent is alive and what it sees; say what is to be killed and forgotten there.

    :raises Conflict: if another agent, which is alive, has the same host's name or the same id.
    """
    node = _node_of(session, report, settings)
    # Locks are taken in one order everywhere: recipe, job, execution, and the node last.
    _end_what_is_gone(session, node, set(report.executions))
    node.hostname, node.port = report.hostname, report.port
    node.cpus, node.mem_mib, node.disk_mib = report.cpus, report.mem_mib, report.disk_mib
    node.gpus, node.agent_run = report.gpus, report.run
    node.last_offer = utcnow()
    node.stopped = node.last_offer if report.is_leaving else None
    seen = _known(session, {*report.executions, *report.work_dir_executions})
    stop = tuple(number for number in report.executions if not _may_run(seen.get(number), node))
    forget = tuple(
        number
        for number in report.work_dir_executions
        if number not in report.executions and not _is_unfinished(seen.get(number))
    )
    session.flush()
    return NodeAnswer(node_id=node.id, stop=stop, forget=forget, interval=settings.agent_beat_interval)


def _node_of(session: Session, report: NodeBeat, settings: Settings) -> Node:
    node = _agents_node(session, report)
    if node is not None and node.hostname == report.hostname:
        return node
    lock_name(session, "nodes")
    node = _agents_node(session, report)
    if node is not None and node.agent_run != report.run and is_online(node, settings):
        raise Conflict(
            f"The agent {report.agent_id} beats on the host {node.hostname} too. If {report.hostname} is a "
            "copy of it, or shares its [scale] work_dir, give it one of its own without the file agent_id. "
            "If the host was renamed, this name counts some seconds after the last beat under the old one."
        )
    if node is not None and not node.is_active:
        return node
    namesake = session.scalars(
        select(Node).where(Node.hostname == report.hostname, Node.is_active, Node.slave_id != report.agent_id)
    ).one_or_none()
    if namesake is not None and is_online(namesake, settings):
        raise Conflict(
            f"The agent {namesake.slave_id} speaks for the host {report.hostname} already. Run one agent a "
            "host; hosts need different names. An agent that was replaced is forgotten after some seconds."
        )
    if node is not None and namesake is not None:
        # This host has taken the name of one that is gone.
        namesake.is_active, namesake.archived = False, utcnow()
        session.flush()
    elif node is None and namesake is not None:
        # The host is known but its agent lost its id (a new work folder): it is still that node.
        node = namesake
        node.slave_id = report.agent_id
    elif node is None:
        node = Node(slave_id=report.agent_id, hostname=report.hostname, port=report.port)
        session.add(node)
        session.flush()
    assert node is not None
    return node


def _agents_node(session: Session, report: NodeBeat) -> Node | None:
    return session.scalars(
        select(Node).where(Node.slave_id == report.agent_id).execution_options(populate_existing=True)
    ).one_or_none()


def _known(session: Session, ids: Iterable[int]) -> dict[int, JobExecution]:
    wanted = [number for number in ids if 0 < number <= MAX_ID]
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
    """An execution that was to be stopped here, because its try has moved on, and is gone: it is over.

    One whose job somebody else is at is left for the next beat.
    """
    stopping = session.execute(
        select(JobExecution.id, JobExecution.job_id).where(
            JobExecution.node_id == node.id,
            JobExecution.status == "RUNNING",
            JobExecution.stop_requested.is_not(None),
        )
    ).all()
    for row in stopping:
        job = try_lock_job(session, row.job_id) if row.id not in present else None
        execution = lock_execution(session, row.id) if job is not None else None
        if job is None or execution is None or execution.status != "RUNNING":
            continue
        lose_execution(session, job, execution, "Its worker died; what it left on the node was removed.")
