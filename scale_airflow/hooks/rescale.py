# SPDX-License-Identifier: Apache-2.0
"""RescaleHook: the connection to Rescale, for operators and for authors of DAGs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.log import amask_secret, mask_secret

from scale_airflow.errors import ScaleError
from scale_airflow.hooks.rescale_connection import RescaleSettings, read_settings
from scale_airflow.hooks.rescale_form import HIDDEN, LABELS, PLACEHOLDERS
from scale_airflow.rescale import conversations, endpoints
from scale_airflow.rescale.async_client import AsyncRescaleClient
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.stopping import StopMode, stop

if TYPE_CHECKING:
    from scale_airflow.rescale.conversations import Priced
    from scale_airflow.rescale.models import (
        ClusterStatus,
        CoreType,
        Job,
        JobStatus,
        JobSummary,
        RemoteFile,
        User,
    )
    from scale_airflow.rescale.transfers import Downloaded, Downloader, Uploader
    from scale_airflow.rescale.transfers.progress import Listener


class RescaleHook(BaseHook):
    """Talks to Rescale.

    The connection's host is Rescale's address (``https://eu.rescale.com``, or a region: ``eu``), its password
    the API key. Its extra field may have:

    - ``profile``, ``apiconfig_path``: in place of a password, a profile of ``~/.config/rescale/apiconfig``
      (or of another file) on the worker;
    - ``allow_environment``: true takes the key from ``RESCALE_API_KEY`` on the worker (every Rescale job
      has it), or else the profile ``default``;
    - ``verify``: false trusts every certificate, a path names those to trust;
    - ``proxies``: ``{"https": "http://proxy:3128"}``;
    - ``timeout``: seconds without a byte of an answer;
    - ``max_concurrency``: connections at once;
    - ``ssh_key_file`` or ``ssh_private_key``, ``ssh_passphrase``: for commands on clusters;
    - ``rates``: requests an hour by scope, ``{"jobs-usage": 9000, "user": null}``, where several processes
      share a key.

    :param rescale_conn_id: the connection.
    :param purpose: what Rescale is told about who asks (``User-Agent``), such as an operator's name.
    """

    conn_name_attr = "rescale_conn_id"
    default_conn_name = "rescale_default"
    conn_type = "rescale"
    hook_name = "Rescale"

    def __init__(self, rescale_conn_id: str = default_conn_name, *, purpose: str = "", **kwargs: Any):
        super().__init__(**kwargs)
        self.rescale_conn_id = rescale_conn_id
        self.purpose = purpose

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how Airflow shows the connection's form."""
        return {
            "hidden_fields": HIDDEN,
            "relabeling": LABELS,
            "placeholders": PLACEHOLDERS,
        }

    def get_conn(self) -> RescaleClient:
        """Return the client (one a hook)."""
        return self.client

    @cached_property
    def settings(self) -> RescaleSettings:
        """What the connection says.

        :raises InstallationError: with all that is wrong with it.
        """
        settings = read_settings(self.get_connection(self.rescale_conn_id))
        # A key of a file or the environment is not known to Airflow as a secret.
        mask_secret(settings.credentials.api_key.reveal())
        return settings

    def credentials(self) -> Credentials:
        """Return the server and the key."""
        return self.settings.credentials

    @cached_property
    def client(self) -> RescaleClient:
        """The client of the connection; safe to use from several threads.

        :raises InstallationError: if the connection can't be used.
        """
        return RescaleClient(self.settings.credentials, **self.settings.client_arguments(self.purpose))

    async def async_client(self) -> AsyncRescaleClient:
        """Return a new asynchronous client of the connection, for triggers; close it.

        :raises InstallationError: if the connection can't be used.
        """
        settings = read_settings(await self.aget_connection(self.rescale_conn_id))
        await amask_secret(settings.credentials.api_key.reveal())
        return AsyncRescaleClient(settings.credentials, **settings.client_arguments(self.purpose))

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether Rescale answers and takes the key, and whose it is, for the form's Test button."""
        try:
            arguments = self.settings.client_arguments(self.purpose)
            # Somebody waits in front of the form.
            arguments["policy"] = replace(
                self.settings.policy, tries=2, throttled_tries=2, read_timeout=15.0, longest_pause=15.0
            )
            with RescaleClient(self.settings.credentials, **arguments) as client:
                user = client.send(endpoints.get_me())
        except ScaleError as error:
            return False, str(error)
        except Exception as error:
            return False, f"{type(error).__name__}: the connection {self.rescale_conn_id!r} can't be used."
        name = f"{user.full_name} <{user.email}>" if user.full_name else user.email
        return True, f"{client.base_url} answers, and the key is that of {name}."

    def close(self) -> None:
        """Close the client's connections, if there are any."""
        if "client" in self.__dict__:
            self.client.close()

    def get_user(self) -> User:
        """Return the user of the key."""
        return self.client.send(endpoints.get_me())

    def create_job(self, body: Mapping[str, Any]) -> Job:
        """Save a job, which neither starts it nor costs anything.

        :param body: as Rescale's API documents it: create a job.
        :raises RescaleRefused: field by field, with what Rescale would have taken.
        """
        return self.client.run(conversations.create(body))

    def create_job_like(self, job_id: str, changes: Mapping[str, Any] | None = None) -> Job:
        """Save a new job like a saved one.

        :param changes: what is different; objects are merged, ``jobanalyses`` one by one, None takes away.
        """
        return self.client.run(conversations.create_like(job_id, changes))

    def change_job(self, job_id: str, changes: Mapping[str, Any]) -> Job:
        """Change a saved job.

        :raises RescaleRefused: if Rescale has not made the change, whatever it answered.
        """
        return self.client.run(conversations.change_job(job_id, changes))

    def price_job(self, body: Mapping[str, Any], max_cost: Decimal | float | str | None = None) -> Priced:
        """Choose hardware for ``"coreType": "cheapest"`` and say what a job costs at most.

        :raises RescaleCostRefused: if that is more than ``max_cost``; with the figure.
        """
        return self.client.run(conversations.priced(body, max_cost))

    def submit_job(self, job_id: str) -> None:
        """Start a saved job: from here on it costs money.

        :raises RescaleUncertain: if it may have started; read its statuses before another try.
        """
        self.client.send(endpoints.submit_job(job_id))

    def get_job(self, job_id: str) -> Job:
        """Return a job as it was saved."""
        return self.client.send(endpoints.get_job(job_id))

    def list_jobs(self, **filters: Any) -> list[JobSummary]:
        """Return jobs, newest first (see :func:`scale_airflow.rescale.endpoints.list_jobs`)."""
        return self.client.all(endpoints.list_jobs(**filters))

    def job_statuses(self, job_id: str) -> list[JobStatus]:
        """Return the history of a job, as Rescale gives it: newest first."""
        return self.client.all(endpoints.list_statuses(job_id))

    def cluster_statuses(self, job_id: str) -> list[ClusterStatus]:
        """Return the history of a job's cluster; empty until it exists."""
        return self.client.all(endpoints.list_cluster_statuses(job_id))

    def stop_job(self, job_id: str, *, force: bool = False) -> None:
        """Stop a job; doing so twice, or when it has ended, is no error.

        :param force: at once, rather than letting its commands end.
        """
        self.client.run(stop(job_id, StopMode.FORCE if force else StopMode.GRACEFUL))

    def delete_job(self, job_id: str, *, delete_input_files: bool = False) -> None:
        """Delete a job, whose cluster must have stopped."""
        self.client.send(endpoints.delete_job(job_id, delete_input_files=delete_input_files))

    def job_files(self, job_id: str, search: str | None = None) -> list[RemoteFile]:
        """Return the output files of a job's finished runs."""
        return self.client.all(endpoints.list_job_files(job_id, search=search))

    def list_files(self, search: str | None = None) -> list[RemoteFile]:
        """Return the user's files, newest first."""
        return self.client.all(endpoints.list_files(search=search))

    def upload_files(
        self, paths: Sequence[Path | str], *, progress: Listener | None = None, reuse: bool = True
    ) -> list[RemoteFile]:
        """Send files over several connections, and directories as one zip archive each.

        :param reuse: don't send what is there already, with the same name and checksum.
        :raises TransferError: if a file can't be read or sent; then nothing of this call stays.
        """
        with self.uploader() as uploader:
            return uploader.upload(paths, progress=progress, reuse=reuse)

    def upload_file(self, path: Path | str) -> RemoteFile:
        """Send one file, or a directory as one zip archive."""
        return self.upload_files([path])[0]

    def download_files(
        self, files: Sequence[RemoteFile], directory: Path | str, *, progress: Listener | None = None
    ) -> list[Downloaded]:
        """Fetch files over several connections, checked by their sums; no file is there before it is whole.

        :param files: such as :meth:`job_files` returns.
        :raises UnsafeName: before anything is fetched, if a path would lead out of the directory.
        :raises TransferError: if a file can't be had or stored; the next call fetches only what is missing.
        """
        with self.downloader() as downloader:
            return downloader.download(files, directory, progress=progress)

    def uploader(self) -> Uploader:
        """Return a new uploader of the connection; close it."""
        from scale_airflow.rescale.transfers import Uploader

        return Uploader(self.credentials(), **self.settings.transfer_arguments(self.purpose))

    def downloader(self) -> Downloader:
        """Return a new downloader of the connection; close it."""
        from scale_airflow.rescale.transfers import Downloader

        return Downloader(self.credentials(), **self.settings.transfer_arguments(self.purpose))

    def delete_files(self, file_ids: Iterable[str]) -> None:
        """Delete files."""
        for file_id in file_ids:
            self.client.send(endpoints.delete_file(file_id))

    def core_types(self) -> list[CoreType]:
        """Return the kinds of hardware."""
        return self.client.all(endpoints.list_core_types())
