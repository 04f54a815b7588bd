# SPDX-License-Identifier: Apache-2.0
"""One large file: pieces over several connections into one preallocated file, hashed while they arrive."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

from scale_airflow.errors import CorruptTransfer, TransferError
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.transfers.fetching import Changed, Fetcher
from scale_airflow.rescale.transfers.hashing import HASH_BLOCK, Digests, Promise, digests_if_right
from scale_airflow.rescale.transfers.journal import Identity, Journal
from scale_airflow.rescale.transfers.landing import DiskFull, Landing, Part, disk_errors
from scale_airflow.rescale.transfers.pieces import BLOCK, MIB, Piece, Pieces
from scale_airflow.rescale.transfers.progress import FileMeter
from scale_airflow.rescale.transfers.schedule import Schedule, Stopped, Work

_SYNC = 64 * MIB
"""Bytes after which what is there is brought to the disk, so that little is left to write at the end."""


class Landed(Protocol):
    """What is done with a file that is whole."""

    def __call__(self, sha512: str, *, kept: bool) -> None:
        """Take note of it; ``kept`` if it was there already."""


class LargeFile:
    """The download of one file, in pieces; a job of the schedule.

    :param size: bytes of the file.
    :param fetchers: those of the workers, by number.
    :param landed: called once the file has its final name.
    """

    def __init__(
        self,
        file: RemoteFile,
        size: int,
        relative: str,
        *,
        landing: Landing,
        schedule: Schedule,
        fetchers: Callable[[int], Fetcher],
        meter: FileMeter,
        landed: Landed,
    ) -> None:
        self.file, self.size, self.relative = file, size, relative
        self.schedule, self.fetchers, self.meter = schedule, fetchers, meter
        self._landing, self._landed = landing, landed
        self.promise = Promise.of(file)
        self._part: Part | None = None
        self._journal: Journal | None = None
        self._pieces: Pieces | None = None
        self._follower: threading.Thread | None = None
        self._syncer: threading.Thread | None = None
        self._lock = threading.Lock()
        self._changed = False
        self._idle = threading.Condition()
        self._working = 0
        self.note_every = min(max(size // 2048, BLOCK), 8 * MIB)

    # -- the schedule's side ---------------------------------------------------------------------------------
    def open(self, worker: int) -> None:
        """Take up the file: what an earlier attempt has left, or nothing.

        :raises TransferError: if there is no room, or somebody else has it open.
        """
        with self._landing.existing(self.relative) as fd:
            kept = digests_if_right(fd, self.promise, self.size) if fd is not None else None
        if kept is not None:
            self._landed(kept.sha512, kept=True)
            self.meter.whole()
            self.schedule.finished(self)
            return
        part = self._landing.open_part(self.file.id, journal=True)
        try:
            assert part.journal_fd is not None
            journal = Journal(part.journal_fd, Identity(self.file.id, self.size, self.promise.text))
            done = journal.load()
            if done and os.fstat(part.fd).st_size != self.size:
                done = []
            self._landing.allocate(part, self.relative, self.size)
            if not done or not journal.is_current:
                with disk_errors(self.relative, self._landing.directory):
                    os.fdatasync(part.fd)
                    journal.begin(done, journal.etag if done else None)
        except BaseException as error:
            if isinstance(error, DiskFull):
                self._landing.discard(part)
            part.close()
            raise
        self._part, self._journal = part, journal
        self._pieces = Pieces(self.size, done)
        self.meter.add(sum(end - start for start, end in done))
        self._follower = threading.Thread(target=self._follow, name=f"hash {self.file.id}", daemon=True)
        self._follower.start()
        self.schedule.wake()

    def take(self, connections: int) -> Work | None:
        """Return the next piece that nobody fetches yet."""
        pieces = self._pieces
        piece = pieces.take(connections) if pieces is not None else None
        return PieceFetch(self, pieces, piece) if pieces is not None and piece is not None else None

    def take_over(self) -> Work | None:
        """Return the second half of the slowest piece."""
        pieces = self._pieces
        piece = pieces.take_over() if pieces is not None else None
        return PieceFetch(self, pieces, piece) if pieces is not None and piece is not None else None

    def close(self) -> None:
        """Let go of the file, after all workers have; what is not whole stays for a later attempt."""
        if self._pieces is not None:
            self._pieces.give_up()
        if self._follower is not None:
            self._follower.join()
        self._end_sync()
        if self._part is not None:
            self._part.close()
            self._part = None

    # -- the workers' side -----------------------------------------------------------------------------------
    def begun(self) -> None:
        """Count a worker in."""
        with self._idle:
            self._working += 1

    def ended(self) -> None:
        """Count a worker out."""
        with self._idle:
            self._working -= 1
            self._idle.notify_all()

    def write(self, view: memoryview, offset: int) -> None:
        """Write bytes to their place.

        :raises DiskFull: if there is no room after all; the unfinished file is gone then.
        """
        assert self._part is not None
        try:
            with disk_errors(self.relative, self._landing.directory):
                while view:
                    count = os.pwrite(self._part.fd, view, offset)
                    view, offset = view[count:], offset + count
        except DiskFull:
            self._landing.discard(self._part)
            raise

    def note(self, start: int, end: int) -> None:
        """Note a range in the journal.

        :raises TransferError: if the disk refuses.
        """
        assert self._journal is not None
        with disk_errors(self.relative, self._landing.directory):
            self._journal.note(start, end)

    def met(self, etag: str | None) -> None:
        """Compare an answer's ETag with the first one's.

        :raises Changed: if they differ.
        """
        journal = self._journal
        assert journal is not None
        if etag is None or etag == journal.etag:
            return
        with self._lock:
            if journal.etag is None:
                with disk_errors(self.relative, self._landing.directory):
                    journal.tag(etag)
                return
        if etag != journal.etag:
            raise Changed

    def change(self) -> None:
        """Begin anew, since the file on the server is another one; once."""
        self._changed = True
        if self._pieces is not None:
            self._pieces.give_up()

    # -- the follower's side ---------------------------------------------------------------------------------
    def _follow(self) -> None:
        """Hash what arrives, and bring the file to its end."""
        try:
            for attempt in (1, 2):
                digests = self._hash()
                if digests is not None and self.promise.is_kept_by(digests):
                    self._finish(digests)
                    return
                if self.schedule.is_stopped:
                    return
                if attempt == 1:
                    self._begin_anew()
            self._refuse(digests)
        except Stopped:
            return
        except BaseException as error:
            self.schedule.fail(error)

    def _hash(self) -> Digests | None:
        """Hash the file's bytes as far as they are there without a gap, until all are.

        :returns: None if they will not come.
        """
        pieces, part, journal = self._pieces, self._part, self._journal
        assert pieces is not None
        assert part is not None
        assert journal is not None
        digests = Digests(self.promise.proof)
        buffer = memoryview(bytearray(HASH_BLOCK))
        position = synced = 0
        while position < self.size:
            there = pieces.wait_for_prefix(position)
            if there is None:
                return None
            while position < there:
                count = os.preadv(part.fd, [buffer[: min(HASH_BLOCK, there - position)]], position)
                if not count:
                    raise TransferError(
                        f"{self.relative}: somebody has shortened its unfinished file.", name=self.relative
                    )
                digests.update(buffer[:count])
                position += count
            if position - synced >= _SYNC and not (self._syncer and self._syncer.is_alive()):
                self._syncer = threading.Thread(target=self._sync, args=(part, journal), daemon=True)
                self._syncer.start()
                synced = position
        return digests

    def _sync(self, part: Part, journal: Journal) -> None:
        """Bring what has come to the disk, while more comes."""
        try:
            with disk_errors(self.relative, self._landing.directory):
                noted = journal.noted
                os.fdatasync(part.fd)
                journal.synced(noted)
        except BaseException as error:
            self.schedule.fail(error)

    def _end_sync(self) -> None:
        if self._syncer is not None:
            self._syncer.join()

    def _finish(self, digests: Digests) -> None:
        self._wait_until_idle()
        assert self._part is not None
        self._landing.place(self._part, self.relative)
        self._part.close()
        self._part = None
        self._landed(digests.sha512, kept=False)
        self.meter.whole()
        self.schedule.finished(self)

    def _begin_anew(self) -> None:
        self._wait_until_idle()
        assert self._journal is not None
        with disk_errors(self.relative, self._landing.directory):
            self._journal.begin([], None)
        self.meter.restart()
        self._changed = False
        self._pieces = Pieces(self.size)
        if self.schedule.is_stopped:
            self._pieces.give_up()  # whoever closes this may have given up the old ones
        self.schedule.wake()

    def _refuse(self, digests: Digests | None) -> None:
        self._wait_until_idle()
        assert self._part is not None
        self._landing.discard(self._part)
        if self._changed or digests is None:
            raise TransferError(
                f"{self.relative}: the file {self.file.id} at Rescale is not what its metadata describe "
                f"({self.size} bytes), or changes while it is fetched. List the files anew.",
                name=self.relative,
            )
        raise CorruptTransfer(
            f"{self.relative}: its bytes came twice with a wrong checksum: {self.promise.proof} is "
            f"{digests.value(self.promise.proof)}, not {self.promise.value} as Rescale says. It was deleted.",
            name=self.relative,
        )

    def _wait_until_idle(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: not self._working)
        self._end_sync()


class PieceFetch:
    """One piece of a large file, fetched by one worker: work of the schedule, and where the bytes go."""

    whole = False

    def __init__(self, job: LargeFile, pieces: Pieces, piece: Piece) -> None:
        self._job, self._pieces, self._piece = job, pieces, piece
        self._noted = piece.position
        self._buffer: memoryview | None = None
        self.file_id, self.shown, self.size = job.file.id, job.relative, job.size
        job.begun()

    def run(self, worker: int) -> None:
        """Fetch it as far as it goes, and give back the rest."""
        try:
            self._job.fetchers(worker).fetch(self)
        except Changed:
            self._job.change()
        finally:
            try:
                self._note()
            finally:
                self._pieces.leave(self._piece)
                self._job.ended()
                self._job.schedule.wake()

    @property
    def position(self) -> int:
        """The next byte."""
        return self._piece.position

    @property
    def end(self) -> int:
        """Where it ends now: sooner, when somebody has taken over its rest or all was given up."""
        return self._piece.position if self._pieces.is_given_up else self._piece.end

    def met(self, etag: str | None) -> None:
        """See :meth:`LargeFile.met`."""
        self._job.met(etag)

    def alone(self) -> bool:
        """See :meth:`Pieces.only_one`."""
        self._note()
        alone = self._pieces.only_one(self._piece)
        self._noted = self._piece.position
        return alone

    def view(self, count: int) -> memoryview:
        """Return this worker's memory."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(BLOCK))
        return self._buffer[: min(count, BLOCK)]

    def stored(self, count: int) -> None:
        """Write what is in the memory to its place."""
        assert self._buffer is not None
        self._job.write(self._buffer[:count], self._piece.position)
        self._pieces.arrived(self._piece, count)
        self._job.meter.add(count)
        if self._piece.position - self._noted >= self._job.note_every:
            self._note()

    def _note(self) -> None:
        self._job.note(self._noted, self._piece.position)
        self._noted = self._piece.position
