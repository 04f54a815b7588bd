# SPDX-License-Identifier: Apache-2.0
"""Operators for single steps of a Rescale job's life: create, stop, delete, snapshot.

To create, start, wait for and fetch a job in one task, use
:class:`~scale_airflow.operators.rescale.RescaleSubmitJobOperator`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from scale_airflow.errors import RescaleNotFound, RescaleRefused, RescaleUncertain
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.operators.rescale_memory import marker_of
from scale_airflow.operators.rescale_order import read_document
from scale_airflow.operators.rescale_templates import RescaleTemplates
from scale_airflow.operators.rescale_wait import DEFAULT_CONNECTION, RescaleWaitingOperator
from scale_airflow.rescale.conversations import create
from scale_airflow.rescale.endpoints import (
    delete_job,
    list_jobs,
    list_statuses,
    snapshot_run,
)
from scale_airflow.rescale.stopping import StopMode, stop
from scale_airflow.rescale.submission import Marker
from scale_airflow.rescale.waits import Goal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from scale_airflow.rescale.client import RescaleClient

# So far back a draft of an earlier try is looked for.
_NEWEST = 200


class RescaleCreateJobOperator(RescaleTemplates):
    """Saves a job without starting it, which costs nothing; its XCom is the job's id.

    A try that does not know whether an earlier one has saved the job finds it by the marker in its name.

    :param job: the job as Rescale's API takes it, or the name of a JSON or YAML file (templated; ``${…}``
        stays as it is).
    :param rescale_conn_id: connection of the type ``rescale``.
    """

    template_fields: Sequence[str] = ("job", "rescale_conn_id")
    template_fields_renderers = {"job": "json"}  # noqa: RUF012 - as Airflow has it
    ui_color = "#e3d8f0"

    def __init__(
        self, *, job: Mapping[str, Any] | str, rescale_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.job = job
        self.rescale_conn_id = rescale_conn_id

    def execute(self, context: Context) -> str:
        """Save the job.

        :raises InvalidDocument: if it is no object.
        :raises RescaleRefused: with each field that Rescale does not accept.
        """
        body = read_document(self.job)
        marker = marker_of(context, body)
        named = {**body, "name": marker.name(str(body.get("name") or self.task_id))}
        with RescaleHook(self.rescale_conn_id).client as client:
            found = _draft(client, marker) if context["ti"].try_number > 1 else None
            if found is not None:
                self.log.info("Job %s was saved by an earlier try", found)
                return found
            try:
                job = client.run(create(named))
            except RescaleUncertain:
                found = _draft(client, marker)
                if found is None:
                    raise
                return found
        self.log.info("Saved job %s", job.id)
        return job.id


def _draft(client: RescaleClient, marker: Marker) -> str | None:
    """Return the newest job that carries the marker and was never submitted."""
    from itertools import islice

    for job in islice(client.pages(list_jobs(page_size=_NEWEST)), _NEWEST):
        if marker.payload_of(job.name) == marker.payload and not client.all(list_statuses(job.id)):
            return job.id
    return None


class RescaleStopJobOperator(RescaleWaitingOperator):
    """Stops a job, and waits until its cluster is gone; its XCom is the job's id.

    A job that has ended already is no error.

    :param job_id: the job (templated).
    :param stop_mode: ``graceful`` (the command gets SIGTERM, files are saved) or ``force``.
    :param wait_for_termination: wait until the cluster has stopped and costs nothing any more.
    """

    template_fields: Sequence[str] = ("job_id", "rescale_conn_id")

    def __init__(
        self,
        *,
        job_id: str,
        stop_mode: str = StopMode.GRACEFUL.value,
        wait_for_termination: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.job_id = job_id
        self.stop_mode = StopMode(stop_mode).value
        self.wait_for_termination = wait_for_termination

    def execute(self, context: Context) -> Any:
        """Stop the job."""
        with RescaleHook(self.rescale_conn_id).client as client:
            came = client.run(stop(self.job_id, StopMode(self.stop_mode)))
        self.log.info("Job %s: %s", self.job_id, came)
        if not self.wait_for_termination:
            return self.job_id
        return self.wait(Goal.CLUSTER_GONE, self.job_id)


class RescaleDeleteJobOperator(RescaleWaitingOperator):
    """Deletes a job once its cluster is gone; one that does not exist any more is no error.

    It does not stop the job: a job that runs is waited for.

    :param job_id: the job (templated).
    :param delete_input_files: delete its inputs as well; jobs that share them can't be submitted any more.
    """

    template_fields: Sequence[str] = ("job_id", "rescale_conn_id")

    def __init__(self, *, job_id: str, delete_input_files: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.job_id = job_id
        self.delete_input_files = delete_input_files

    def execute(self, context: Context) -> Any:
        """Delete the job."""
        if self._delete():
            return None
        return self.wait(Goal.CLUSTER_GONE, self.job_id)

    def reached(self, subject_id: str, status: str) -> None:
        """Delete the job, now that its cluster is gone."""
        if not self._delete():
            raise AirflowException(f"Job {subject_id} can't be deleted, though its cluster is {status}.")

    def missed(self, subject_id: str, error: Exception) -> Any:
        """A job that is gone meanwhile needs no deleting."""
        if isinstance(error, RescaleNotFound):
            return None
        raise error

    def _delete(self) -> bool:
        """Delete the job; False if Rescale does not let it go yet."""
        call = delete_job(self.job_id, delete_input_files=self.delete_input_files)
        with RescaleHook(self.rescale_conn_id).client as client:
            try:
                client.send(call)
            except RescaleNotFound:
                self.log.info("Job %s does not exist (any more)", self.job_id)
            except RescaleRefused as error:
                self.log.info("Job %s can't be deleted yet: %s", self.job_id, error)
                return False
        self.log.info("Job %s is deleted", self.job_id)
        return True


class RescaleSnapshotOperator(BaseOperator):
    """Has the work folder of a running job stored as an archive among its results.

    Its XCom is the snapshot's id.

    :param job_id: the job (templated).
    :param run_id: the run of the job (templated), of a DOE for example.
    :param rescale_conn_id: connection of the type ``rescale``.
    """

    template_fields: Sequence[str] = ("job_id", "run_id", "rescale_conn_id")
    ui_color = "#e3d8f0"

    def __init__(
        self,
        *,
        job_id: str,
        run_id: str = "1",
        rescale_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.job_id = job_id
        self.run_id = run_id
        self.rescale_conn_id = rescale_conn_id

    def execute(self, context: Context) -> str:
        """Ask for the snapshot.

        :raises AirflowException: if Rescale could not make one; says why.
        """
        with RescaleHook(self.rescale_conn_id).client as client:
            made = client.send(snapshot_run(self.job_id, self.run_id))
        if made.exit_code:
            because = f": {made.reason}" if made.reason else ""
            raise AirflowException(
                f"Rescale made no snapshot of run {self.run_id} of job {self.job_id} "
                f"(exit code {made.exit_code}){because}."
            )
        self.log.info("Snapshot %s of run %s of job %s", made.id, self.run_id, self.job_id)
        return made.id
