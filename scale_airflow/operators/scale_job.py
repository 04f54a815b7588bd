# SPDX-License-Identifier: Apache-2.0
"""ScaleJobOperator: a task that runs one job of Scale, from claim to report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from scale_airflow.config import CONNECTION_ID, Settings, settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from scale_airflow.execution.backends.base import Backend
    from scale_airflow.execution.order import ClaimAnswer, ClaimRequest, ExecutionOrder, ReportAnswer
    from scale_airflow.execution.runner import Execution

# Airflow wants an image when the DAG is read; which one runs is known when the job is claimed.
_IMAGE_COMES_WITH_THE_CLAIM = "of the job type"


class ScaleJobOperator(DockerOperator):
    """Runs one job execution: claims it, runs its container, stores what it made, reports.

    All that the job is (image, command, inputs, limits) comes with the claim, so nothing of a definition is
    in the task, and nothing is rendered as a template. Whether a failed try is followed by another is the
    API server's decision.

    :param definition: in a DAG file of a user's own: the recipe that the run is to be adopted as,
        ``{"name", "version", "title", "definition"}``.
    :param scale_conn_id: the connection to the API server.
    :param docker_conn_id: the connection with the login of the images' registry.
    """

    template_fields: ClassVar[Sequence[str]] = ()  # type: ignore[misc]
    template_ext: ClassVar[Sequence[str]] = ()  # type: ignore[misc]
    ui_color = "#cfe3f3"

    def __init__(
        self, *, definition: dict[str, Any] | None = None, scale_conn_id: str = CONNECTION_ID, **kwargs: Any
    ):
        super().__init__(
            image=_IMAGE_COMES_WITH_THE_CLAIM, mount_tmp_dir=False, auto_remove="never", **kwargs
        )
        self.definition = definition
        self.scale_conn_id = scale_conn_id
        self._execution: Execution | None = None

    def execute(self, context: Context) -> None:
        """Claim the job and run it; defer while there is no room for it.

        :raises AirflowException: if the job is to be tried again.
        :raises AirflowFailException: if the job has failed for good or was canceled.
        """
        from scale_airflow.errors import ScaleApiError
        from scale_airflow.hooks.scale import ScaleHook

        found = settings()
        request = self._request(context, found)
        client = ScaleHook(self.scale_conn_id).client
        try:
            answer = client.claim(request)
        except ScaleApiError as error:
            if error.status in (400, 404):  # no try will fare better: what is to be adopted is wrong
                raise AirflowFailException(str(error)) from None
            raise
        if answer.answer == "wait":
            self._wait(request, answer)
        if answer.answer == "over":
            self._end(answer)
            return
        assert answer.order is not None
        self._run(answer.order, client.execution(answer.order.execution_id, answer.order.token), found)

    def execute_resumed(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Claim again: room was reserved, or there is nothing left to wait for."""
        if event and event.get("reason"):
            self.log.info("%s", event["reason"])
        self.execute(context)

    def on_kill(self) -> None:
        """Kill the job's container or processes at once: the task is being ended."""
        execution = self._execution
        if execution is not None:
            execution.kill("The task was killed.")

    def _request(self, context: Context, found: Settings) -> ClaimRequest:
        from scale_airflow.execution.host import agent_id, hostname
        from scale_airflow.execution.order import ClaimRequest

        task = context["ti"]
        return ClaimRequest(
            dag_id=task.dag_id,
            run_id=task.run_id,
            task_id=task.task_id,
            map_index=-1 if task.map_index is None else task.map_index,
            try_number=task.try_number,
            task_instance_id=str(task.id),
            hostname=hostname(),
            agent_id=agent_id(found.work_dir),
            definition=self.definition,
        )

    def _wait(self, request: ClaimRequest, answer: ClaimAnswer) -> NoReturn:
        from scale_airflow.triggers.capacity import CapacityTrigger

        self.log.info("The job waits: %s", answer.reason)
        self.defer(
            trigger=CapacityTrigger(request.to_dict(), self.scale_conn_id),
            method_name=ScaleJobOperator.execute_resumed.__name__,
        )

    def _end(self, answer: ClaimAnswer) -> None:
        """The job is over already, and this task only has to end like it."""
        text = answer.reason or f"The job is {answer.outcome}."
        if answer.outcome != "completed":
            raise AirflowFailException(text)
        self.log.info("%s", text)

    def _run(self, order: ExecutionOrder, api: Any, found: Settings) -> None:
        from scale_airflow.execution.runner import Execution, ExecutionStopped

        self.log.info(
            "Job %s (%s %s), execution %s",
            order.job_id,
            order.job_type_name,
            order.job_type_version,
            order.execution_id,
        )
        backend = self._backend(order, found)
        self._execution = Execution(order, api, backend, found, self.log)
        try:
            answer = self._execution.run()
        except ExecutionStopped as error:
            raise AirflowFailException(str(error)) from None
        finally:
            self._execution = None
            backend.close()
        self._decide(answer)

    def _decide(self, answer: ReportAnswer) -> None:
        if answer.decision == "retry":
            raise AirflowException(answer.message)
        if answer.decision != "done":
            raise AirflowFailException(answer.message)

    def _backend(self, order: ExecutionOrder, found: Settings) -> Backend:
        if order.backend == "process":
            from scale_airflow.execution.backends.process import ProcessBackend

            return ProcessBackend(found)
        from scale_airflow.execution.backends.docker import DockerBackend, connect
        from scale_airflow.execution.host import agent_id

        return DockerBackend(
            found,
            lambda: connect(found.docker_url),
            agent_id=agent_id(found.work_dir) or "",
            connect_for_pull=lambda image: self._logged_in(found),
        )

    def _logged_in(self, found: Settings) -> Any:
        """Return a client of the engine that is logged in to the registry of ``docker_conn_id``."""
        from scale_airflow.execution.backends.docker import connect

        if not self.docker_conn_id:
            return connect(found.docker_url)
        self.docker_url = found.docker_url or self.docker_url
        return self.hook.get_conn()
