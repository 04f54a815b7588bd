# SPDX-License-Identifier: Apache-2.0
"""How full the disks of the workspaces are, as hosts that see them say (``used_size``, ``total_size``)."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from scale_airflow.execution.order import WorkspaceRef
from scale_airflow.execution.workspace_sizes import SizesReport, WorkspaceSize
from scale_airflow.services.lookup import MAX_ID
from scale_airflow.store.models import Workspace


def in_use(session: Session) -> tuple[WorkspaceRef, ...]:
    """Return the active workspaces."""
    rows = session.execute(
        select(Workspace.id, Workspace.name, Workspace.json_config)
        .where(Workspace.is_active)
        .order_by(Workspace.id)
    )
    return tuple(WorkspaceRef(row.id, row.name, row.json_config) for row in rows)


def record(session: Session, report: SizesReport) -> None:
    """Keep what a host has measured; ``last_modified`` stays, since nobody has changed the workspaces.

    Hosts that see the same workspace see the same disk: the last one is right. What can't be a size is left.
    """
    for size in sorted(filter(_is_possible, report.sizes), key=lambda each: each.workspace_id):
        session.execute(
            update(Workspace)
            .where(Workspace.id == size.workspace_id)
            .values(
                used_size=size.used_size,
                total_size=size.total_size,
                last_modified=Workspace.last_modified,
            )
            .execution_options(synchronize_session=False)
        )


def _is_possible(size: WorkspaceSize) -> bool:
    return 0 < size.workspace_id <= MAX_ID and 0 <= size.used_size <= size.total_size <= MAX_ID
