# SPDX-License-Identifier: Apache-2.0
"""Source files that move within their workspace because a job that parsed them says where they belong.

The transaction that completes the job records the move. A node agent gives the file its second name; then
the row names that, and once nothing that was told of the old place runs any more, an agent removes the file
there (:mod:`scale_airflow.services.file_duties`). At every moment the file lies where its row says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.services.file_paths import candidates, lock_paths, owned_paths
from scale_airflow.store.models import FileDuty, ScaleFile, utcnow
from scale_airflow.workspaces.confined import split

GRACE = timedelta(seconds=30)
"""How long an old place stays at least: who has just been told of it must be known to run by then."""


def plan_moves(session: Session, wanted: Sequence[tuple[ScaleFile, str]], node_id: int | None) -> list[str]:
    """Record that source files are to move.

    :param wanted: files, locked, each with its new directory in its workspace.
    :param node_id: the node that is asked first to do it: it sees the workspaces.
    :returns: a sentence for each file that stays where it is.
    """
    warnings = []
    for file, folder in sorted(wanted, key=lambda pair: (pair[0].workspace_id, pair[0].id)):
        if file.is_deleted:
            continue
        if not file.workspace.is_move_enabled:
            warnings.append(
                f"{file.file_name} is not moved to {folder!r}: the workspace {file.workspace.name} does not "
                "let its files be moved"
            )
        elif not _plan(session, file, folder, node_id):
            warnings.append(f"{file.file_name} is not moved to {folder!r}: other files have all its paths")
    return warnings


def _plan(session: Session, file: ScaleFile, folder: str, node_id: int | None) -> bool:
    places = candidates("/".join(split(folder)), file.file_name, file.checksum or file.uuid)
    pending = session.scalars(
        select(FileDuty)
        .where(FileDuty.kind == "MOVE", FileDuty.file_id == file.id)
        .with_for_update(of=FileDuty)
    ).one_or_none()
    if pending is not None and pending.target in places:
        return True
    if pending is not None:
        give_up_move(pending)
        session.flush()
    if file.file_path in places:
        return True
    lock_paths(session, file.workspace_id)
    target = free_place(session, file.workspace_id, places)
    if target is None:
        return False
    session.add(
        FileDuty(
            kind="MOVE",
            workspace_id=file.workspace_id,
            path=file.file_path,
            target=target,
            file_id=file.id,
            node_id=node_id,
        )
    )
    session.flush()
    return True


def free_place(session: Session, workspace_id: int, places: Sequence[str]) -> str | None:
    """Return the first of the places that nobody has; the caller holds the workspace's paths."""
    owned = owned_paths(session, workspace_id, places)
    return next((place for place in places if place not in owned), None)


def give_up_move(duty: FileDuty) -> None:
    """Turn a locked move into the removal of what may lie at its target already.

    An agent may be at it: its word no longer counts, and the removal waits until it must be through.
    """
    assert duty.target is not None
    duty.kind, duty.path, duty.target = "REMOVE", duty.target, None
    duty.not_before = max(utcnow() + GRACE, duty.held_until or utcnow())
    duty.created = utcnow()
    duty.holder, duty.held_until, duty.tries, duty.message = None, None, 0, None
