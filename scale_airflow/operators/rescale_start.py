# SPDX-License-Identifier: Apache-2.0
"""RescaleStartClusterOperator: a cluster that stays up for the commands of other tasks."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from scale_airflow.errors import RescaleJobFailed, ScaleError
from scale_airflow.hooks.rescale_cluster import RescaleClusterHook, private_key_of
from scale_airflow.operators.rescale import RescaleSubmitJobOperator
from scale_airflow.rescale.clusters import (
    DEFAULT_ANALYSIS,
    DEFAULT_IDLE_MINUTES,
    cluster_name,
    waiting_command,
)
from scale_airflow.rescale.submission import failed
from scale_airflow.rescale.submission_steps import Memory
from scale_airflow.rescale.waits import Goal, Rhythm, wait_for
from scale_airflow.triggers.rescale_waits import RescaleWaitEvent, RescaleWaitTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from scale_airflow.rescale.client import RescaleClient


class RescaleStartClusterOperator(RescaleSubmitJobOperator):
    """Starts a cluster and waits until commands can be run on it; one is paid for, whatever is killed.

    Its XCom, ``{"job_id", "job_url", "host_key"}``, is the ``cluster`` of ``RescaleClusterCommandOperator``
    and ``RescaleClusterHook``. If the cluster can't be used, it is stopped and the task fails.

    Use :func:`~scale_airflow.operators.rescale_cluster.rescale_cluster`, which stops it as well.

    :param name: of the cluster (templated).
    :param core_type: hardware; ``cheapest`` takes what costs least of that which fits.
    :param cores: cores per slot.
    :param walltime: hours after which Rescale ends it in any case.
    :param idle_minutes: it ends itself when nobody has used it for so long; None leaves that to the walltime.
    :param analysis: software on it, ``code`` or ``code:version``.
    :param timeout: seconds that it may take to come up; it is stopped when that is over.
    :param arguments: others of :class:`~scale_airflow.operators.rescale.RescaleSubmitJobOperator`: ``slots``,
        ``low_priority``, ``project_id``, ``env_vars``, ``inputs``, ``storage_devices``, ``max_cost``,
        ``rescale_conn_id``, ``deferrable``, ``polling_interval``.
    """

    def __init__(
        self,
        *,
        name: str,
        core_type: str,
        cores: int,
        walltime: float,
        idle_minutes: float | None = DEFAULT_IDLE_MINUTES,
        analysis: str = DEFAULT_ANALYSIS,
        timeout: float | timedelta | None = None,
        polling_interval: float = 15.0,
        **arguments: Any,
    ):
        super().__init__(
            name=cluster_name(name),
            command=waiting_command(walltime, idle_minutes),
            analysis=analysis,
            core_type=core_type,
            cores_per_slot=cores,
            walltime=walltime,
            timeout=timeout,
            polling_interval=polling_interval,
            **arguments,
        )
        self.cores = cores
        self.idle_minutes = idle_minutes

    def execute(self, context: Context) -> Any:
        """Start the cluster and wait, or defer.

        :raises InstallationError: if there is no SSH key, before anything costs money.
        :raises RescaleJobFailed: if the cluster does not come up.
        """
        store = self._store(context)
        memory = store.recall()
        if memory is not None and memory.finished is not None and not self._again(context, memory):
            self.log.info("An earlier try has started the cluster")
            return memory.result
        hook = self._hook()
        private_key_of(hook.get_connection(self.rescale_conn_id)).load()
        limit = self.timeout.total_seconds() if isinstance(self.timeout, timedelta) else self.timeout
        deadline = None if limit is None else time.time() + limit
        with hook.client as client:
            job_id, over = self._settle(context, hook, client, store)
            if over:
                self._useless(
                    context, job_id, RescaleJobFailed("The cluster has ended already", job_id=job_id)
                )
            if not self.deferrable:
                self._wait_until_ready(context, client, job_id, deadline)
                return self._ready(context, job_id)
        self.defer(
            trigger=RescaleWaitTrigger(
                Goal.CLUSTER_READY.value,
                job_id,
                self.rescale_conn_id,
                interval=self.polling_interval,
                deadline=deadline,
                stop_job_on_kill=self.cancel_on_kill,
            ),
            method_name="resume",
        )

    def resume(self, context: Context, event: Any = None) -> Any:
        """Go on when the triggerer has seen the cluster come up.

        :raises RescaleJobFailed: if it does not.
        """
        seen = RescaleWaitEvent.from_payload(event)
        self._know(self._hook(), seen.subject_id)
        if seen.outcome != "reached":
            self._useless(context, seen.subject_id, RescaleJobFailed(seen.reason, job_id=seen.subject_id))
        return self._ready(context, seen.subject_id)

    def _wait_until_ready(
        self, context: Context, client: RescaleClient, job_id: str, deadline: float | None
    ) -> None:
        rhythm = Rhythm(self.polling_interval, deadline)
        try:
            client.run(
                wait_for(
                    Goal.CLUSTER_READY,
                    job_id,
                    rhythm,
                    lambda news: self.log.info("Cluster %s: %s", job_id, news),
                )
            )
        except TimeoutError as error:
            self._useless(context, job_id, AirflowException(str(error)))
        except ScaleError as error:
            self._useless(context, job_id, error)

    def _ready(self, context: Context, job_id: str) -> dict[str, Any]:
        """Try the SSH key, so that a wrong one is known now, and hand the cluster on."""
        host_key = ""
        try:
            host_key = RescaleClusterHook(job_id, self.rescale_conn_id).host_key()
        except ScaleError as error:
            self._useless(context, job_id, error)
        self.log.info("Cluster %s is up", job_id)
        result: dict[str, Any] = self._done(context, job_id, {**self._told(job_id), "host_key": host_key})
        return result

    def _useless(self, context: Context, job_id: str, error: Exception) -> None:
        """Stop a cluster that can't be used, and fail; the next try starts another one."""
        self._stop(f"it can't be used: {error}")
        self._store(context).remember(failed(Memory(job_id), str(error)))
        raise error
