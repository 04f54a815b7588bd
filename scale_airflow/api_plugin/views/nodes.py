# SPDX-License-Identifier: Apache-2.0
"""Nodes as answers show them (specification: Node Services)."""

from __future__ import annotations

from typing import Any

from scale_airflow.api_plugin.views.moments import moment
from scale_airflow.store.models import Node

JsonObject = dict[str, Any]


def node_brief(row: Node | None) -> JsonObject | None:
    """Show a node inside of something else; None where nothing has run yet."""
    if row is None:
        return None
    return {"id": row.id, "hostname": row.hostname, "port": row.port, "slave_id": row.slave_id}


def node(row: Node) -> JsonObject:
    """Show a node in a list of nodes, or in the details of what ran on it."""
    return {
        "id": row.id,
        "hostname": row.hostname,
        "port": row.port,
        "slave_id": row.slave_id,
        "pause_reason": row.pause_reason,
        "is_paused": row.is_paused,
        "is_paused_errors": row.is_paused_errors,
        "is_active": row.is_active,
        "archived": moment(row.archived),
        "created": moment(row.created),
        "last_offer": moment(row.last_offer),
        "last_modified": moment(row.last_modified),
    }
