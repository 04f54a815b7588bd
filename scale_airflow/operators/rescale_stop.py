# SPDX-License-Identifier: Apache-2.0
"""Stopping a task's job from a signal's handler, within the few seconds that there are."""

from __future__ import annotations

import time
from typing import Any

from scale_airflow.errors import RescaleError
from scale_airflow.hooks.rescale_connection import RescaleSettings
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.rates import RateBuckets
from scale_airflow.rescale.stopping import StopMode, stop

# Five seconds after SIGTERM a task is killed for good.
_HASTE = RequestPolicy(
    connect_timeout=1.5,
    read_timeout=2.0,
    answer_timeout=2.0,
    tries=2,
    first_pause=0.2,
    pause_cap=0.2,
    longest_pause=1.0,
)
_DRAFT_PAUSE = 0.7


class TaskKilledError(RescaleError):
    """The task was killed while it worked on its job."""


class StopOnKill:
    """Knows a task's job and stops it.

    The handler interrupts the main thread anywhere, also where that holds a lock: it must touch neither the
    task's own client nor its rate buckets, and not ask Airflow for the connection.

    :param settings: of the connection, read before.
    """

    def __init__(self, settings: RescaleSettings, mode: StopMode, log: Any) -> None:
        self.job_id: str | None = None
        self._settings = settings
        self._mode = mode
        self._log = log
        self._killed = False

    def checkpoint(self) -> None:
        """End the work of a task that was killed.

        :raises TaskKilledError: if it was.
        """
        if self._killed:
            raise TaskKilledError("The task was killed", job_id=self.job_id)

    def kill(self, *, stop_it: bool) -> None:
        """Note the kill and, if wanted, stop the job."""
        self._killed = True
        if stop_it:
            self.stop()
        elif self.job_id is not None:
            self._log.info("Job %s goes on (cancel_on_kill is off)", self.job_id)

    def stop(self) -> None:
        """Stop the job; where that fails, say so, since it costs money."""
        if self.job_id is None:
            return
        try:
            with self._client() as client:
                came = client.run(stop(self.job_id, self._mode))
                if came == "draft":
                    # Its submit may be under way.
                    time.sleep(_DRAFT_PAUSE)
                    came = client.run(stop(self.job_id, self._mode))
            self._log.info("Job %s: %s", self.job_id, came)
        except RescaleError as error:
            self._log.error("Job %s could not be stopped and may go on to cost money: %s", self.job_id, error)

    def _client(self) -> RescaleClient:
        return RescaleClient(
            self._settings.credentials,
            policy=_HASTE,
            rates=RateBuckets({}),
            verify=self._settings.verify,
            proxies=self._settings.proxies,
        )
