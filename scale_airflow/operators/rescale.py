# SPDX-License-Identifier: Apache-2.0
"""RescaleSubmitJobOperator: one remote job from its inputs to its results, paid for once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout

from scale_airflow.errors import RescaleError, RescaleJobFailed, RescaleUncertain
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.operators.rescale_arguments import RescaleJobArguments
from scale_airflow.operators.rescale_links import RescaleJobLink, RescaleResultsLink, job_url, push_links
from scale_airflow.operators.rescale_memory import (
    TaskMemory,
    cleared_at,
    first_moment,
    is_last_try,
    marker_of,
)
from scale_airflow.operators.rescale_order import JobOrder
from scale_airflow.operators.rescale_results import (
    check_exit_codes,
    delete_when_possible,
    download,
    files_of,
    shown,
)
from scale_airflow.operators.rescale_stop import StopOnKill, TaskKilledError
from scale_airflow.rescale.stopping import StopMode
from scale_airflow.rescale.submission import Patience, failed, settle
from scale_airflow.rescale.submission_client import ClientPort, NoStore, Store
from scale_airflow.rescale.submission_steps import Memory, drive
from scale_airflow.rescale.verdict import Failed, FailureDetection, Succeeded
from scale_airflow.rescale.waiting import JobWait, end_of_log
from scale_airflow.triggers.rescale import RescaleJobEvent, RescaleJobTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from scale_airflow.rescale.client import RescaleClient
    from scale_airflow.rescale.file_models import RemoteFile


class RescaleSubmitJobOperator(RescaleJobArguments):
    """Uploads inputs, creates a job on Rescale, starts it, waits for it and fetches its results.

    Each part but the job is optional. Whatever is killed on the way, one run is paid for: a try that finds
    the job of an earlier one goes on with it. A job that failed is replaced by a new one on the next try. To
    clear a task that had failed takes up what is there; to clear one that had succeeded runs a new job.

    The job comes from ``job`` (a document as Rescale's API takes it, or the name of a ``.json`` or ``.yaml``
    file), from ``template_from_job`` (a saved job's id), from single values (``command`` and those after it),
    or from several of these, the later ones changing the earlier ones.

    :param job: the job's document, or a file's name.
    :param template_from_job: the id of a job at Rescale to be like.
    :param name: the job's name; ``DAG.task`` without one. The task's marker is put behind it.
    :param command: the (first) analysis' command. ``${…}`` stays as it is.
    :param analysis: its software: a code, or ``code:version``.
    :param core_type: hardware; ``cheapest`` takes what costs least of that which fits.
    :param memory_mb: with ``cheapest``: memory that a slot needs.
    :param category: with ``cheapest``: a category of hardware.
    :param walltime: hours.
    :param inputs: files, directories and objects to upload, or files that are there: a path, an
        ``ObjectStoragePath``, ``{"path": …, "decompress": …, "analysis": 0}``, ``{"id": …}``, ``{"name": …,
        "content": …}`` for a small text; ``{"path": …, "volumes": True}`` sends a large file as compressed
        volumes, which the job puts together (it needs Python 3).
    :param storage_devices: ids of storage devices to attach.
    :param download_to: a directory (or an object store's address) for the results; None fetches none.
    :param output_filters: which results: patterns of paths, with ``!`` before one that leaves files out.
    :param delete_on_success: delete the job at Rescale when all is done.
    :param max_cost: refuse to start what could cost more, in the currency of Rescale's prices.
    :param rescale_conn_id: a connection of the type ``rescale``.
    :param wait_for_termination: False ends the task when the job is submitted.
    :param deferrable: wait in the triggerer; ``[operators] default_deferrable`` if not given.
    :param polling_interval: seconds between looks at the job; more when nothing changes for long.
    :param timeout: how long a try waits for the job at most: seconds or a timedelta. Airflow's own
        ``execution_timeout`` counts everything that the try does, waiting in the triggerer too; after it the
        job is always stopped.
    :param stop_on_timeout: stop the job when ``timeout`` is over; else the next try takes it up.
    :param durable: False forgets jobs of earlier tries: each try pays for its own.
    :param cancel_on_kill: stop the job when the task is killed, cleared or marked.
    :param stop_mode: ``graceful`` or ``force``.
    :param failure_detection: ``strict`` (success is what says so), ``known`` (what is not known as a failure
        is a success) or ``exit_code`` (``strict``, and the commands' own exit codes are looked at).
    :param follow_log: write the job's log lines to the task's log while it runs.
    :param failure_lines: how many last lines of ``process_output.log`` an error shows.
    """

    operator_extra_links = (RescaleJobLink(), RescaleResultsLink())
    ui_color = "#e3d8f0"
    patience = Patience()
    job_url: str | None = None
    _killer: StopOnKill | None = None

    def execute(self, context: Context) -> Any:
        """Do it all, or up to the waiting, which the triggerer then does.

        :raises RescaleJobFailed: with the reason and the last lines of the job's log.
        :raises RescaleCostRefused: if it could cost more than ``max_cost``; with the figure.
        :raises RescaleError: if Rescale refuses, or can't be reached.
        """
        begun = time.time()
        store = self._store(context)
        memory = store.recall()
        if memory is not None and memory.finished is not None and not self._again(context, memory):
            self.log.info("An earlier try has done everything; its result is taken over")
            return memory.result
        hook = self._hook()
        with hook.client as client:
            job_id, over = self._settle(context, hook, client, store)
            if not self.wait_for_termination:
                return self._done(context, job_id, self._told(job_id))
            if not over and self.deferrable:
                self._defer(job_id, begun)
            if not over:
                self._wait(context, hook, client, job_id, begun)
            return self._finish(context, hook, client, job_id)

    def execute_complete(self, context: Context, event: dict[str, Any], begun: float | None = None) -> Any:
        """Go on after the triggerer's waiting.

        :raises RescaleJobFailed: as :meth:`execute`.
        """
        told = RescaleJobEvent.from_payload(event)
        # `airflow dags test` forgets what a task gave itself when it deferred.
        begun = time.time() if begun is None else begun
        hook = self._hook()
        with hook.client as client:
            self._know(hook, told.job_id)
            if told.outcome == "failed":
                self._failed(context, client, told.job_id, told.reason)
            if told.outcome == "lost":
                self._lost(context, told.job_id, RescaleError(told.reason, job_id=told.job_id))
            if told.outcome != "succeeded":
                self._timed_out(context, told.job_id, begun, execution=told.outcome == "execution_timeout")
            return self._finish(context, hook, client, told.job_id)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; where Airflow ended that itself, the job must not run on unwatched."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as error:
            memory = self._store(context).recall()
            if memory is not None and (isinstance(error, TaskDeferralTimeout) or is_last_try(context)):
                self._know(self._hook(), memory.job_id)
                self._stop("the waiting for it was ended")
            raise

    def on_kill(self) -> None:
        """Stop the job, if there is one. Called from a signal's handler."""
        if self._killer is not None:
            self._killer.kill(stop_it=self.cancel_on_kill)

    def result_of(
        self,
        client: RescaleClient,
        job_id: str,
        files: Mapping[str, Sequence[RemoteFile]],
        result: dict[str, Any],
    ) -> Any:
        """Return what the task returns; for subclasses.

        :param files: the job's results by the folder they go to ("" where there was one run).
        :param result: the job's id and address, the short list of files, and those that were downloaded.
        """
        return result

    # -- the parts ------------------------------------------------------------------------------------------
    def _settle(
        self, context: Context, hook: RescaleHook, client: RescaleClient, store: Store
    ) -> tuple[str, bool]:
        """Have the task's one job running, and say whether it is over already."""
        order = JobOrder.of(self)
        marker = marker_of(context, order.payload())
        killer = self._kills(hook)
        port = ClientPort(
            client,
            store,
            lambda: order.body(hook, marker, self.log),
            since=first_moment(context),
            storage_devices=self.storage_devices or (),
            on_job=lambda job_id: self._know(hook, job_id),
            checkpoint=killer.checkpoint,
            search=self.durable,
            logger=self.log,
        )
        steps = settle(marker, again=lambda memory: self._again(context, memory), patience=self.patience)
        try:
            outcome = drive(steps, port)
        except RescaleUncertain:
            if is_last_try(context):
                # Nobody will look at it again: if it runs, it must not.
                self._stop("it is not known whether it runs")
            raise
        self._know(hook, outcome.job_id)
        try:
            killer.checkpoint()
        except TaskKilledError:
            # The submit may have arrived after the handler's stop.
            self._stop("the task was killed")
            raise
        push_links(context, self)
        context["ti"].xcom_push(key="job_id", value=outcome.job_id)
        context["ti"].xcom_push(key="job_url", value=self.job_url)
        return outcome.job_id, isinstance(outcome.verdict, Succeeded)

    def _wait(
        self, context: Context, hook: RescaleHook, client: RescaleClient, job_id: str, begun: float
    ) -> None:
        """Wait on the spot until the job has succeeded."""
        limit = _seconds(self.timeout)
        wait = JobWait(
            client,
            job_id,
            detection=FailureDetection(self.failure_detection),
            polling=self.polling_interval,
            on_status=lambda status: self.log.info("Job %s: %s", job_id, status),
            on_line=(lambda line: self.log.info("%s", line)) if self.follow_log else None,
            checkpoint=self._kills(hook).checkpoint,
            deadline=None if limit is None else time.monotonic() + max(0.0, begun + limit - time.time()),
            outage_budget=self.outage_budget,
        )
        try:
            end = wait.wait()
        except TaskKilledError:
            raise
        except Exception as error:
            self._lost(context, job_id, error)
        if end is None:
            self._timed_out(context, job_id, begun)
        if isinstance(end, Failed):
            self._failed(context, client, job_id, end.reason)

    def _defer(self, job_id: str, begun: float) -> NoReturn:
        limit = _seconds(self.timeout)
        self.defer(
            trigger=RescaleJobTrigger(
                job_id,
                self.rescale_conn_id,
                polling_interval=self.polling_interval,
                timeout_at=None if limit is None else begun + limit,
                execution_timeout_at=(
                    None if self.execution_timeout is None else begun + self.execution_timeout.total_seconds()
                ),
                failure_detection=self.failure_detection,
                follow_log=self.follow_log,
                cancel_on_kill=self.cancel_on_kill,
                stop_mode=self.stop_mode,
                outage_budget=self.outage_budget,
            ),
            method_name="execute_complete",
            kwargs={"begun": begun},
        )

    def _finish(self, context: Context, hook: RescaleHook, client: RescaleClient, job_id: str) -> Any:
        """Fetch and tidy up after a job that has succeeded."""
        if self.failure_detection == FailureDetection.EXIT_CODE.value:
            try:
                check_exit_codes(client, job_id)
            except RescaleJobFailed as error:
                self._failed(context, client, job_id, error.reason)
        files = files_of(client, job_id)
        result = {**self._told(job_id), **shown(files)}
        if self.download_to is not None:
            filters = list(self.output_filters or ())
            result["downloaded"] = download(hook, files, self.download_to, filters, self.log)
        made = self._done(context, job_id, self.result_of(client, job_id, files, result))
        if self.delete_on_success:
            delete_when_possible(client, job_id, self.log)
        return made

    def _done(self, context: Context, job_id: str, result: Any) -> Any:
        """Remember that nothing is left to do, so that no later try does it again."""
        self._store(context).remember(Memory(job_id, finished=int(context["ti"].try_number), result=result))
        return result

    # -- bad ends -------------------------------------------------------------------------------------------
    def _failed(self, context: Context, client: RescaleClient, job_id: str, reason: str) -> NoReturn:
        """Fail with the reason and the end of the log; the next try makes a new job."""
        self._store(context).remember(failed(Memory(job_id), reason))
        lines = end_of_log(client, job_id, self.failure_lines)
        shown_lines = "\n".join(f"    {line}" for line in lines)
        end = f"\nThe end of process_output.log:\n{shown_lines}" if lines else ""
        raise RescaleJobFailed(
            f"Job {job_id} failed. {reason}. See {self.job_url}{end}",
            job_id=job_id,
            reason=reason,
            last_lines=lines,
        )

    def _timed_out(self, context: Context, job_id: str, begun: float, *, execution: bool = False) -> NoReturn:
        """Fail a job that was not over in time."""
        waited = f"{time.time() - begun:.0f} s"
        if execution:
            self._stop("execution_timeout is over")
            raise AirflowTaskTimeout(f"Job {job_id} was not over within execution_timeout ({waited})")
        if self.stop_on_timeout:
            self._stop("timeout is over")
            reason = f"It was not over in time and was stopped after {waited}"
            self._store(context).remember(failed(Memory(job_id), reason))
        else:
            reason = f"It was not over in time ({waited}) and goes on; the next try takes it up"
        raise RescaleJobFailed(
            f"Job {job_id} failed. {reason}. See {self.job_url}", job_id=job_id, reason=reason
        )

    def _lost(self, context: Context, job_id: str, error: Exception) -> NoReturn:
        """Fail a task that can't watch its job any more; on the last try, the job is not left running."""
        if is_last_try(context):
            self._stop("the task that watches it fails")
        raise error

    def _stop(self, because: str) -> None:
        if self._killer is not None:
            self.log.info("Job %s is stopped: %s", self._killer.job_id, because)
            self._killer.stop()

    # -- small things ---------------------------------------------------------------------------------------
    def _hook(self) -> RescaleHook:
        return RescaleHook(self.rescale_conn_id, purpose=type(self).__name__)

    def _store(self, context: Context) -> Store:
        return TaskMemory.of(context) if self.durable else NoStore()

    def _again(self, context: Context, memory: Memory) -> bool:
        """Whether the user has cleared the task since it had finished with that job."""
        return memory.finished is not None and cleared_at(context) >= memory.finished

    def _kills(self, hook: RescaleHook) -> StopOnKill:
        if self._killer is None:
            self._killer = StopOnKill(hook.settings, StopMode(self.stop_mode), self.log)
        return self._killer

    def _know(self, hook: RescaleHook, job_id: str) -> None:
        """Note which job it is, the moment that is known."""
        self._kills(hook).job_id = job_id
        self.job_url = job_url(hook.settings.credentials.base_url, job_id)

    def _told(self, job_id: str) -> dict[str, Any]:
        return {"job_id": job_id, "job_url": self.job_url}


def _seconds(given: float | timedelta | None) -> float | None:
    return given.total_seconds() if isinstance(given, timedelta) else given
