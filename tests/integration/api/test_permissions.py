# SPDX-License-Identifier: Apache-2.0
"""FAB's roles get Scale's permissions, once, whatever else they have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from scale_airflow.api_plugin.permissions import RESOURCES, sync_permissions


@pytest.fixture
def models(api_server: Any) -> Any:
    from airflow.providers.fab.auth_manager import models

    return models


def granted(session: Session, models: Any, role: str) -> set[tuple[str, str]]:
    session.expire_all()
    found = session.scalars(select(models.Role).where(models.Role.name == role)).unique().one()
    return {
        (each.action.name, each.resource.name)
        for each in found.permissions
        if each.resource.name.startswith("Scale ")
    }


def test_roles(session: Session, models: Any) -> None:
    every = {
        (action, resource)
        for action in ("can_read", "can_create", "can_edit", "can_delete")
        for resource in RESOURCES
    }
    reading = {("can_read", resource) for resource in RESOURCES if resource != "Scale Privileged Containers"}
    for role in ("Admin", "Op"):
        assert granted(session, models, role) == every
    for role in ("Viewer", "User"):
        assert granted(session, models, role) == reading
    assert granted(session, models, "Public") == set()


def test_again_changes_nothing(session: Session, models: Any) -> None:
    assert sync_permissions() == 0


@pytest.fixture
def public(session: Session, models: Any) -> Iterator[Any]:
    role = session.scalars(select(models.Role).where(models.Role.name == "Public")).unique().one()
    yield role
    role.permissions.clear()
    session.commit()


def test_an_administrators_own_grants_stay(session: Session, models: Any, public: Any) -> None:
    op = session.scalars(select(models.Role).where(models.Role.name == "Op")).unique().one()
    mine = next(each for each in op.permissions if each.resource.name == "Scale Jobs")
    public.permissions.append(mine)
    op.permissions.remove(mine)
    session.commit()
    assert sync_permissions() == 1
    assert len(granted(session, models, "Public")) == 1
    assert len(granted(session, models, "Op")) == 4 * len(RESOURCES)


def test_a_start_at_which_all_is_there_asks_little(session: Session, models: Any) -> None:
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    sync_permissions()
    engine = session.get_bind().engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        assert sync_permissions() == 0
    finally:
        event.remove(engine, "before_cursor_execute", note)
    # Every API server does so when it starts, and the next one waits for it.
    assert 0 < len(asked) < 12, asked
