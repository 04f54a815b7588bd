# SPDX-License-Identifier: Apache-2.0
"""Quasi-persistent clusters: start one, run commands on it from several tasks, stop it.

Written out, ``start`` is a setup task and ``stop`` its teardown; :func:`rescale_cluster` does that. Whatever
happens, a cluster ends: the teardown runs also when the start has failed and stops every cluster of its task,
the cluster ends itself when nobody uses it, and Rescale ends it after its walltime.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException

from scale_airflow.errors import ScaleError
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.hooks.rescale_cluster import CommandResult, RescaleClusterHook
from scale_airflow.operators.rescale_memory import first_moment, marker_of
from scale_airflow.operators.rescale_start import RescaleStartClusterOperator
from scale_airflow.operators.rescale_templates import RescaleTemplates
from scale_airflow.operators.rescale_wait import DEFAULT_CONNECTION, RescaleWaitingOperator
from scale_airflow.rescale.endpoints import list_cluster_statuses, list_statuses
from scale_airflow.rescale.stopping import StopMode, stop
from scale_airflow.rescale.submission import Marker
from scale_airflow.rescale.submission_client import ClientPort, NoStore
from scale_airflow.rescale.waits import Goal, is_gone
from scale_airflow.triggers.rescale_command import RescaleCommandTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "ClusterTasks",
    "RescaleClusterCommandOperator",
    "RescaleStartClusterOperator",
    "RescaleStopClusterOperator",
    "rescale_cluster",
]

_SHOWN_LINES = 20
_KILL_PATIENCE = 45.0
# What is left running costs money.
_STOP_AGAIN = timedelta(seconds=15)


class RescaleClusterCommandOperator(RescaleTemplates):
    """Runs a command on a cluster; its XCom is the last line that it prints.

    Files are copied before and after. The command outlives a broken connection and a worker that is killed:
    the next try goes on with it. An exit code other than 0 fails the task. When the task is killed, cleared
    or marked, the command is ended.

    :param cluster: the result of ``RescaleStartClusterOperator``, or a job's id (templated).
    :param command: lines for bash, run in the job's work folder (templated; ``${…}`` stays as it is).
    :param environment: variables for it (templated).
    :param upload: files and folders of the worker to copy before, each to a folder of the work folder
        (templated).
    :param download: files and folders of the work folder to copy afterwards, each to a folder of the worker
        (templated).
    :param rescale_conn_id: connection of the type ``rescale``, with the SSH key in its extra field.
    :param deferrable: wait in the triggerer, without a worker slot.
    """

    template_fields: Sequence[str] = (
        *("cluster", "command", "environment"),
        *("upload", "download", "rescale_conn_id"),
    )
    document_fields: Sequence[str] = ()
    template_fields_renderers = {"command": "bash", "environment": "json"}  # noqa: RUF012 - as Airflow has it
    ui_color = "#e3d8f0"

    def __init__(
        self,
        *,
        cluster: Any,
        command: str,
        environment: Mapping[str, str] | None = None,
        upload: Mapping[str, str] | None = None,
        download: Mapping[str, str] | None = None,
        rescale_conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.cluster = cluster
        self.command = command
        self.environment = environment
        self.upload = upload
        self.download = download
        self.rescale_conn_id = rescale_conn_id
        self.deferrable = (
            bool(conf.getboolean("operators", "default_deferrable", fallback=False))
            if deferrable is None
            else deferrable
        )
        self._name: str | None = None

    def execute(self, context: Context) -> Any:
        """Copy what the command needs, and run it.

        :raises AirflowException: if its exit code is not 0; with the last lines.
        :raises RescaleError: if the cluster can't be reached.
        """
        hook = self._hook()
        for source, folder in (self.upload or {}).items():
            self.log.info("Copying %s to %s", source, folder)
            hook.put([source], folder)
        name = marker_of(context, None).tag
        if self.deferrable:
            self.defer(
                trigger=RescaleCommandTrigger(
                    hook.address.job_id,
                    name,
                    self.command,
                    dict(self.environment or {}),
                    hook.address.host_key,
                    self.rescale_conn_id,
                ),
                method_name="resume",
            )
        self._name = name
        result = hook.run(
            self.command,
            name=name,
            environment=self.environment,
            on_line=lambda line: self.log.info("%s", line),
        )
        self._name = None
        return self._end(result)

    def resume(self, context: Context, event: Any = None) -> Any:
        """Go on after the triggerer has seen the command end.

        :raises AirflowException: if its exit code is not 0, or the cluster could not be reached.
        """
        if not isinstance(event, dict) or not ("error" in event or isinstance(event.get("exit_code"), int)):
            raise ValueError("The event of RescaleCommandTrigger must have an exit_code or an error.")
        if "error" in event:
            raise AirflowException(str(event["error"]))
        self._forget(marker_of(context, None).tag)
        lines = event.get("last_lines")
        return self._end(CommandResult(event["exit_code"], tuple(map(str, lines or ()))))

    def on_kill(self) -> None:
        """End the command."""
        name, self._name = self._name, None
        if name is None:
            return
        # In a thread of its own: this is called from within the event loop that follows the command.
        ending = threading.Thread(target=self._end_command, args=(name,), daemon=True)
        ending.start()
        ending.join(_KILL_PATIENCE)

    def _end_command(self, name: str) -> None:
        try:
            self._hook().end(name)
        except ScaleError as error:
            self.log.warning("The command could not be ended: %s", error)

    def _forget(self, name: str) -> None:
        try:
            self._hook().forget(name)
        except ScaleError as error:
            # It has ended, and the cluster may be gone by now.
            self.log.info("The cluster could not be told that the command's end is known: %s", error)

    def _hook(self) -> RescaleClusterHook:
        return RescaleClusterHook(self.cluster, self.rescale_conn_id)

    def _end(self, result: CommandResult) -> str | None:
        if result.exit_code:
            shown = "\n".join(result.last_lines[-_SHOWN_LINES:])
            raise AirflowException(
                f"The command ended with exit code {result.exit_code}:\n{shown}".rstrip(":\n")
            )
        hook = self._hook()
        for source, folder in (self.download or {}).items():
            self.log.info("Copying %s to %s", source, folder)
            hook.get([source], folder)
        return result.last_lines[-1] if result.last_lines else None


class RescaleStopClusterOperator(RescaleWaitingOperator):
    """Stops the clusters that a start task of this DAG run has started, and waits until they are gone.

    It finds them by the marker in their names, so also one of which the start task did not live to tell. Made
    a teardown by :func:`rescale_cluster`.

    :param start_task_id: the task of ``RescaleStartClusterOperator``.
    :param save_files: let Rescale store the work folder; without, stop at once.
    """

    template_fields: Sequence[str] = ("start_task_id", "rescale_conn_id")

    def __init__(self, *, start_task_id: str, save_files: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.start_task_id = start_task_id
        self.save_files = save_files

    def execute(self, context: Context) -> Any:
        """Stop what runs, then wait for its end.

        :raises RescaleError: if something could not be stopped.
        """
        return self._stop_next(context)

    def resume(self, context: Any, event: Any = None) -> Any:
        """Look whether more is left, after a wait in the triggerer."""
        super().resume(context, event)
        return self._stop_next(context)

    def _stop_next(self, context: Context) -> list[str]:
        mode = StopMode.GRACEFUL if self.save_files else StopMode.FORCE
        stopped: list[str] = []
        while left := self._left(context, stopped):
            with RescaleHook(self.rescale_conn_id).client as client:
                for job_id in left:
                    self.log.info("Cluster %s: %s", job_id, client.run(stop(job_id, mode)))
            self.wait(Goal.CLUSTER_GONE, left[0])
            stopped.append(left[0])
        self.log.info("No cluster of the task %s is left", self.start_task_id)
        return stopped

    def _left(self, context: Context, known: Sequence[str]) -> list[str]:
        """Return the jobs of the start task that were submitted and whose cluster is not gone.

        Also those that have completed: their clusters go a little later.
        """
        ti: Any = context["ti"]
        marker = Marker.of(ti.dag_id, ti.run_id, self.start_task_id, -1, None)
        left = []
        with RescaleHook(self.rescale_conn_id).client as client:
            port = ClientPort(client, NoStore(), dict, since=first_moment(context), logger=self.log)
            for found in port.find_marked(marker.key):
                if found.id in known or marker.payload_of(found.name) is None:
                    continue
                clusters = client.all(list_cluster_statuses(found.id))
                statuses = client.all(list_statuses(found.id))
                if not is_gone(statuses, clusters)[0]:
                    left.append(found.id)
        return left


class ClusterTasks:
    """What :func:`rescale_cluster` gives: the cluster, and tasks on it."""

    def __init__(self, start: RescaleStartClusterOperator, stop: RescaleStopClusterOperator):
        self.start = start
        self.stop = stop

    @property
    def cluster(self) -> Any:
        """The result of the start task, for operators and for ``RescaleClusterHook`` in Python tasks."""
        return self.start.output

    def command(self, task_id: str, command: str, **arguments: Any) -> RescaleClusterCommandOperator:
        """Return a task that runs a command on the cluster."""
        arguments.setdefault("rescale_conn_id", self.start.rescale_conn_id)
        arguments.setdefault("deferrable", self.start.deferrable)
        return RescaleClusterCommandOperator(
            task_id=task_id, cluster=self.cluster, command=command, **arguments
        )


@contextmanager
def rescale_cluster(name: str, *, save_files: bool = False, **arguments: Any) -> Iterator[ClusterTasks]:
    """Start a cluster before the tasks of the block, and stop it after them, whatever becomes of them.

    :param name: of the cluster; its tasks are ``<name>_start`` and ``<name>_stop``.
    :param save_files: let Rescale store the work folder when the cluster stops.
    :param arguments: of :class:`RescaleStartClusterOperator`.
    """
    start = RescaleStartClusterOperator(task_id=f"{name}_start", name=name, **arguments)
    stop_task = RescaleStopClusterOperator(
        task_id=f"{name}_stop",
        start_task_id=start.task_id,
        save_files=save_files,
        rescale_conn_id=start.rescale_conn_id,
        deferrable=start.deferrable,
        polling_interval=start.polling_interval,
        retries=3,
        retry_delay=_STOP_AGAIN,
    )
    with stop_task.as_teardown(setups=start):
        yield ClusterTasks(start, stop_task)
    # A start that failed may have left a cluster too. Airflow's own rule for teardowns passes that over.
    stop_task.trigger_rule = TriggerRule.ALL_DONE
