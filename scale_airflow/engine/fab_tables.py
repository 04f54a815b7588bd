# SPDX-License-Identifier: Apache-2.0
"""The tables of the FAB auth manager: its users, its roles, and the permissions that these have.

By ids where many rows are looked at: FAB's classes load every permission of a role, and of its roles, with
each role that is looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

# Any 64-bit number of our own: one API server at a time writes the permissions.
_LOCK = 0x5CA1E_A11

Grants = Mapping[tuple[str, str], Collection[str]]
"""The roles that get a permission, by its action and its resource."""


def user_id_of(session: Session, username: str) -> int | None:
    """Return the id of the user with this name; None if there is none."""
    from airflow.providers.fab.auth_manager.models import User

    return session.scalar(select(User.id).where(User.username == username))


def permissions_of(session: Session, role: str) -> frozenset[tuple[str, str]]:
    """Return what a role may do, as pairs of action and resource; nothing for a role that there is not."""
    from airflow.providers.fab.auth_manager.models import Role

    found = session.scalars(select(Role).where(Role.name == role)).unique().first()
    return frozenset((each.action.name, each.resource.name) for each in (found.permissions if found else ()))


def grant(session: Session, wanted: Grants) -> int:
    """Create permissions, and give them to the roles that there are; what is there already is left alone.

    :return: how many permissions and grants were added.
    """
    return _Grant(session).run(wanted)


class _Grant:
    """One pass over the tables, in the caller's transaction."""

    def __init__(self, session: Session):
        from airflow.providers.fab.auth_manager import models

        self.session = session
        self.models: Any = models

    def run(self, wanted: Grants) -> int:
        self.session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        actions = self._ids(self.models.Action, dict.fromkeys(action for action, _ in wanted))
        resources = self._ids(self.models.Resource, dict.fromkeys(resource for _, resource in wanted))
        permissions, made = self._permissions(actions.values(), resources.values())
        roles = self._roles({role for names in wanted.values() for role in names})
        pairs = {
            (permissions[actions[action], resources[resource]], roles[role])
            for (action, resource), names in wanted.items()
            for role in names
            if role in roles
        }
        return made + self._give(pairs, roles.values())

    def _ids(self, model: Any, names: Iterable[str]) -> dict[str, int]:
        """Return the ids of all rows with these names; those that are missing are made."""
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

    def _roles(self, names: Collection[str]) -> dict[str, int]:
        model = self.models.Role
        return dict(self.session.execute(select(model.name, model.id).where(model.name.in_(names))).all())

    def _give(self, wanted: set[tuple[int, int]], roles: Collection[int]) -> int:
        """Give permissions to roles; return how many there were to give."""
        table = self.models.assoc_permission_role
        granted = select(table.c.permission_view_id, table.c.role_id).where(table.c.role_id.in_(roles))
        missing = sorted(wanted - {(row[0], row[1]) for row in self.session.execute(granted)})
        if missing:
            rows = [{"permission_view_id": permission, "role_id": role} for permission, role in missing]
            self.session.execute(insert(table), rows)
        return len(missing)
