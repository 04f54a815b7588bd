# SPDX-License-Identifier: Apache-2.0
"""Workspaces: made, changed, archived; a directory that this host lacks is a warning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scale_airflow.config import settings
from scale_airflow.definitions.workspace_document import WorkspaceDocument
from scale_airflow.errors import InvalidDocument, NotFound
from scale_airflow.services import workspaces

from .documents import workspace

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@pytest.fixture
def directory() -> Path:
    """A directory below an allowed root."""
    (root,) = settings().allowed_roots
    made = root / "workspace"
    made.mkdir(parents=True, exist_ok=True)
    return made


def test_create_in_an_allowed_directory(session: Session, directory: Path) -> None:
    made, warnings = workspaces.create_workspace(session, workspace(directory=str(directory)))
    assert warnings == []
    assert (made.name, made.title, made.is_active, made.archived) == ("products", "Products", True, None)
    assert made.is_move_enabled
    assert made.used_size is None


def test_directory_elsewhere_is_a_warning(session: Session, directory: Path) -> None:
    _, warnings = workspaces.create_workspace(session, workspace())
    assert [warning.id for warning in warnings] == ["directory"]
    assert "/nowhere/at/all" in warnings[0].details
    warnings = workspaces.validate_workspace(session, workspace("other", "/usr"))
    assert "allowed_roots" in warnings[0].details


def test_name_exists(session: Session) -> None:
    workspaces.create_workspace(session, workspace())
    with pytest.raises(InvalidDocument, match="already"):
        workspaces.create_workspace(session, workspace())


def test_edit(session: Session, directory: Path) -> None:
    made, _ = workspaces.create_workspace(session, workspace(directory=str(directory)))
    edited, warnings = workspaces.edit_workspace(
        session, made.id, {"title": "New", "base_url": "http://host/products", "is_active": False}
    )
    assert warnings == []
    assert (edited.title, edited.base_url, edited.is_active) == ("New", "http://host/products", False)
    assert edited.archived is not None
    back, _ = workspaces.edit_workspace(session, made.id, {"is_active": True, "base_url": ""})
    assert (back.archived, back.base_url) == (None, None)
    with pytest.raises(InvalidDocument, match="name"):
        workspaces.edit_workspace(session, made.id, {"name": "other"})
    with pytest.raises(NotFound):
        workspaces.edit_workspace(session, 2**70, {})


@pytest.mark.parametrize(
    "url", ["javascript://%0aalert(1)", "data:text/html,x", "//host/x", "host", "/x", "http:", "http://[x"]
)
def test_base_url_is_an_address_of_the_web(session: Session, url: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        workspaces.create_workspace(session, {**workspace(), "base_url": url, "more": 1})
    assert [fault.path for fault in caught.value.faults] == ["/base_url", "/more"]


def test_ensure_is_repeatable(session: Session) -> None:
    same = WorkspaceDocument.parse(workspace())
    other = WorkspaceDocument.parse({**workspace(), "title": "Other"})
    outcomes = [workspaces.ensure_workspace(session, each).outcome for each in (same, same, other)]
    assert outcomes == ["created", "unchanged", "updated"]
