# SPDX-License-Identifier: Apache-2.0
"""ScaleJobOperator: the task that runs one job of Scale."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from scale_airflow import crash_points
from scale_airflow.config import CONNECTION_ID

if TYPE_CHECKING:
    from airflow.sdk import Context
    from docker import APIClient

    from scale_airflow.config import Settings
    from scale_airflow.execution.backends.base import Backend
    from scale_airflow.execution.order import ClaimAnswer, ClaimRequest, ExecutionOrder, ReportAnswer
    from scale_airflow.execution.runner import Execution
    from scale_airflow.hooks.client import RuntimeClient

_PATIENCE = 600.0


class ScaleJobOperator(DockerOperator):
    """Claims its job from the API server, runs it, and reports how it ended.

    What to run is not said here: the API server answers the claim with image, command line, inputs and
    limits. A job that has to wait gives its worker slot back. Whether a failure is retried is the API
    server's decision too, so give the task many ``retries``. A plain ``AirflowException`` says that Scale
    wants another try, at once; any other exception is a disturbance, after which a pause does good.

    :param definition: for tasks in users' own DAG files: what lets the API server adopt the run,
        ``{"name", "version", "title", "definition"}``.
    :param scale_conn_id: the connection to the API server.
    :param docker_conn_id: the connection with the login of the images' registry; without it one is looked for
        by the registry's host (see ``registry.py``).
    """

    # Nothing of a definition is rendered: "{{ }}" in it belongs to its author.
    template_fields = ()
    template_ext = ()
    ui_color = "#dfe7ef"

    # What the base class's hook reads. Its __init__ is left out on purpose: a thousand DAGs are built in a
    # go, and it sets forty attributes of which a claim replaces all.
    api_version: str | None = None
    tls_ca_cert = tls_client_cert = tls_client_key = tls_hostname = tls_ssl_version = None
    tls_verify = True
    timeout = 60

    def __init__(
        self,
        *,
        definition: dict[str, Any] | None = None,
        scale_conn_id: str = CONNECTION_ID,
        docker_conn_id: str | None = None,
        **kwargs: Any,
    ):
        BaseOperator.__init__(self, **kwargs)
        self.definition = definition
        self.scale_conn_id = scale_conn_id
        self.docker_conn_id = docker_conn_id
        self._execution: Execution | None = None
        self._killed = False

    def execute(self, context: Context) -> None:
        """Claim the job and run it, or defer until there is room."""
        from scale_airflow.config import settings
        from scale_airflow.hooks.scale import ScaleHook

        configured = settings()
        client = ScaleHook(self.scale_conn_id).client
        request = self._request(context, configured)
        crash_points.reach("task.claim.before")
        answer = self._claim(client, request)
        crash_points.reach("task.claim.after")
        if answer.answer == "wait":
            self._wait(request, answer)
        if answer.answer == "over" or answer.order is None:
            self._be_over(answer)
            return
        self._run(answer.order, client, request, configured)

    def execute_resumed(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Go on after waiting: claim again, since the room may have gone to a more urgent job meanwhile."""
        if event and event.get("reason"):
            self.log.info("Woken up: %s", event["reason"])
        self.execute(context)

    def on_kill(self) -> None:
        """Kill the job at once."""
        self._killed = True
        execution = self._execution
        if execution is not None:
            execution.task_killed("The task was killed.")

    def _request(self, context: Context, configured: Settings) -> ClaimRequest:
        from scale_airflow.execution.host import hostname, make_agent_id
        from scale_airflow.execution.order import ClaimRequest

        instance = context["ti"]
        return ClaimRequest(
            dag_id=instance.dag_id,
            run_id=instance.run_id,
            task_id=instance.task_id,
            map_index=-1 if instance.map_index is None else instance.map_index,
            try_number=instance.try_number,
            task_instance_id=str(instance.id),
            hostname=hostname(),
            agent_id=make_agent_id(configured.work_dir),
            definition=self.definition,
        )

    def _claim(self, client: RuntimeClient, request: ClaimRequest) -> ClaimAnswer:
        """Claim the job, waiting some minutes for a server that is away."""
        from scale_airflow.errors import ScaleApiError

        give_up = time.monotonic() + _PATIENCE
        pause = 1.0
        while True:
            try:
                return client.claim(request)
            except ScaleApiError as error:
                if error.status == 401:
                    raise ScaleApiError(
                        f"{error} Check the password of the connection {self.scale_conn_id!r} "
                        "(airflow scale rotate-secret makes a new one).",
                        status=error.status,
                    ) from None
                if error.status in (400, 404, 422):  # no other try will fare better
                    raise AirflowFailException(str(error)) from None
                refused = error.status is not None and error.status < 500
                if refused or self._killed or time.monotonic() > give_up:
                    raise
                self.log.warning("The job can't be claimed, trying on: %s", error)
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, 20.0)

    def _wait(self, request: ClaimRequest, answer: ClaimAnswer) -> NoReturn:
        from scale_airflow.triggers.capacity import CapacityTrigger

        self.log.info("The job waits: %s", answer.reason)
        self.defer(
            trigger=CapacityTrigger(request=request.to_dict(), connection_id=self.scale_conn_id),
            method_name="execute_resumed",
        )
        raise AssertionError("defer() does not return")

    def _be_over(self, answer: ClaimAnswer) -> None:
        """End as the execution, which is over already, has ended."""
        self.log.info("The execution is over (%s): %s", answer.outcome, answer.reason)
        if answer.outcome != "completed":
            reason = f": {answer.reason}" if answer.reason else "."
            raise AirflowFailException(
                f"The execution is over, {answer.outcome or 'without an outcome'}{reason}"
            )

    def _run(
        self, order: ExecutionOrder, client: RuntimeClient, request: ClaimRequest, configured: Settings
    ) -> None:
        from scale_airflow.execution.runner import Execution, ExecutionStopped

        self.log.info(
            "Execution %s of job %s: %s %s",
            order.execution_id,
            order.job_id,
            order.job_type_name,
            order.job_type_version,
        )
        api = client.execution(order.execution_id, order.token)
        backend = self._backend(order, request.agent_id or "", configured)
        self._execution = Execution(order, api, backend, configured, self.log)
        try:
            if self._killed:
                self.on_kill()
            answer = self._execution.run()
            crash_points.reach("task.run.after")
        except ExecutionStopped as error:
            if self._killed:
                raise
            self._end_fenced(str(error), client, request)
        else:
            self._obey(answer, client, request)
        finally:
            self._execution = None

    def _obey(self, answer: ReportAnswer, client: RuntimeClient, request: ClaimRequest) -> None:
        """End as the API server decided."""
        if answer.decision == "retry":
            raise AirflowException(f"The job failed and will be tried again: {answer.message}")
        if answer.decision == "failed":
            raise AirflowFailException(f"The job failed: {answer.message}")
        if answer.decision == "ignored":
            self._end_fenced(answer.message, client, request)

    def _end_fenced(self, reason: str, client: RuntimeClient, request: ClaimRequest) -> None:
        """End an execution whose word no longer counts: ask what became of it."""
        from scale_airflow.errors import ScaleApiError
        from scale_airflow.execution.runner import ExecutionStopped

        try:
            answer = self._claim(client, request)
        except ScaleApiError as error:
            if error.status != 403:
                raise
            # Airflow ended this try, or began another, when the job was canceled or its task cleared.
            raise ExecutionStopped(f"The execution was stopped: {reason}") from None
        if answer.answer == "over":
            self._be_over(answer)
            return
        raise ExecutionStopped(f"The execution was stopped, but its job is not over: {reason}")

    def _backend(self, order: ExecutionOrder, agent_id: str, configured: Settings) -> Backend:
        if order.backend == "process":
            from scale_airflow.execution.backends.process import ProcessBackend

            return ProcessBackend(configured)
        if order.backend == "rescale":
            from scale_airflow.execution.backends.rescale import RescaleBackend
            from scale_airflow.hooks.rescale import RescaleHook

            return RescaleBackend(configured, lambda connection: RescaleHook(connection).settings)
        from scale_airflow.execution.backends.docker import DockerBackend, connector, engine_url

        self.docker_url = engine_url(configured.docker_url)
        return DockerBackend(
            configured,
            connector(configured.docker_url),
            agent_id=agent_id,
            connect_for_pull=self._connect_for_pull,
        )

    def _connect_for_pull(self, image: str) -> APIClient:
        """Return a client that is logged in to the image's registry, where a connection has the login."""
        from airflow.sdk import Connection
        from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
        from docker.errors import DockerException

        from scale_airflow.operators.registry import connection_ids, registry_of, serves

        for connection_id in () if self.docker_conn_id else connection_ids(image):
            try:
                found = Connection.get(connection_id)
            except (AirflowNotFoundException, AirflowRuntimeError):
                continue
            if serves(found.host, found.port, image):
                self.docker_conn_id = connection_id
                break
        self.log.info(
            "Pulling from %s %s",
            registry_of(image),
            f"with the login of the connection {self.docker_conn_id}"
            if self.docker_conn_id
            else f"without a login (the connection {connection_ids(image)[0]} could hold one)",
        )
        self.__dict__.pop("hook", None)
        try:
            return self.hook.api_client
        except AirflowException as error:
            raise DockerException(str(error)) from None
