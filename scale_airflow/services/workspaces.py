# SPDX-License-Identifier: Apache-2.0
"""Workspaces: where source and product files are stored (specification: Workspace Services)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.config import settings
from scale_airflow.definitions.faults import quote
from scale_airflow.definitions.workspace_configuration import WorkspaceConfiguration
from scale_airflow.definitions.workspace_document import WorkspaceDocument
from scale_airflow.errors import DocumentWarning, Fault, InvalidDocument, WorkspaceError
from scale_airflow.services.lookup import by_id, lock_name
from scale_airflow.services.stored import Stored, outcome_of
from scale_airflow.store.models import Workspace, utcnow
from scale_airflow.workspaces.mounts import broker_for


def get_workspace(session: Session, workspace_id: int) -> Workspace:
    """Return a workspace.

    :raises NotFound: if there is none with this id.
    """
    return by_id(session, Workspace, workspace_id, "workspace")


def find_workspace(session: Session, name: str) -> Workspace | None:
    """Return the workspace with this name, if there is one."""
    return session.scalar(select(Workspace).where(Workspace.name == name))


def create_workspace(session: Session, document: object) -> tuple[Workspace, list[DocumentWarning]]:
    """Make a workspace.

    A directory that is not there, or not allowed, on this host is a warning: it may be on the workers.

    :raises InvalidDocument: with every fault; also if the name exists.
    """
    parsed = WorkspaceDocument.parse(document)
    lock_name(session, "workspace", parsed.name)
    if find_workspace(session, parsed.name) is not None:
        message = f"There is a workspace {quote(parsed.name)} already."
        raise InvalidDocument("workspace", [Fault("/name", message, "workspace.exists")])
    return _create(session, parsed)


def edit_workspace(
    session: Session, workspace_id: int, document: object
) -> tuple[Workspace, list[DocumentWarning]]:
    """Change a workspace; ``is_active`` false archives it.

    :raises NotFound: if there is none with this id.
    :raises InvalidDocument: with every fault.
    """
    workspace = by_id(session, Workspace, workspace_id, "workspace", lock=True)
    _, warnings = _change(session, workspace, WorkspaceDocument.parse_changes(document))
    return workspace, warnings


def ensure_workspace(session: Session, document: WorkspaceDocument) -> Stored[Workspace]:
    """Make the workspace that a set-up document describes, or make the existing one like it."""
    lock_name(session, "workspace", document.name)
    existing = find_workspace(session, document.name)
    if existing is None:
        workspace, warnings = _create(session, document)
        return Stored(workspace, "created", warnings)
    has_changed, warnings = _change(session, existing, document)
    return Stored(existing, outcome_of(is_new=False, has_changed=has_changed), warnings)


def validate_workspace(session: Session, document: object) -> list[DocumentWarning]:
    """Check a document for a workspace that may exist already; nothing is kept.

    :raises InvalidDocument: with every fault.
    """
    parsed = WorkspaceDocument.parse(document)
    assert parsed.json_config is not None
    return check_directory(parsed.json_config)


def check_directory(configuration: WorkspaceConfiguration) -> list[DocumentWarning]:
    """Return a warning if this host can't use a workspace's directory."""
    current = settings()
    try:
        broker_for(configuration, mounts=current.mounts, allowed_roots=current.allowed_roots)
    except WorkspaceError as error:
        return [DocumentWarning("directory", str(error))]
    return []


def _create(session: Session, parsed: WorkspaceDocument) -> tuple[Workspace, list[DocumentWarning]]:
    assert parsed.json_config is not None
    workspace = Workspace(
        name=parsed.name, json_config=dict(parsed.json_config.document), **_without_empty(parsed.values)
    )
    if not workspace.is_active:
        workspace.archived = utcnow()
    session.add(workspace)
    session.flush()
    return workspace, check_directory(parsed.json_config)


def _change(
    session: Session, workspace: Workspace, parsed: WorkspaceDocument
) -> tuple[bool, list[DocumentWarning]]:
    """Make a workspace what the document says; return whether that changed anything, and warnings."""
    wanted = _without_empty(parsed.values)
    if parsed.json_config is not None:
        wanted["json_config"] = dict(parsed.json_config.document)
    changed = {name: value for name, value in wanted.items() if getattr(workspace, name) != value}
    for name, value in changed.items():
        setattr(workspace, name, value)
    if "json_config" in changed:
        workspace.used_size = workspace.total_size = None  # those of another place
    if "is_active" in changed:
        workspace.archived = None if workspace.is_active else utcnow()
    session.flush()
    return bool(changed), [] if parsed.json_config is None else check_directory(parsed.json_config)


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """A workspace that is not reachable over the web has no base URL: an empty one means the same."""
    return {**values, **({"base_url": values["base_url"] or None} if "base_url" in values else {})}
