# SPDX-License-Identifier: Apache-2.0
"""The steps of a submission, done with a client of Rescale's API."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from scale_airflow.errors import RescaleError, RescaleNotFound, RescaleRefused
from scale_airflow.rescale import conversations
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.endpoints import (
    attach_storage_device,
    delete_job,
    list_cluster_statuses,
    list_jobs,
    list_statuses,
    submit_job,
)
from scale_airflow.rescale.submission_steps import Found, Memory
from scale_airflow.rescale.verdict import StatusEntry

log = logging.getLogger(__name__)

_PAGE = 100
# Beyond so many jobs newer than the task, a draft of it is given up: it is free.
_MOST = 5000
# The server's clock and ours may differ.
_CLOCKS = timedelta(minutes=10)


class Store(Protocol):
    """Where a task's next try finds what this one knows."""

    def recall(self) -> Memory | None:
        """Return what was stored last."""

    def remember(self, memory: Memory) -> None:
        """Store; return only when it is there.

        :raises Exception: if it could not be stored, also because another try has taken over.
        """


class NoStore:
    """For a task that is not durable: nothing is remembered."""

    def recall(self) -> Memory | None:
        """Return None."""
        return None

    def remember(self, memory: Memory) -> None:
        """Do nothing."""


class ClientPort:
    """Does a submission's steps.

    :param prepare: uploads the inputs and returns the body, with the marker in it.
    :param since: when the task can first have made a job; older jobs are not searched.
    :param storage_devices: ids of devices to attach before the submit.
    :param on_job: told the job's id the moment it is known.
    :param search: look for jobs that carry the task's marker.
    :param checkpoint: called before each step; raises to end the submission (the task was killed).
    """

    def __init__(
        self,
        client: RescaleClient,
        store: Store,
        prepare: Callable[[], dict[str, Any]],
        *,
        since: datetime | None = None,
        storage_devices: Sequence[str] = (),
        on_job: Callable[[str], None] = lambda job_id: None,
        checkpoint: Callable[[], None] = lambda: None,
        search: bool = True,
        logger: Any = log,
    ) -> None:
        self._client = client
        self._store = store
        self._prepare = prepare
        self._since = since
        self._devices = tuple(storage_devices)
        self._on_job = on_job
        self._checkpoint = checkpoint
        self._search = search
        self._log = logger

    def recall(self) -> Memory | None:
        """Return what an earlier try remembered."""
        return self._store.recall()

    def remember(self, memory: Memory) -> None:
        """Store it, after the killer was told which job it is."""
        self._on_job(memory.job_id)
        self._checkpoint()
        self._store.remember(memory)

    def read_statuses(self, job_id: str) -> Sequence[StatusEntry]:
        """Return the job's history. Rescale API: list job status history."""
        return self._client.all(list_statuses(job_id))

    def read_clusters(self, job_id: str) -> Sequence[StatusEntry]:
        """Return its cluster's history. Rescale API: list cluster status history."""
        return self._client.all(list_cluster_statuses(job_id))

    def find_marked(self, key: str) -> Sequence[Found]:
        """Return jobs whose name has ``key`` in it, newest first. Rescale API: list all jobs.

        The list can't be searched by name: it is read from its newest end to the time before the task began.
        """
        found: list[Found] = []
        if not self._search:
            return found
        for seen, job in enumerate(self._client.pages(list_jobs(ordering="-dateInserted", page_size=_PAGE))):
            old = (
                self._since is not None and job.inserted is not None and job.inserted < self._since - _CLOCKS
            )
            if old or seen >= _MOST:
                break
            if key in job.name:
                found.append(Found(job.id, job.name))
        return found

    def prepare(self) -> dict[str, Any]:
        """Upload the inputs and return the body."""
        self._checkpoint()
        return self._prepare()

    def create(self, body: dict[str, Any]) -> str:
        """Save a draft; a refusal says what Rescale would have taken. Rescale API: create a job."""
        self._checkpoint()
        job = self._client.run(conversations.create(body))
        self._log.info("Job %s is saved: %s", job.id, job.name)
        return job.id

    def equip(self, job_id: str) -> None:
        """Attach the storage devices.

        :raises RescaleRefused: naming a device that is not there.
        """
        self._on_job(job_id)
        for device in self._devices:
            try:
                self._client.send(attach_storage_device(job_id, device))
            except RescaleNotFound as error:
                raise RescaleRefused(
                    f"The storage device {device!r} can't be attached to job {job_id}: {error}",
                    status=error.status,
                    job_id=job_id,
                ) from error

    def submit(self, job_id: str) -> None:
        """Start the job. Rescale API: submit a saved job."""
        self._checkpoint()
        self._client.send(submit_job(job_id))
        self._log.info("Job %s is submitted", job_id)

    def discard(self, job_id: str) -> None:
        """Delete a draft."""
        try:
            self._client.send(delete_job(job_id))
        except RescaleError as error:
            self._log.warning("Draft %s, which is not needed, could not be deleted: %s", job_id, error)

    def pause(self, seconds: float) -> None:
        """Wait, and see now and then whether there is still something to wait for."""
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            self._checkpoint()
            time.sleep(min(rest, 0.5))

    def say(self, text: str) -> None:
        """Write it to the log."""
        self._log.info("%s", text)
