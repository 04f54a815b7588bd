# SPDX-License-Identifier: Apache-2.0
"""Which permissions this API asks for, and how roles of FAB (flask-appbuilder) get them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

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

# Any 64-bit number of our own: one API server at a time writes the permissions.
_LOCK = 0x5CA1E_A11


def action(method: Method) -> str:
    """Return FAB's name for what a method does, e.g. ``can_read`` for GET."""
    return _ACTIONS[method]


def sync_permissions() -> int:
    """Create the permissions in FAB's tables and give them to the roles that ship with Airflow.

    Admin and Op may do everything, User and Viewer read. What an administrator has given to other roles
    stays; what is there already is left alone.

    :return: how many permissions and grants were added.
    """
    from scale_airflow.store.session import transaction

    with transaction(point="permissions.sync") as session:
        return _Sync(session).run()


class _Sync:
    """One pass over FAB's tables, in the caller's transaction.

    By ids: FAB's classes load every permission of a role, and of its roles, with each role that is looked at.
    """

    def __init__(self, session: Any):
        from airflow.providers.fab.auth_manager import models

        self.session = session
        self.models = models

    def run(self) -> int:
        from sqlalchemy import func, select

        self.session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        actions = self._ids(self.models.Action, _ACTIONS.values())
        resources = self._ids(self.models.Resource, RESOURCES)
        permissions, made = self._permissions(actions.values(), resources.values())
        changing, reading = self._roles(CHANGING_ROLES), self._roles(READING_ROLES)
        wanted = {(permission, role) for permission in permissions.values() for role in changing}
        for name, resource in resources.items():
            if name != "Scale Privileged Containers":
                wanted |= {(permissions[actions["can_read"], resource], role) for role in reading}
        return made + self._grant(wanted, {*changing, *reading})

    def _ids(self, model: Any, names: Iterable[str]) -> dict[str, int]:
        """Return the ids of all rows with these names; those that are missing are made."""
        from sqlalchemy import insert, select

        names = list(names)
        found = dict(self.session.execute(select(model.name, model.id).where(model.name.in_(names))).all())
        for name in names:
            if name not in found:
                made = insert(model).values(name=name).returning(model.id)
                found[name] = self.session.execute(made).scalar_one()
        return found

    def _permissions(
        self, actions: Collection[int], resources: Collection[int]
    ) -> tuple[dict[tuple[int, int], int], int]:
        """Return the ids of the permissions by action and resource, and how many had to be made."""
        from sqlalchemy import insert, select

        model = self.models.Permission
        rows = self.session.execute(
            select(model.action_id, model.resource_id, model.id).where(
                model.action_id.in_(actions), model.resource_id.in_(resources)
            )
        )
        found = {(action_id, resource_id): number for action_id, resource_id, number in rows}
        missing = [pair for pair in itertools.product(actions, resources) if pair not in found]
        for pair in missing:
            made = insert(model).values(action_id=pair[0], resource_id=pair[1]).returning(model.id)
            found[pair] = self.session.execute(made).scalar_one()
        return found, len(missing)

    def _roles(self, names: Sequence[str]) -> list[int]:
        from sqlalchemy import select

        model = self.models.Role
        return list(self.session.scalars(select(model.id).where(model.name.in_(names))))

    def _grant(self, wanted: set[tuple[int, int]], roles: Collection[int]) -> int:
        """Give permissions to roles; return how many there were to give."""
        from sqlalchemy import insert, select

        table = self.models.assoc_permission_role
        granted = select(table.c.permission_view_id, table.c.role_id).where(table.c.role_id.in_(roles))
        missing = sorted(wanted - {(row[0], row[1]) for row in self.session.execute(granted)})
        if missing:
            rows = [{"permission_view_id": permission, "role_id": role} for permission, role in missing]
            self.session.execute(insert(table), rows)
        return len(missing)
