# SPDX-License-Identifier: Apache-2.0
"""What was stored becomes source files, with their events and what these trigger."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from scale_airflow.execution.ingest.messages import IngestResult, StoredAnswer, StoredRequest
from scale_airflow.services.ingest import clear_order, lock_batch, require_running
from scale_airflow.services.strike_tasks import MAX_TRIES
from scale_airflow.services.triggers import active_rules, evaluate_ingest
from scale_airflow.store.models import Ingest, JobExecution, ScaleFile, Workspace, utcnow

log = logging.getLogger(__name__)

_RETRIES = (timedelta(minutes=1), timedelta(minutes=10))
_POSTPONED = timedelta(seconds=30)

Pair = tuple[Ingest, IngestResult]


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
    pairs = [(ingests[result.ingest_id], result) for result in request.results if result.ingest_id in ingests]
    _Committer(session, execution).commit(pairs)
    session.flush()
    finished = [
        ingest for ingest, _ in pairs if ingest.status in ("INGESTED", "DUPLICATE") and not ingest.is_cleared
    ]
    return StoredAnswer(tuple(clear_order(ingest) for ingest in finished))


def source_uuid(workspace_name: str, path: str) -> str:
    """Return the identity of a source file: md5, in hexadecimal, of workspace name and stored path."""
    return hashlib.md5(f"{workspace_name}{path}".encode(), usedforsecurity=False).hexdigest()


class _Committer:
    """Commits results of one batch in one transaction; a file that can't be committed harms no other."""

    def __init__(self, session: Session, execution: JobExecution):
        self.session = session
        self.execution = execution

    def commit(self, pairs: Sequence[Pair]) -> None:
        """Commit results; what was reported before is left alone."""
        stored = []
        for ingest, result in pairs:
            if ingest.status != "INGESTING":
                continue
            if result.file is not None:
                ingest.file_identity = result.file.identity
            if result.outcome == "stored":
                stored.append((ingest, result))
            elif result.outcome == "duplicate":
                _set_duplicate(ingest)
            elif result.outcome == "failed":
                self._fail(ingest, result.message or "It could not be ingested.")
            elif result.outcome == "vanished":
                self._vanish(ingest)
            else:
                ingest.status = "QUEUED"
                ingest.message = (result.message or "")[:2000]
                ingest.retry_at = utcnow() + _POSTPONED
        self.session.flush()
        sources = self._ingest_all(stored)
        if sources:
            rules = active_rules(self.session, "INGEST")
            for ingest, source in sources:
                evaluate_ingest(self.session, source_file=source, ingest=ingest, rules=rules)

    def _ingest_all(self, stored: Sequence[Pair]) -> list[tuple[Ingest, ScaleFile]]:
        """Make the source files all at once; where that fails, one by one to find the one to blame."""
        try:
            return self._ingest(stored)
        except IntegrityError:
            log.info("Another Strike process has just committed a file at the same path")
        sources = []
        for pair in stored:
            try:
                sources += self._ingest([pair])
            except IntegrityError as error:
                self._fail(pair[0], f"It can't be recorded: {error.orig}")
        return sources

    def _ingest(self, stored: Sequence[Pair]) -> list[tuple[Ingest, ScaleFile]]:
        """Make the source files of these results, in a savepoint of their own."""
        made = []
        with self.session.begin_nested():
            there = self._there(stored)
            names = self._workspace_names(stored)
            for ingest, result in stored:
                if result.path is None or result.file is None or result.path != ingest.file_path:
                    self._fail(ingest, "The report does not name the path that was planned.")
                    continue
                if result.checksum is None or result.checksum != ingest.checksum:
                    self._fail(ingest, "The report does not have the checksum that was planned for.")
                    continue
                place = (ingest.workspace_id or 0, result.path)
                existing = there.get(place)
                if existing is not None and (existing.kind == "PRODUCT" or not existing.is_deleted):
                    self._meet(ingest, existing)
                    continue
                source = existing or ScaleFile(workspace_id=place[0], file_path=result.path)
                _fill(source, ingest, result.file.size, source_uuid(names[place[0]], result.path))
                there[place] = source
                made.append((ingest, source))
            self.session.add_all(source for _, source in made)
            self.session.flush()
            for ingest, source in made:
                ingest.status = "INGESTED"
                ingest.ingest_ended = utcnow()
                ingest.bytes_transferred = ingest.file_size = source.file_size
                ingest.source_file_id = source.id
                ingest.message = None
        return made

    def _there(self, stored: Sequence[Pair]) -> dict[tuple[int, str], ScaleFile]:
        """Return the files that have the paths of these results already, locked."""
        places = [(ingest.workspace_id, result.path) for ingest, result in stored]
        found = self.session.scalars(
            select(ScaleFile)
            .where(tuple_(ScaleFile.workspace_id, ScaleFile.file_path).in_(places))
            .with_for_update(of=ScaleFile)
            .execution_options(populate_existing=True)
        )
        return {(file.workspace_id, file.file_path): file for file in found}

    def _workspace_names(self, stored: Sequence[Pair]) -> dict[int, str]:
        wanted = {ingest.workspace_id for ingest, _ in stored}
        rows = self.session.execute(select(Workspace.id, Workspace.name).where(Workspace.id.in_(wanted)))
        return {row.id: row.name for row in rows}

    def _meet(self, ingest: Ingest, existing: ScaleFile) -> None:
        """Another file has the path: the same content was faster, or the next try needs another path."""
        if existing.kind == "SOURCE" and existing.checksum == ingest.checksum:
            _set_duplicate(ingest)
        else:
            self._fail(ingest, f"The path {existing.file_path} belongs to another file by now.")

    def _vanish(self, ingest: Ingest) -> None:
        ingest.status = "ERRORED"
        ingest.message = "The file vanished before it was ingested."
        ingest.is_cleared = True
        ingest.retry_at = None
        self._warn(ingest)

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


def _set_duplicate(ingest: Ingest) -> None:
    ingest.status = "DUPLICATE"
    ingest.message = "The workspace has a file with the same name and the same content already."


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
