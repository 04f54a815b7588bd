# SPDX-License-Identifier: Apache-2.0
"""Where the files of a batch go in their workspaces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session

from scale_airflow.errors import Fault, InvalidRequest
from scale_airflow.execution.ingest.messages import HashedFile, PlanAnswer, PlanRequest, StorePlan
from scale_airflow.services.file_paths import PREFIXES, lock_paths
from scale_airflow.services.ingest import lock_batch, require_running
from scale_airflow.store.models import FileDuty, Ingest, ScaleFile

_HEX = frozenset("0123456789abcdef")


def plan(session: Session, execution_id: int, request: PlanRequest) -> PlanAnswer:
    """Decide where files with these contents go.

    The same name with the same content in the same workspace is a duplicate; where other content has the
    path, the first digits of the checksum become a folder of their own.

    :raises Conflict: if the batch was taken over.
    :raises InvalidRequest: if a checksum is none.
    """
    _check(request.files)
    _, execution = lock_batch(session, execution_id)
    require_running(execution)
    ingests = {
        ingest.id: ingest
        for ingest in session.scalars(
            select(Ingest)
            .where(
                Ingest.job_id == execution.job_id,
                Ingest.id.in_([file.ingest_id for file in request.files if file.ingest_id > 0]),
                Ingest.status == "INGESTING",
            )
            .with_for_update(of=Ingest)
        )
    }
    wanted = [(ingests[file.ingest_id], file) for file in request.files if file.ingest_id in ingests]
    for workspace_id in sorted({ingest.workspace_id or 0 for ingest, _ in wanted}):
        # Two Strike processes that store into one workspace decide one after the other.
        lock_paths(session, workspace_id)
    known = _Known.load(session, wanted)
    plans = []
    for ingest, file in wanted:
        path = known.path_for(ingest, file)
        ingest.checksum = file.checksum
        if path is not None:
            ingest.file_path = path
        known.reserve(ingest)
        plans.append(StorePlan(ingest.id, path))
    session.flush()
    return PlanAnswer(tuple(plans))


@dataclass
class _Known:
    """What stands against a path: stored files, and files on their way that were planned.

    Contents are known by workspace, name and checksum, places by workspace and path.
    """

    stored: set[tuple[int, str, str]] = field(default_factory=set)
    taken: set[tuple[int, str]] = field(default_factory=set)
    planned: dict[tuple[int, str, str], str] = field(default_factory=dict)
    planned_at: dict[tuple[int, str], tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, session: Session, wanted: Sequence[tuple[Ingest, HashedFile]]) -> _Known:
        """Look up everything for a part of a batch in three queries."""
        known = cls()
        workspaces = {ingest.workspace_id for ingest, _ in wanted}
        file_names = {ingest.file_name for ingest, _ in wanted}
        same_content = select(ScaleFile.workspace_id, ScaleFile.file_name, ScaleFile.checksum).where(
            ScaleFile.kind == "SOURCE",
            ScaleFile.file_name.in_(file_names),
            ScaleFile.checksum.in_({file.checksum for _, file in wanted}),
            ScaleFile.workspace_id.in_(workspaces),
            ScaleFile.is_deleted.is_(False),
        )
        known.stored = {(row[0], row[1], row[2] or "") for row in session.execute(same_content)}
        places = {
            (ingest.workspace_id, path)
            for ingest, file in wanted
            for path in _candidates(ingest, file.checksum)
        }
        # The place of a deleted source file may be used again; that of a product has a past to keep.
        same_place = select(ScaleFile.workspace_id, ScaleFile.file_path).where(
            tuple_(ScaleFile.workspace_id, ScaleFile.file_path).in_(list(places)),
            or_(ScaleFile.is_deleted.is_(False), ScaleFile.kind == "PRODUCT"),
        )
        known.taken = {(row[0], row[1]) for row in session.execute(same_place)}
        for column in (FileDuty.path, FileDuty.target):
            # A file is moved there or away from there.
            moving = select(FileDuty.workspace_id, column).where(
                tuple_(FileDuty.workspace_id, column).in_(list(places))
            )
            known.taken |= {(row[0], row[1] or "") for row in session.execute(moving)}
        on_the_way = select(Ingest).where(
            Ingest.workspace_id.in_(workspaces),
            Ingest.file_name.in_(file_names),
            Ingest.status == "INGESTING",
            Ingest.checksum.is_not(None),
        )
        for ingest in session.scalars(on_the_way):
            known.reserve(ingest)
        return known

    def reserve(self, ingest: Ingest) -> None:
        """Remember the path of a file that is on its way."""
        if ingest.workspace_id and ingest.file_path and ingest.checksum:
            content = (ingest.workspace_id, ingest.file_name, ingest.checksum)
            self.planned.setdefault(content, ingest.file_path)
            self.planned_at.setdefault((ingest.workspace_id, ingest.file_path), (ingest.id, ingest.checksum))

    def path_for(self, ingest: Ingest, file: HashedFile) -> str | None:
        """Return where a file goes, or None if it is a duplicate."""
        workspace_id = ingest.workspace_id or 0
        content = (workspace_id, ingest.file_name, file.checksum)
        if content in self.stored:
            return None
        # The same content on its way meets at one path: who is committed second becomes the duplicate.
        meeting = self.planned.get(content)
        if meeting is not None and meeting != file.taken:
            return meeting
        for path in _candidates(ingest, file.checksum):
            owner, checksum = self.planned_at.get((workspace_id, path), (ingest.id, file.checksum))
            is_ours = owner == ingest.id or checksum == file.checksum
            if path != file.taken and is_ours and (workspace_id, path) not in self.taken:
                return path
        raise InvalidRequest(f"There is no free path for {ingest.file_name}.")


def _candidates(ingest: Ingest, checksum: str) -> list[str]:
    """Return the paths that a file may have: the dated one, and those in folders named by its content."""
    folder = PurePosixPath(ingest.file_path or "").parent
    if len(folder.name) in PREFIXES and set(folder.name) <= _HEX:
        folder = folder.parent
    return [str(folder / ingest.file_name)] + [
        str(folder / checksum[:length] / ingest.file_name) for length in PREFIXES
    ]


def _check(files: Iterable[HashedFile]) -> None:
    faults = [
        Fault(f"/files/{index}/checksum", "is not a sha256 in hexadecimal")
        for index, file in enumerate(files)
        if len(file.checksum) != 64 or not set(file.checksum) <= _HEX
    ]
    if faults:
        raise InvalidRequest("The files can't be planned.", faults)
