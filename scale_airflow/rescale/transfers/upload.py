# SPDX-License-Identifier: Apache-2.0
"""Uploads to Rescale: many files at once, large ones as volumes, unchanged ones not at all."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from scale_airflow.errors import RescaleError, RescaleNotFound, TransferError
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.endpoints_files import delete_file, list_files
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.http_settings import USER_AGENT
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.rates import RateBuckets, shared_buckets
from scale_airflow.rescale.transfers.adaptation import Adaptation
from scale_airflow.rescale.transfers.connections import Network
from scale_airflow.rescale.transfers.crew import run_crew
from scale_airflow.rescale.transfers.pieces import MIB
from scale_airflow.rescale.transfers.progress import Listener, Meter
from scale_airflow.rescale.transfers.schedule import Schedule, Work
from scale_airflow.rescale.transfers.sending import Sender
from scale_airflow.rescale.transfers.sources import FileSource, HeldSource, Source, remote_name, zip_directory
from scale_airflow.rescale.transfers.unchanged import UnchangedFiles
from scale_airflow.rescale.transfers.volumes import Volumes, VolumesUpload

CONNECTIONS = 16
"""Connections at once at most; how many are used depends on whether they help."""
_ARCHIVE_IN_MEMORY = 8 * MIB


class Uploader:
    """Sends files to Rescale; use it as a context manager, or call :meth:`close`.

    Parameters are those of :class:`~scale_airflow.rescale.transfers.download.Downloader`.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        policy: RequestPolicy | None = None,
        rates: RateBuckets | None = None,
        verify: bool | str = True,
        proxies: str | Mapping[str, str] | None = None,
        user_agent: str = USER_AGENT,
        connections: int = CONNECTIONS,
    ) -> None:
        if connections < 1:
            raise ValueError("connections must be 1 or more.")
        self._policy = policy = policy or RequestPolicy()
        self._connections = connections
        self._network = Network(verify, proxies, user_agent, policy.connect_timeout, policy.read_timeout)

        # For what is looked up and cleaned up beside the bytes: nobody should wait long for it, least of all
        # when the transfer has to end.
        hasty = replace(
            policy,
            tries=min(policy.tries, 3),
            read_timeout=min(policy.read_timeout, 20.0),
            longest_pause=min(policy.longest_pause, 10.0),
        )
        self._client = RescaleClient(
            credentials,
            policy=hasty,
            rates=rates or shared_buckets(credentials),
            verify=verify,
            proxies=proxies,
            user_agent=user_agent,
        )

    def __enter__(self) -> Uploader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def upload(
        self,
        paths: Sequence[Path | str],
        *,
        progress: Listener | None = None,
        names: Callable[[Path], str] | None = None,
        reuse: bool = True,
    ) -> list[RemoteFile]:
        """Send files, and directories as one zip archive each; return them in the order given.

        Rescale unpacks archives in the job's directory: what was in the directory lies there, without a
        directory around it. If one file can't be sent, those that this call has sent are deleted again.

        :param names: what a file is called at Rescale; by default its name, for a directory with ``.zip``.
        :param reuse: don't send a file that is there already with the same name and checksum. A job that is
            deleted with its inputs then takes them from other jobs, too.
        :raises UnsafeName: before anything is sent, if a name can't be that of an input.
        :raises TransferError: if a file or directory can't be read, or changes while it is sent.
        :raises CorruptTransfer: if other bytes arrived.
        :raises RescaleError: if Rescale refuses, or can't be reached.
        """
        chosen = [Path(path) for path in paths]
        with ExitStack() as stack:
            sources = [_source(path, names, stack) for path in chosen]
            call = _Uploads(self, sources, progress, reuse=reuse)
            return call.run()

    def upload_volumes(
        self,
        path: Path | str,
        *,
        name: str | None = None,
        progress: Listener | None = None,
        reuse: bool = True,
        volume_size: int | None = None,
    ) -> Volumes:
        """Send one large file as compressed volumes, cut, compressed and sent at the same time.

        The job that has them as inputs (``Volumes.input_files``) begins its command with ``Volumes.prelude``:
        it puts the file together with nothing but Python 3 and compares its SHA-512.

        :param name: what the file is called in the job; its own name by default.
        :param reuse: don't send volumes of the same file that are all there.
        :param volume_size: bytes of a volume at most; chosen by the file's size by default.
        :raises RescaleError: as those of :meth:`upload`; volumes that were sent are deleted.
        """
        source = FileSource(
            Path(path), remote_name(name if name is not None else Path(path).name, travels=False)
        )
        return VolumesUpload(self, source, progress, volume_size).run(reuse=reuse)

    # -- for the uploads ------------------------------------------------------------------------------------
    @property
    def client(self) -> RescaleClient:
        """What everything but bytes is asked with, without much patience."""
        return self._client

    @property
    def connections(self) -> int:
        """How many connections there are at most."""
        return self._connections

    def sender(self, schedule: Schedule) -> Sender:
        """Return a new worker's way to send."""
        return Sender(self._client, self._policy, self._network, schedule)

    def delete(self, files: Sequence[RemoteFile], *, search: str | None = None) -> None:
        """Delete what an upload that failed has left; without a word about what can't be reached.

        :param search: the beginning of names that only this upload has given.
        """
        with suppress(RescaleError):
            found = {file.id for file in files}
            if search is not None:
                listed = self._client.pages(list_files(search=search))
                found |= {file.id for file in listed if file.name.startswith(search) and not file.is_deleted}
            for file_id in found:
                with suppress(RescaleNotFound):
                    self._client.send(delete_file(file_id))


