# SPDX-License-Identifier: Apache-2.0
"""Are the directories of workspaces and Strike processes there on this host, and allowed?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.definitions.strike_configuration import StrikeConfiguration
from scale_airflow.errors import InvalidDocument, WorkspaceError
from scale_airflow.services.findings import Finding
from scale_airflow.store.models import Strike, Workspace
from scale_airflow.workspaces.mounts import broker_for, local_directory, resolve

Places = Mapping[str, Mapping[str, Any]]
_REMEDY = "Mount it, name where it is in [scale] mounts, or add it to [scale] allowed_roots."


def places_of(session: Session) -> dict[str, dict[str, Any]]:
    """Return the configurations of active ``workspaces`` and ``strikes`` by name, as JSON-ready documents."""
    workspaces = select(Workspace.name, Workspace.json_config).where(Workspace.is_active)
    strikes = select(Strike.name, Strike.configuration).where(Strike.is_active)
    return {
        "workspaces": {row[0]: row[1] for row in session.execute(workspaces.order_by(Workspace.name))},
        "strikes": {row[0]: row[1] for row in session.execute(strikes.order_by(Strike.name))},
    }


def check_places(places: Places, current: Settings) -> list[Finding]:
    """Each workspace's and Strike process's directory is there, and allowed (see :func:`places_of`)."""
    found = []
    for name, configuration in places["workspaces"].items():
        try:
            broker_for(configuration, mounts=current.mounts, allowed_roots=current.allowed_roots)
        except (WorkspaceError, InvalidDocument) as error:
            found.append(Finding("warning", f"workspace {name}", str(error), _REMEDY))
        else:
            found.append(Finding("ok", f"workspace {name}", "Its directory is there."))
    for name, configuration in places["strikes"].items():
        try:
            mount = StrikeConfiguration.parse(configuration).mount
            resolve(local_directory(mount, current.mounts), current.allowed_roots)
        except (WorkspaceError, InvalidDocument) as error:
            found.append(Finding("warning", f"Strike process {name}", str(error), _REMEDY))
        else:
            found.append(Finding("ok", f"Strike process {name}", "Its directory is there."))
    return found
