# SPDX-License-Identifier: Apache-2.0
"""RescaleJobSensor and RescaleStorageDeviceSensor: wait for what somebody else has started at Rescale."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from scale_airflow.errors import RescaleJobFailed
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.rescale.endpoints import (
    list_cluster_statuses,
    list_statuses,
    list_storage_device_statuses,
)
from scale_airflow.rescale.verdict import (
    CLUSTER_GRACE,
    Failed,
    FailureDetection,
    StatusEntry,
    Succeeded,
    Verdict,
    Waiting,
    judge,
    newest_first,
)
from scale_airflow.rescale.waits import Goal
from scale_airflow.triggers.rescale import RescaleJobEvent, RescaleJobTrigger
from scale_airflow.triggers.rescale_waits import RescaleWaitEvent, RescaleWaitTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

DEFAULT_CONNECTION = "rescale_default"
_BROKEN = ("Error", "Failed", "Stopped")


def default_deferrable() -> bool:
    """Return ``[operators] default_deferrable``."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


class RescaleJobSensor(BaseSensorOperator):
    """Waits until a job has succeeded, and fails when it has failed.

    It never stops the job: whoever submitted it does. Its XCom is the job's id.

    :param job_id: the job (templated).
    :param rescale_conn_id: connection of the type ``rescale``.
    :param failure_detection: ``strict``, ``known`` or ``exit_code``: how much is asked of a job that ends as
        ``Completed``.
    :param deferrable: wait in the triggerer, without a worker slot.
    """

    template_fields: Sequence[str] = ("job_id", "rescale_conn_id")
    ui_color = "#d6e9f2"

    def __init__(
        self,
        *,
        job_id: str,
        rescale_conn_id: str = DEFAULT_CONNECTION,
        failure_detection: str = FailureDetection.STRICT.value,
        deferrable: bool | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.job_id = job_id
        self.rescale_conn_id = rescale_conn_id
        self.failure_detection = FailureDetection(failure_detection).value
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Context) -> Any:
        """Wait; the task fails when the job has failed.

        :raises AirflowFailException: if the job failed, since looking again would find the same.
        """
        if not self.deferrable:
            return super().execute(context)
        looked = self.poke(context)
        if looked:
            return looked.xcom_value
        self.defer(
            trigger=RescaleJobTrigger(
                self.job_id,
                self.rescale_conn_id,
                polling_interval=self.poke_interval,
                timeout_at=time.time() + self.timeout,
                failure_detection=self.failure_detection,
                follow_log=False,
                cancel_on_kill=False,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """End as the trigger saw the job end.

        :raises AirflowFailException: if it failed.
        :raises AirflowSensorTimeout: if it was not over in time.
        """
        seen = RescaleJobEvent.from_payload(event)
        if seen.outcome == "succeeded":
            self.log.info("Job %s succeeded", seen.job_id)
            return seen.job_id
        if seen.outcome == "timeout":
            raise AirflowSensorTimeout(f"Job {seen.job_id} was not over after {self.timeout:.0f} seconds.")
        raise self._failure(seen.reason)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once.

        :raises AirflowFailException: if the job failed.
        """
        with RescaleHook(self.rescale_conn_id).client as client:
            clusters = client.all(list_cluster_statuses(self.job_id))
            statuses = client.all(list_statuses(self.job_id))
        verdict = _judge(statuses, clusters, FailureDetection(self.failure_detection))
        if isinstance(verdict, Failed):
            raise self._failure(verdict.reason)
        if isinstance(verdict, Succeeded):
            self.log.info("Job %s succeeded", self.job_id)
            return PokeReturnValue(True, self.job_id)
        self.log.info("Job %s: %s", self.job_id, getattr(verdict, "status", "not submitted yet"))
        return PokeReturnValue(False)

    def _failure(self, reason: str) -> AirflowFailException:
        return AirflowFailException(str(RescaleJobFailed(f"Job {self.job_id} failed. {reason}")))


def _judge(
    statuses: Sequence[StatusEntry], clusters: Sequence[StatusEntry], detection: FailureDetection
) -> Verdict:
    """Judge by one look alone, since a rescheduled sensor remembers nothing between two.

    A cluster that went away just now may be about to be replaced.
    """
    verdict = judge(statuses, clusters, detection)
    completed = any(entry.status == "Completed" for entry in statuses)
    if isinstance(verdict, Failed) and not completed:
        gone = newest_first(clusters)[0].date
        if gone is not None and (datetime.now(timezone.utc) - gone).total_seconds() < CLUSTER_GRACE:
            return Waiting("about to end")
    return verdict


class RescaleStorageDeviceSensor(BaseSensorOperator):
    """Waits until a storage device can be used by jobs (its status is ``Started``).

    :param device_id: the storage device (templated).
    :param rescale_conn_id: connection of the type ``rescale``.
    :param deferrable: wait in the triggerer, without a worker slot.
    """

    template_fields: Sequence[str] = ("device_id", "rescale_conn_id")
    ui_color = "#d6e9f2"

    def __init__(
        self,
        *,
        device_id: str,
        rescale_conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.device_id = device_id
        self.rescale_conn_id = rescale_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Context) -> Any:
        """Wait.

        :raises AirflowFailException: if the device broke or was shut down.
        """
        if not self.deferrable:
            return super().execute(context)
        looked = self.poke(context)
        if looked:
            return looked.xcom_value
        self.defer(
            trigger=RescaleWaitTrigger(
                Goal.DEVICE_STARTED.value,
                self.device_id,
                self.rescale_conn_id,
                interval=self.poke_interval,
                deadline=time.time() + self.timeout,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """End as the trigger saw the device.

        :raises AirflowFailException: if it can't be used any more.
        :raises AirflowSensorTimeout: if it was not started in time.
        """
        seen = RescaleWaitEvent.from_payload(event)
        if seen.outcome == "reached":
            return self.device_id
        if seen.outcome == "timeout":
            raise AirflowSensorTimeout(
                f"Storage device {self.device_id} was not started after {self.timeout:.0f} seconds."
            )
        raise AirflowFailException(seen.reason)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once.

        :raises AirflowFailException: if the device broke or was shut down.
        """
        with RescaleHook(self.rescale_conn_id).client as client:
            statuses = client.all(list_storage_device_statuses(self.device_id))
        found = newest_first(statuses)
        status = found[0].status if found else "not submitted yet"
        if status in _BROKEN:
            because = f": {found[0].reason}" if found[0].reason else ""
            raise AirflowFailException(f"Storage device {self.device_id} is {status}{because}.")
        self.log.info("Storage device %s: %s", self.device_id, status)
        return PokeReturnValue(status == "Started", self.device_id)
