# SPDX-License-Identifier: Apache-2.0
"""Where the files of a batch go, and what was stored becomes source files, events and what they trigger."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePosixPath

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session

from scale_airflow.errors import Fault, InvalidRequest, ScaleError
from scale_airflow.execution.ingest.messages import (
    ClearOrder,
    HashedFile,
    IngestResult,
    PlanAnswer,
    PlanRequest,
    StoredAnswer,
    StoredRequest,
    StorePlan,
)
from scale_airflow.services.ingest import clear_order, files_of, lock_batch, require_running
from scale_airflow.services.lookup import lock_name
from scale_airflow.services.strike_tasks import MAX_TRIES
from scale_airflow.services.triggers import ActiveRule, active_rules, evaluate_ingest
from scale_airflow.store.models import Ingest, JobExecution, ScaleFile, Workspace, utcnow

log = logging.getLogger(__name__)

_HEX = frozenset("0123456789abcdef")
_PREFIXES = (8, 16, 64)
_RETRIES = (timedelta(minutes=1), timedelta(minutes=10))
_POSTPONED = timedelta(seconds=30)


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
    ingests = {ingest.id: ingest for ingest in files_of(session, execution.job_id)}
    wanted = [(ingests[file.ingest_id], file) for file in request.files if file.ingest_id in ingests]
    for workspace_id in sorted({ingest.workspace_id or 0 for ingest, _ in wanted}):
        # Two Strike processes that store into one workspace decide one after the other.
        lock_name(session, "workspace paths", str(workspace_id))
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


def commit_results(session: Session, execution_id: int, request: StoredRequest) -> StoredAnswer:
    """Commit what became of files: source files with their events and what these trigger; duplicates; errors.

    :returns: what may be cleared out of the Strike directory once this is committed.
    :raises Conflict: if the batch was taken over.
    """
    _, execution = lock_batch(session, execution_id)
    require_running(execution)
    ids = [result.ingest_id for result in request.results if result.ingest_id > 0]
    ingests = {
        ingest.id: ingest
        for ingest in session.scalars(
            select(Ingest)
            .where(Ingest.job_id == execution.job_id, Ingest.id.in_(ids))
            .with_for_update(of=Ingest)
            .execution_options(populate_existing=True)
        )
    }
    committer = _Committer(session, execution)
    clear = []
    for result in request.results:
        ingest = ingests.get(result.ingest_id)
        if ingest is not None and (order := committer.commit(ingest, result)) is not None:
            clear.append(order)
    session.flush()
    return StoredAnswer(tuple(clear))


def source_uuid(workspace: Workspace, path: str) -> str:
    """Return the identity of a source file: md5, in hexadecimal, of workspace name and stored path."""
    return hashlib.md5(f"{workspace.name}{path}".encode(), usedforsecurity=False).hexdigest()


class _Committer:
    """Commits results of one batch in one transaction; a file that can't be committed harms no other."""

    def __init__(self, session: Session, execution: JobExecution):
        self.session = session
        self.execution = execution
        self._rules: list[ActiveRule] | None = None

    def commit(self, ingest: Ingest, result: IngestResult) -> ClearOrder | None:
        """Commit one result; return the order to clear the file away, if it may be."""
        if ingest.status in ("INGESTED", "DUPLICATE"):
            return None if ingest.is_cleared else clear_order(ingest)  # reported before
        if ingest.status != "INGESTING":
            return None
        if result.outcome == "failed":
            self._fail(ingest, result.message or "unknown")
        elif result.outcome == "vanished":
            ingest.status = "ERRORED"
            ingest.message = "The file vanished before it was ingested."
            ingest.is_cleared = True
            self._warn(ingest)
        elif result.outcome == "postponed":
            ingest.status = "QUEUED"
            ingest.message = (result.message or "")[:2000]
            ingest.retry_at = utcnow() + _POSTPONED
        else:
            return self._finish(ingest, result)
        return None

    def _finish(self, ingest: Ingest, result: IngestResult) -> ClearOrder | None:
        try:
            with self.session.begin_nested():
                if result.outcome == "duplicate":
                    self._duplicate(ingest)
                else:
                    self._ingest(ingest, result)
                if result.file is not None:
                    ingest.file_identity = result.file.identity
        except ScaleError as error:
            self._fail(ingest, str(error))
            return None
        return clear_order(ingest)

    def _duplicate(self, ingest: Ingest) -> None:
        ingest.status = "DUPLICATE"
        ingest.message = "The workspace has a file with the same name and the same content already."

    def _ingest(self, ingest: Ingest, result: IngestResult) -> None:
        if result.path is None or result.file is None or result.path != ingest.file_path:
            raise InvalidRequest("The report does not name the path that was planned.")
        if result.checksum != ingest.checksum:
            raise InvalidRequest("The report does not have the checksum that was planned for.")
        workspace = self.session.get_one(Workspace, ingest.workspace_id)
        existing = self.session.scalar(
            select(ScaleFile)
            .where(ScaleFile.workspace_id == workspace.id, ScaleFile.file_path == result.path)
            .with_for_update(of=ScaleFile)
        )
        if existing is not None and (existing.kind == "PRODUCT" or not existing.is_deleted):
            if existing.kind == "SOURCE" and existing.checksum == result.checksum:
                self._duplicate(ingest)
                return
            raise InvalidRequest(f"The path {result.path} belongs to another file by now.")
        source = existing or ScaleFile(kind="SOURCE", workspace_id=workspace.id, file_path=result.path)
        _fill(source, ingest, result.file.size, source_uuid(workspace, result.path))
        if existing is None:
            self.session.add(source)
        self.session.flush()
        ingest.status = "INGESTED"
        ingest.ingest_ended = utcnow()
        ingest.bytes_transferred = ingest.file_size = result.file.size
        ingest.source_file_id = source.id
        ingest.message = None
        if self._rules is None:
            self._rules = active_rules(self.session, "INGEST")
        evaluate_ingest(self.session, source_file=source, ingest=ingest, rules=self._rules)

    def _fail(self, ingest: Ingest, message: str) -> None:
        """The file stays where it is and is tried again, a few times and not at once."""
        ingest.status = "ERRORED"
        ingest.message = message[:2000]
        ingest.tries += 1
        ingest.retry_at = utcnow() + _RETRIES[ingest.tries - 1] if ingest.tries < MAX_TRIES else None
        self._warn(ingest)

    def _warn(self, ingest: Ingest) -> None:
        text = f"{ingest.file_name}: {ingest.message}"
        self.execution.warnings = [*self.execution.warnings, text]
        log.warning("Ingest %s is ERRORED: %s", ingest.id, ingest.message)


def _fill(source: ScaleFile, ingest: Ingest, size: int, uuid: str) -> None:
    """Set all that a fresh source file has; a deleted one that comes back keeps nothing of its past."""
    source.kind = "SOURCE"
    source.file_name = ingest.file_name
    source.media_type = ingest.media_type
    source.file_size = size
    source.checksum = ingest.checksum
    source.data_type = list(ingest.data_type)
    source.uuid = uuid
    source.is_deleted, source.deleted = False, None
    source.is_parsed, source.parsed = False, None
    source.data_started = source.data_ended = None
    source.geometry = source.center_point = None
    source.meta_data = {}
    source.countries = []


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
    if len(folder.name) in _PREFIXES and set(folder.name) <= _HEX:
        folder = folder.parent
    return [str(folder / ingest.file_name)] + [
        str(folder / checksum[:length] / ingest.file_name) for length in _PREFIXES
    ]


def _check(files: Iterable[HashedFile]) -> None:
    faults = [
        Fault(f"/files/{index}/checksum", "is not a sha256 in hexadecimal")
        for index, file in enumerate(files)
        if len(file.checksum) != 64 or not set(file.checksum) <= _HEX
    ]
    if faults:
        raise InvalidRequest("The files can't be planned.", faults)