class _Uploads:
    """One call of ``upload``."""

    def __init__(
        self, uploader: Uploader, sources: Sequence[Source], progress: Listener | None, *, reuse: bool
    ) -> None:
        self._uploader, self._sources = uploader, sources
        self._meter = Meter(progress, len(sources), sum(source.size for source in sources))
        self._schedule = Schedule(Adaptation(uploader.connections, start=uploader.connections))
        self._unchanged = UnchangedFiles(uploader.client, len(sources)) if reuse else None
        self._senders: list[Sender] = []
        self._found: dict[int, RemoteFile] = {}
        self._sent: list[RemoteFile] = []

    def run(self) -> list[RemoteFile]:
        """Do it."""
        if not self._sources:
            return []
        self._schedule.add([_UploadJob(self, number) for number in range(len(self._sources))])
        count = min(self._uploader.connections, len(self._sources))
        self._senders += [self._uploader.sender(self._schedule) for _ in range(count)]
        try:
            run_crew(self._schedule, [sender.connection for sender in self._senders], self._meter.tick)
        except BaseException:
            left = [file for sender in self._senders for file in sender.leftovers()]
            self._uploader.delete([*self._sent, *left])
            raise
        return [self._found[number] for number in range(len(self._sources))]

    def upload(self, number: int, worker: int) -> None:
        """Send one of the files, unless it is there."""
        source = self._sources[number]
        meter = self._meter.file(source.name, source.size)
        file = None
        if self._unchanged is not None:
            file = self._unchanged.find(source.name, source.size, lambda: sha512_of(source))
        if file is None:
            file, _ = self._senders[worker].send(source, meter)
            self._sent.append(file)
            self._schedule.arrived(0, requests=1)
        self._found[number] = file
        meter.whole()

    def finished(self, job: _UploadJob) -> None:
        """Tell the schedule that a job is done."""
        self._schedule.finished(job)


class _UploadJob:
    """One file; a job of the schedule that is done when it is opened."""

    def __init__(self, uploads: _Uploads, number: int) -> None:
        self._uploads, self._number = uploads, number

    def open(self, worker: int) -> None:
        """Send it."""
        self._uploads.upload(self._number, worker)
        self._uploads.finished(self)

    def take(self, connections: int) -> Work | None:
        """Return nothing: a file can't be sent in parts."""
        return None

    def take_over(self) -> Work | None:
        """Return nothing: a file can't be sent in parts."""
        return None


def sha512_of(source: Source) -> str:
    """Return the checksum of all bytes of a source."""
    digest = hashlib.sha512()
    for block in source.blocks():
        digest.update(block)
    source.check()
    return digest.hexdigest()


def _source(path: Path, names: Callable[[Path], str] | None, stack: ExitStack) -> Source:
    if not path.is_dir():
        return FileSource(path, remote_name(names(path) if names else path.name))
    name = remote_name(names(path) if names else f"{path.resolve().name}.zip")
    try:
        held = tempfile.SpooledTemporaryFile(max_size=_ARCHIVE_IN_MEMORY)  # noqa: SIM115 - the stack closes it
        stack.enter_context(held)
        zip_directory(path, held)
        return HeldSource(held, name)
    except OSError as error:
        raise TransferError(f"{path} can't be archived: {error.strerror}.", name=name) from error
