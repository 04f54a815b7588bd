# SPDX-License-Identifier: Apache-2.0
"""Downloads from Rescale: at line speed, resumable, and whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from scale_airflow.errors import TransferError
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.endpoints_files import get_file
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.http_settings import USER_AGENT
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.rates import RateBuckets, shared_buckets
from scale_airflow.rescale.transfers.adaptation import Adaptation
from scale_airflow.rescale.transfers.connections import Network
from scale_airflow.rescale.transfers.crew import run_crew
from scale_airflow.rescale.transfers.fetching import Fetcher
from scale_airflow.rescale.transfers.hashing import Promise, Proof
from scale_airflow.rescale.transfers.landing import Landing
from scale_airflow.rescale.transfers.large import LargeFile
from scale_airflow.rescale.transfers.names import refuse_clashes, safe_relative_path
from scale_airflow.rescale.transfers.progress import Listener, Meter
from scale_airflow.rescale.transfers.schedule import Schedule
from scale_airflow.rescale.transfers.small import SMALL, SmallFile

log = logging.getLogger(__name__)

CONNECTIONS = 32
"""Connections at once at most; how many are used depends on whether they help."""


@dataclass(frozen=True)
class Downloaded:
    """A file that is here.

    :param sha512: of the bytes that are on the disk.
    :param verified: what the bytes were checked against; ``size`` where Rescale has no checksum (old files).
    :param kept: it was here already, with the right checksum, and was not fetched.
    """

    path: Path
    file: RemoteFile
    sha512: str
    verified: Proof = "sha512"
    kept: bool = False


class Downloader:
    """Fetches files from Rescale; use it as a context manager, or call :meth:`close`.

    :param connections: how many at most at the same time.
    :param verify: False trusts every certificate; a path names those to trust.
    :param proxies: one for everything, or by scheme. Without, the usual environment variables count.
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
        self._credentials = credentials
        self._policy = policy or RequestPolicy()
        self._rates = rates or shared_buckets(credentials)
        self._connections = connections
        self._network = Network(
            verify, proxies, user_agent, self._policy.connect_timeout, self._policy.read_timeout
        )
        self._client: RescaleClient | None = None  # made when it is needed, which is seldom

    def __enter__(self) -> Downloader:
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
        if self._client is not None:
            self._client.close()
            self._client = None

    def download(
        self,
        files: Sequence[RemoteFile],
        directory: Path | str,
        *,
        progress: Listener | None = None,
        names: Callable[[RemoteFile], str] | None = None,
    ) -> list[Downloaded]:
        """Fetch files into a directory, each below its relative path, in the order given.

        A file has its name only when it is whole, checked and on the disk. Files that are there with the
        right checksum are not fetched. After an error, or when this process is killed, files that are whole
        stay, and the same call later fetches only what is missing of the others, of which the hidden folder
        ``.rescale-transfers`` keeps the rest.

        :param files: with their metadata, as the lists of a job's files give them. Of a file without a size,
            the metadata are fetched.
        :param directory: made if it is not there.
        :param progress: told how far it is.
        :param names: the relative path of a file, if not its own one: of several runs, files have the same.
        :raises UnsafeName: before anything is fetched, if a path would lead out of the directory, or two
            files have the same.
        :raises CorruptTransfer: if a checksum was wrong twice.
        :raises TransferError: if a file is deleted, not uploaded yet, or can't be stored (no room).
        :raises RescaleError: if Rescale refuses, or can't be reached.
        """
        place = Path(directory)
        wanted = [self._known(file) for file in files]
        paths = [
            safe_relative_path(names(file) if names else file.relative_path or file.name) for file in wanted
        ]
        refuse_clashes(paths)
        if not wanted:
            return []
        with Landing(place) as landing:
            return _Download(self, wanted, paths, landing, progress).run()

    def fetcher(self, schedule: Schedule) -> Fetcher:
        """Return a new worker's way to contents."""
        return Fetcher(self._credentials, self._policy, self._rates, self._network, schedule)

    @property
    def connections(self) -> int:
        """How many connections there are at most."""
        return self._connections

    def _metadata(self, file_id: str) -> RemoteFile:
        if self._client is None:
            self._client = RescaleClient(
                self._credentials,
                policy=self._policy,
                rates=self._rates,
                verify=self._network.verify,
                proxies=self._network.proxies,
                user_agent=self._network.user_agent,
            )
        return self._client.send(get_file(file_id))

    def _known(self, file: RemoteFile) -> RemoteFile:
        """Return a file with its size.

        :raises TransferError: if it can't be fetched at all.
        """
        if file.size is None:
            told = self._metadata(file.id)
            file = replace(told, relative_path=file.relative_path or told.relative_path)
        shown = f"{file.relative_path or file.name} (file {file.id})"
        if file.is_deleted:
            raise TransferError(f"{shown} was deleted at Rescale.", name=file.name)
        if not file.is_uploaded:
            raise TransferError(f"{shown} is not yet uploaded. Wait for the end of its run.", name=file.name)
        if file.size is None:
            raise TransferError(f"{shown}: Rescale does not tell its size.", name=file.name)
        return file


class _Download:
    """One call of ``download``."""

    def __init__(
        self,
        downloader: Downloader,
        files: Sequence[RemoteFile],
        paths: Sequence[str],
        landing: Landing,
        progress: Listener | None,
    ) -> None:
        self._downloader = downloader
        self._landing = landing
        self._files, self._paths = files, paths
        self._found: dict[int, Downloaded] = {}
        self._meter = Meter(progress, len(files), sum(file.size or 0 for file in files))
        self._fetchers: list[Fetcher] = []
        self._schedule = Schedule(Adaptation(downloader.connections))
        self._jobs = [self._job(number) for number in range(len(files))]

    def run(self) -> list[Downloaded]:
        """Do it."""
        self._schedule.add(self._jobs)
        self._fetchers += [self._downloader.fetcher(self._schedule) for _ in range(self._workers())]
        try:
            run_crew(self._schedule, [fetcher.connection for fetcher in self._fetchers], self._meter.tick)
        finally:
            for job in self._jobs:
                job.close()
            self._landing.settle()
        return [self._found[number] for number in range(len(self._files))]

    def _workers(self) -> int:
        """Return how many could have something to do at the same time."""
        useful = sum(1 + (file.size or 0) // SMALL for file in self._files)
        return max(1, min(self._downloader.connections, useful))

    def _job(self, number: int) -> LargeFile | SmallFile:
        file, path = self._files[number], self._paths[number]
        proof = Promise.of(file).proof

        def landed(sha512: str, *, kept: bool) -> None:
            if proof == "size":
                log.warning("%s: Rescale has no checksum of it; only its size was checked", path)
            self._found[number] = Downloaded(self._landing.directory / path, file, sha512, proof, kept)

        kind = SmallFile if (file.size or 0) <= SMALL else LargeFile
        return kind(
            file,
            file.size or 0,
            path,
            landing=self._landing,
            schedule=self._schedule,
            fetchers=self._fetchers.__getitem__,
            meter=self._meter.file(path, file.size or 0),
            landed=landed,
        )
