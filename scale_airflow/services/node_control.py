# SPDX-License-Identifier: Apache-2.0
"""Nodes as people see and change them: list, details, pause, deactivation (specification: Node Services)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.definitions.faults import quote
from scale_airflow.errors import Fault, InvalidRequest
from scale_airflow.services.admission import Used, is_online, used_of
from scale_airflow.services.dispatch import wake
from scale_airflow.services.listing import Found, Window, fetch, order_fields, within
from scale_airflow.services.lookup import by_id, lock_name
from scale_airflow.services.work_lists import EXECUTION_FORM
from scale_airflow.store.models import JobExecution, Node, utcnow

NODE_FIELDS = order_fields(
    "id",
    "hostname",
    "port",
    "slave_id",
    "pause_reason",
    "is_paused",
    "is_paused_errors",
    "is_active",
    "archived",
    "created",
    "last_offer",
    "last_modified",
)
LONGEST_HOSTNAME = 255
"""Characters of a node's hostname, which is not blank."""

HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class NodeDetails:
    """A node and what its details show.

    :param is_connected: whether its agent has been heard of lately; always for one that is not active, of
        which nobody expects it.
    :param scheduled: what its running and reserved executions hold.
    :param executions: what runs there, the oldest first.
    """

    node: Node
    is_connected: bool
    scheduled: Used
    executions: Sequence[JobExecution]


def list_nodes(session: Session, window: Window, *, include_inactive: bool = False) -> Found[Node]:
    """Return a page of the nodes; the window's range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    statement = within(select(Node), Node.last_modified, window)
    if not include_inactive:
        statement = statement.where(Node.is_active)
    return fetch(session, statement, window, fields=NODE_FIELDS, default=("last_modified",))


def node_details(session: Session, node_id: int, settings: Settings) -> NodeDetails:
    """Return a node with what runs on it.

    :raises NotFound: if there is no such node.
    """
    node = by_id(session, Node, node_id, "node")
    executions = session.scalars(
        select(JobExecution)
        .where(JobExecution.node_id == node.id, JobExecution.status == "RUNNING")
        .order_by(JobExecution.started, JobExecution.id)
        .options(*EXECUTION_FORM)
    ).all()
    is_connected = not node.is_active or is_online(node, settings)
    return NodeDetails(node, is_connected, used_of(session, node), executions)


def change_node(session: Session, node_id: int, changes: Mapping[str, Any]) -> Node:
    """Change ``hostname``, ``port``, ``pause_reason``, ``is_paused`` or ``is_active`` of a node.

    A pause lets running work go on and nothing new start. What an administrator decides about it overrides
    the automatic pause after errors. The next beat of the node's agent sets ``hostname`` and ``port`` again.

    :param changes: values of the right kinds, which are within the limits of this module.
    :raises NotFound: if there is no such node.
    :raises InvalidRequest: if another active node has the hostname.
    """
    lock_name(session, "nodes")
    node = by_id(session, Node, node_id, "node", lock=True)
    _require_one_of_its_name(session, node, changes)
    for name, value in changes.items():
        setattr(node, name, value)
    if "is_paused" in changes:
        node.is_paused_errors = False
    if not node.is_paused:
        node.pause_reason = None
    if node.is_active:
        node.archived = None
    elif node.archived is None:
        node.archived = utcnow()
    session.flush()
    wake(session)
    return node


def _require_one_of_its_name(session: Session, node: Node, changes: Mapping[str, Any]) -> None:
    hostname = changes.get("hostname", node.hostname)
    if not changes.get("is_active", node.is_active):
        return
    same_name = Node.hostname == hostname, Node.is_active, Node.id != node.id
    other = session.scalar(select(Node.id).where(*same_name))
    if other is not None:
        place = "/hostname" if "hostname" in changes else "/is_active"
        message = (
            f"The node {other} is active and has the hostname {quote(hostname)}: "
            "take it out of service first, or name another hostname."
        )
        raise InvalidRequest(message, [Fault(place, message)])
