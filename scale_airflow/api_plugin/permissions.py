# SPDX-License-Identifier: Apache-2.0
"""Which permissions this API asks for, and how roles of FAB (flask-appbuilder) get them."""

from __future__ import annotations

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
    """One pass over FAB's tables, in the caller's transaction."""

    def __init__(self, session: Any):
        from airflow.providers.fab.auth_manager import models

        self.session = session
        self.models = models
        self.added = 0

    def run(self) -> int:
        from sqlalchemy import func, select

        self.session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        models = self.models
        actions = {name: self._named(models.Action, name) for name in _ACTIONS.values()}
        for resource_name in RESOURCES:
            resource = self._named(models.Resource, resource_name)
            for name, found in actions.items():
                permission = self._permission(found, resource)
                self._grant(permission, CHANGING_ROLES)
                if name == "can_read" and resource_name != "Scale Privileged Containers":
                    self._grant(permission, READING_ROLES)
        self.session.flush()
        return self.added

    def _named(self, model: Any, name: str) -> Any:
        from sqlalchemy import select

        found = self.session.scalar(select(model).where(model.name == name))
        if found is None:
            found = model(name=name)
            self.session.add(found)
            self.session.flush()
        return found

    def _permission(self, found_action: Any, resource: Any) -> Any:
        from sqlalchemy import select

        model = self.models.Permission
        statement = select(model).where(model.action_id == found_action.id, model.resource_id == resource.id)
        permission = self.session.scalar(statement)
        if permission is None:
            permission = model(action=found_action, resource=resource)
            self.session.add(permission)
            self.session.flush()
            self.added += 1
        return permission

    def _grant(self, permission: Any, role_names: tuple[str, ...]) -> None:
        from sqlalchemy import select

        model = self.models.Role
        for role in self.session.scalars(select(model).where(model.name.in_(role_names))).unique():
            if permission not in role.permissions:
                role.permissions.append(permission)
                self.added += 1
