# SPDX-License-Identifier: Apache-2.0
"""Which places in workspaces are free: no file's row, no ingest under way and no duty has them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from scale_airflow.services.lookup import lock_name
from scale_airflow.store.models import FileDuty, Ingest, ScaleFile

PREFIXES = (8, 16, 64)
"""How many digits of the content's checksum become a folder where a path is taken by other content."""


def lock_paths(session: Session, workspace_id: int) -> None:
    """Let nobody else choose paths in a workspace until the end of the transaction."""
    lock_name(session, "workspace paths", str(workspace_id))


def candidates(folder: str, file_name: str, checksum: str) -> list[str]:
    """Return the paths that a file may have in a folder: the plain one, and those named by its content.

    :param folder: may be one of the latter already.
    """
    place = PurePosixPath(folder)
    if place.name in [checksum[:length] for length in PREFIXES]:
        place = place.parent
    return [str(place / file_name)] + [str(place / checksum[:length] / file_name) for length in PREFIXES]


def owned_paths(session: Session, workspace_id: int, paths: Collection[str]) -> set[str]:
    """Return those of the paths that a file's row names, an ingest stores to, or a duty is about."""
    wanted = list(paths)
    if not wanted:
        return set()
    return set(
        session.scalars(
            union_all(
                select(ScaleFile.file_path).where(
                    ScaleFile.workspace_id == workspace_id, ScaleFile.file_path.in_(wanted)
                ),
                select(Ingest.file_path).where(
                    Ingest.workspace_id == workspace_id,
                    Ingest.status == "INGESTING",
                    Ingest.file_path.in_(wanted),
                ),
                select(FileDuty.target).where(
                    FileDuty.workspace_id == workspace_id, FileDuty.target.in_(wanted)
                ),
                select(FileDuty.path).where(
                    FileDuty.workspace_id == workspace_id,
                    FileDuty.kind != "SWEEP",
                    FileDuty.path.in_(wanted),
                ),
            )
        )
    )
