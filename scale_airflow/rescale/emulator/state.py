# SPDX-License-Identifier: Apache-2.0
"""Everything the emulator knows, in memory and in its journal.

One process, one thread (the event loop's) changes the state; readers see plain records. :meth:`State.record`
writes an event before it takes effect, so what an answer told its client is there after ``kill -9``.
"""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from scale_airflow.rescale.emulator.journal import Journal
from scale_airflow.rescale.emulator.records import (
    KINDS,
    DeviceRecord,
    FileRecord,
    JobRecord,
    KeyRecord,
    LifeRecord,
    Record,
    RunRecord,
    StatusRecord,
)

# Bytes of journal after which a snapshot replaces it.
JOURNAL_LIMIT = 32 * 2**20
ID_LETTERS = string.ascii_letters


class State:
    """The state of one emulator, kept below ``root/state``.

    :param root: the emulator's directory; also has ``blobs/`` (file contents) and ``work/`` (running jobs).
    :raises RootInUseError: when another emulator works there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs: dict[str, JobRecord] = {}
        self.lives: dict[str, LifeRecord] = {}
        self.files: dict[str, FileRecord] = {}
        self.devices: dict[str, DeviceRecord] = {}
        self.keys: dict[str, KeyRecord] = {}
        self._runs: dict[str, dict[str, RunRecord]] = {}
        self._outputs: dict[str, dict[str, FileRecord]] = {}
        self._histories: dict[tuple[str, str], list[StatusRecord]] = {}
        self._number = 0
        self._syncing: asyncio.Lock | None = None
        self._journal = Journal(root / "state")
        snapshot, entries = self._journal.load()
        for kind, document in snapshot or ():
            self._apply_put(KINDS[kind].from_document(document))
        for entry in entries:
            self._apply(entry)
        if entries:
            self._snapshot()

    # ---- changes ----

    def record(self, event: dict[str, Any]) -> None:
        """Write an event to the journal, then let it take effect. All of it or nothing survives a crash.

        :param event: ``{"put": [[kind, document], …], "remove": [[kind, key], …]}``, as :meth:`put` and
            :meth:`remove` build it; further keys are kept in the journal for its readers.
        """
        self._journal.append(event)
        self._apply(event)
        if self._journal.size > JOURNAL_LIMIT:
            self._snapshot()

    def put(self, *records: Record) -> None:
        """Add records, or replace those with the same key, in one event."""
        self.record({"put": [[one.KIND, one.to_document()] for one in records]})

    def remove(self, *records: Record) -> None:
        """Forget records, in one event."""
        self.record({"remove": [[one.KIND, one.key] for one in records]})

    async def durable(self) -> None:
        """Return when all that was recorded so far would survive a power cut; callers share one sync."""
        written = self._journal.appended
        if self._syncing is None:
            self._syncing = asyncio.Lock()
        while self._journal.synced < written:
            async with self._syncing:
                if self._journal.synced < written:
                    await asyncio.to_thread(self._journal.sync)

    def close(self) -> None:
        """Write a snapshot and let go of the directory."""
        self._snapshot()
        self._journal.close()

    def _snapshot(self) -> None:
        self._journal.snapshot([[one.KIND, one.to_document()] for one in self._all()])

    def _all(self) -> Iterable[Record]:
        for plain in (self.jobs, self.lives, self.files, self.devices, self.keys, *self._runs.values()):
            yield from cast("dict[str, Record]", plain).values()
        for history in self._histories.values():
            yield from history

    def _apply(self, event: dict[str, Any]) -> None:
        for kind, document in event.get("put", ()):
            self._apply_put(KINDS[kind].from_document(document))
        for kind, key in event.get("remove", ()):
            self._apply_remove(kind, key)

    def _apply_put(self, record: Record) -> None:
        if isinstance(record, RunRecord):
            self._runs.setdefault(record.job_id, {})[record.id] = record
        elif isinstance(record, StatusRecord):
            self._histories.setdefault((record.of, record.subject_id), []).append(record)
        else:
            self._table(record.KIND)[record.key] = record
            if isinstance(record, FileRecord) and record.job_id is not None:
                self._outputs.setdefault(record.job_id, {})[record.id] = record
        self._number = max(self._number, getattr(record, "number", 0))

    def _apply_remove(self, kind: str, key: str) -> None:
        if kind == RunRecord.KIND:
            job_id, _, run_id = key.partition("/")
            self._runs.get(job_id, {}).pop(run_id, None)
            return
        gone = self._table(kind).pop(key, None)
        if isinstance(gone, JobRecord):
            self.lives.pop(key, None)
            self._runs.pop(key, None)
            for of in ("job", "cluster"):
                self._histories.pop((of, key), None)
        elif isinstance(gone, FileRecord) and gone.job_id is not None:
            self._outputs.get(gone.job_id, {}).pop(key, None)

    def _table(self, kind: str) -> dict[str, Record]:
        tables: dict[str, Any] = {
            "job": self.jobs,
            "life": self.lives,
            "file": self.files,
            "device": self.devices,
            "key": self.keys,
        }
        return cast("dict[str, Record]", tables[kind])

    # ---- names and numbers ----

    def new_id(self) -> str:
        """Return an id that nothing here has: six letters, as the real service's."""
        while True:
            made = "".join(secrets.choice(ID_LETTERS) for _ in range(6))
            if not (made in self.jobs or made in self.files or made in self.devices):
                return made

    def next_number(self) -> int:
        """Return the next number of the order in which things came to be."""
        self._number += 1
        return self._number

    # ---- reading ----

    def runs(self, job_id: str) -> list[RunRecord]:
        """Return a job's runs in their order."""
        return sorted(self._runs.get(job_id, {}).values(), key=lambda run: int(run.id))

    def run(self, job_id: str, run_id: str) -> RunRecord | None:
        """Return one run of a job, or None."""
        return self._runs.get(job_id, {}).get(run_id)

    def output_files(self, job_id: str, run_id: str | None = None) -> list[FileRecord]:
        """Return the files that a job (or one of its runs) made and that were not deleted, oldest first."""
        return [
            one
            for one in self._outputs.get(job_id, {}).values()
            if not one.is_deleted and run_id in (None, one.run_id)
        ]

    def history(self, of: str, subject_id: str) -> list[StatusRecord]:
        """Return a status history, oldest first.

        :param of: ``JOB``, ``CLUSTER`` or ``DEVICE`` of :mod:`.records`.
        """
        return list(self._histories.get((of, subject_id), ()))

    def latest(self, of: str, subject_id: str) -> str | None:
        """Return the newest status of a history, or None while it is empty."""
        history = self._histories.get((of, subject_id))
        return history[-1].status if history else None

    # ---- what the running side writes often ----

    def add_status(
        self, of: str, subject_id: str, status: str, date: datetime, reason: str | None = None
    ) -> StatusRecord:
        """Add an entry to a status history and return it."""
        record = StatusRecord(
            id=self.new_id(),
            of=of,
            subject_id=subject_id,
            status=status,
            date=date,
            number=self.next_number(),
            reason=reason,
        )
        self.put(record)
        return record

    def change_job(self, job_id: str, **changes: Any) -> JobRecord:
        """Replace fields of a job's record and return it; KeyError when the job is gone."""
        record = replace(self.jobs[job_id], **changes)
        self.put(record)
        return record

    def change_run(self, job_id: str, run_id: str, **changes: Any) -> RunRecord:
        """Replace fields of a run's record and return it; KeyError when it is gone."""
        record = replace(self._runs[job_id][run_id], **changes)
        self.put(record)
        return record
