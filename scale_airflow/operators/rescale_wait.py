# SPDX-License-Identifier: Apache-2.0
"""The base of the Rescale operators that wait for a cluster or storage device, here or in the triggerer."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException

from scale_airflow.errors import ScaleError
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.rescale.waits import Goal, Rhythm, wait_for
from scale_airflow.triggers.rescale_waits import RescaleWaitEvent, RescaleWaitTrigger

DEFAULT_CONNECTION = "rescale_default"


class RescaleWaitingOperator(BaseOperator):
    """Waits where it is told to; subclasses ask for something and end in :meth:`reached`.

    :param rescale_conn_id: connection of the type ``rescale``.
    :param deferrable: wait in the triggerer, without a worker slot (default: ``[operators]
        default_deferrable``).
    :param polling_interval: seconds between two looks.
    :param timeout: seconds after which waiting is given up and the task fails; None for never.
    """

    ui_color = "#e3d8f0"
    # What is to be stopped when a user takes the task away while it waits in the triggerer.
    stops_job_on_kill = False

    def __init__(
        self,
        *,
        rescale_conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool | None = None,
        polling_interval: float = 20.0,
        timeout: float | timedelta | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.rescale_conn_id = rescale_conn_id
        self.deferrable = (
            conf.getboolean("operators", "default_deferrable", fallback=False)
            if deferrable is None
            else deferrable
        )
        self.polling_interval = polling_interval
        self.timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout

    def wait(self, goal: Goal, subject_id: str) -> Any:
        """Wait for ``goal``, then return what :meth:`reached` returns; or defer.

        :raises ScaleError: if it can't come.
        :raises AirflowException: if it is late.
        """
        deadline = None if self.timeout is None else time.time() + self.timeout
        if self.deferrable:
            self.defer(
                trigger=RescaleWaitTrigger(
                    goal.value,
                    subject_id,
                    self.rescale_conn_id,
                    interval=self.polling_interval,
                    deadline=deadline,
                    stop_job_on_kill=self.stops_job_on_kill,
                ),
                method_name="resume",
            )
        rhythm = Rhythm(self.polling_interval, deadline)
        with RescaleHook(self.rescale_conn_id).client as client:
            try:
                status = client.run(
                    wait_for(goal, subject_id, rhythm, lambda news: self.log.info("%s: %s", subject_id, news))
                )
            except TimeoutError as error:
                return self.missed(subject_id, AirflowException(str(error)))
            except ScaleError as error:
                return self.missed(subject_id, error)
        return self.reached(subject_id, status)

    def resume(self, context: Any, event: Any = None) -> Any:
        """Go on after the triggerer's wait."""
        seen = RescaleWaitEvent.from_payload(event)
        if seen.outcome == "reached":
            return self.reached(seen.subject_id, seen.reason)
        return self.missed(seen.subject_id, AirflowException(seen.reason))

    def reached(self, subject_id: str, status: str) -> Any:
        """Return the task's result; what was waited for is there."""
        self.log.info("%s: %s", subject_id, status)
        return subject_id

    def missed(self, subject_id: str, error: Exception) -> Any:
        """End after waiting in vain; a subclass may clean up first."""
        raise error
