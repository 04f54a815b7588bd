# SPDX-License-Identifier: Apache-2.0
"""Which permissions this API asks for, and how roles of FAB (flask-appbuilder) get them."""

from __future__ import annotations

import itertools
from typing import Literal

from scale_airflow.engine import fab_tables
from scale_airflow.store.session import transaction

Method = Literal["GET", "POST", "PUT", "DELETE"]

RESOURCES: tuple[str, ...] = (
    "Scale Configuration",
    "Scale Errors",
    "Scale Ingests",
    "Scale Job Types",
    "Scale Jobs",
    "Scale Metrics",
    "Scale Nodes",
    "Scale Privileged Containers",
    "Scale Products",
    "Scale Queue",
    "Scale Recipe Types",
    "Scale Recipes",
    "Scale Scheduler",
    "Scale Sources",
    "Scale Status",
    "Scale Strikes",
    "Scale Workspaces",
)
"""What a permission may be about. A permission is a method on one of these."""

_ACTIONS: dict[Method, str] = {
    "GET": "can_read",
    "POST": "can_create",
    "PUT": "can_edit",
    "DELETE": "can_delete",
}

CHANGING_ROLES = ("Admin", "Op")
READING_ROLES = ("Viewer", "User")


def action(method: Method) -> str:
    """Return FAB's name for what a method does, e.g. ``can_read`` for GET."""
    return _ACTIONS[method]


def sync_permissions() -> int:
    """Create the permissions in FAB's tables and give them to the roles that ship with Airflow.

    Admin and Op may do everything, User and Viewer read. What an administrator has given to other roles
    stays; what is there already is left alone.

    :return: how many permissions and grants were added.
    """
    with transaction(point="permissions.sync") as session:
        return fab_tables.grant(session, _wanted())


def _wanted() -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the roles that get each permission."""
    wanted = {}
    for method, resource in itertools.product(_ACTIONS, RESOURCES):
        reads = method == "GET" and resource != "Scale Privileged Containers"
        wanted[action(method), resource] = (*CHANGING_ROLES, *(READING_ROLES if reads else ()))
    return wanted
