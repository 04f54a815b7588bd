# SPDX-License-Identifier: Apache-2.0
"""One small file: fetched with one request into memory, checked, and only then written."""

from __future__ import annotations

import os
from collections.abc import Callable

from scale_airflow.errors import CorruptTransfer, TransferError
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.transfers.fetching import Changed, Fetcher
from scale_airflow.rescale.transfers.hashing import Digests, Promise, digests_if_right
from scale_airflow.rescale.transfers.landing import Landing, disk_errors
from scale_airflow.rescale.transfers.large import Landed
from scale_airflow.rescale.transfers.pieces import MIB
from scale_airflow.rescale.transfers.progress import FileMeter
from scale_airflow.rescale.transfers.schedule import Schedule, Work

SMALL = MIB
"""Bytes up to which a file is small: what one connection holds in memory."""


class SmallFile:
    """The download of one file with one request; a job of the schedule that is done when it is opened."""

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
        self._file, self._size, self._relative = file, size, relative
        self._landing, self._schedule = landing, schedule
        self._fetchers, self._meter, self._landed = fetchers, meter, landed

    def open(self, worker: int) -> None:
        """Fetch it.

        :raises CorruptTransfer: if its checksum is wrong twice.
        :raises TransferError: if it is not as its metadata say, or can't be stored.
        """
        promise = Promise.of(self._file)
        with self._landing.existing(self._relative) as fd:
            digests = digests_if_right(fd, promise, self._size) if fd is not None else None
        if digests is not None:
            self._done(digests.sha512, kept=True)
            return
        for _ in range(2):
            held = InMemory(self._file.id, self._relative, self._size, self._meter)
            try:
                self._fetchers(worker).fetch(held)
            except Changed:
                self._meter.restart()
                continue
            digests = Digests(promise.proof)
            digests.update(held.content)
            if promise.is_kept_by(digests):
                self._store(held.content)
                self._done(digests.sha512, kept=False)
                return
            self._meter.restart()
        if digests is None:
            raise TransferError(
                f"{self._relative}: the file {self._file.id} at Rescale is not what its metadata describe "
                f"({self._size} bytes). List the files anew.",
                name=self._relative,
            )
        raise CorruptTransfer(
            f"{self._relative}: its bytes came twice with a wrong checksum: {promise.proof} is "
            f"{digests.value(promise.proof)}, not {promise.value} as Rescale says. Nothing was kept.",
            name=self._relative,
        )

    def take(self, connections: int) -> Work | None:
        """Return nothing: whoever opens it does it all."""
        return None

    def take_over(self) -> Work | None:
        """Return nothing: half of a small file is not worth a request."""
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _done(self, sha512: str, *, kept: bool) -> None:
        self._landed(sha512, kept=kept)
        self._meter.whole()
        self._schedule.finished(self)

    def _store(self, content: memoryview) -> None:
        part = self._landing.open_part(self._file.id, journal=False)
        try:
            with disk_errors(self._relative, self._landing.directory):
                os.ftruncate(part.fd, 0)
                offset = 0
                while offset < len(content):
                    offset += os.pwrite(part.fd, content[offset:], offset)
            self._landing.place(part, self._relative)
        except BaseException:
            self._landing.discard(part)
            raise
        finally:
            part.close()


class InMemory:
    """A whole file in memory, as where its bytes go."""

    whole = True

    def __init__(self, file_id: str, shown: str, size: int, meter: FileMeter) -> None:
        self.file_id, self.shown, self.size = file_id, shown, size
        self.content = memoryview(bytearray(size))
        self.position = 0
        self.end = size
        self._meter = meter
        self._etag: str | None = None

    def met(self, etag: str | None) -> None:
        """Compare with the ETag of an earlier part.

        :raises Changed: if it differs.
        """
        if self.position and etag != self._etag:
            raise Changed
        self._etag = etag

    def alone(self) -> bool:
        """Nobody else fetches it."""
        return True

    def view(self, count: int) -> memoryview:
        """Return the place of the next bytes."""
        return self.content[self.position : self.position + count]

    def stored(self, count: int) -> None:
        """Count what is in its place."""
        self.position += count
        self._meter.add(count)
