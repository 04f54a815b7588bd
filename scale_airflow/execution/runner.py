# SPDX-License-Identifier: Apache-2.0
"""Runs one execution from its order to its report: prepare and stage, run the job, collect and store."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar

from scale_airflow import crash_points
from scale_airflow.config import Settings
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.errors import ExecutionFailure, ScaleApiError, ScaleError
from scale_airflow.execution.backends.base import Backend, Ending, JobRun, RunningJob
from scale_airflow.execution.command import build_arguments, shown_arguments, substitution_values
from scale_airflow.execution.disk import DiskWatch
from scale_airflow.execution.environment import describe_environment
from scale_airflow.execution.heart import FENCED, Heart
from scale_airflow.execution.log_sender import ChunkSender
from scale_airflow.execution.logs import OutputSink
from scale_airflow.execution.order import (
    BeatAnswer,
    BeatReport,
    CompletionReport,
    ExecutionOrder,
    FailureReport,
    LogChunk,
    PhaseTimes,
    ReportAnswer,
    ReportedOutput,
    ReportedParse,
)
from scale_airflow.execution.staging import MANIFEST, Scratch, check_disk, stage_inputs, workspace_brokers

AnswerT = TypeVar("AnswerT")
_LOOK = 1.0
_FLUSH = 60.0
_REPORT_PATIENCE = 3600.0
_ASKING = 2.0
"""Seconds for the question whose the job is: Airflow gives a task that it ends five."""
_UNFIT = (400, 413, 422)
"""Answers of the API server that mean: no report with this content will ever be taken."""


class ExecutionApi(Protocol):
    """The API server, as far as one execution may talk to it."""

    def log(self, chunk: LogChunk) -> None:
        """Send output."""

    def beat(self, report: BeatReport) -> BeatAnswer:
        """Send a sign of life."""

    def complete(self, report: CompletionReport) -> ReportAnswer:
        """Report the job's success; the same report twice is no harm."""

    def fail(self, report: FailureReport) -> ReportAnswer:
        """Report the job's failure; the same report twice is no harm."""


class ExecutionStopped(ScaleError):  # noqa: N818 - named like its siblings in errors.py
    """The execution is not to go on: canceled, fenced off, or its task was killed. Nothing is reported."""


def run_execution(
    order: ExecutionOrder,
    api: ExecutionApi,
    backend: Backend,
    settings: Settings,
    log: logging.Logger | Any,
) -> ReportAnswer:
    """Run an execution and report how it ended; return what the API server decided.

    :raises ExecutionStopped: if it was canceled or killed; then nothing was reported.
    :raises ScaleApiError: if the API server stayed away when it was to take the report.
    """
    return Execution(order, api, backend, settings, log).run()


class Execution:
    """One run of one order; ``kill`` may be called from anywhere at any time."""

    def __init__(
        self,
        order: ExecutionOrder,
        api: ExecutionApi,
        backend: Backend,
        settings: Settings,
        log: logging.Logger | Any,
    ):
        self._order = order
        self._api = api
        self._backend = backend
        self._settings = settings
        self._log = log
        self._scratch = Scratch(settings.work_dir, order.execution_id)
        self._times = PhaseTimes()
        self._arguments: str | None = None
        self._environment = describe_environment(order)
        self._job: RunningJob | None = None
        self._disk = DiskWatch(
            self._scratch, order.disk_mib, factor=settings.disk_limit_factor, beside=self._beside_scratch
        )
        self._stop: str | None = None
        self._fenced = False
        self._end = time.monotonic() + order.timeout if order.timeout else float("inf")
        self._heart = Heart(api.beat, lambda: BeatReport(self._times, self._arguments), self.kill, self.leave)

    def run(self) -> ReportAnswer:
        """Run to the end; see :func:`run_execution`."""
        self._heart.start()
        try:
            report = self._phases()
            crash_points.reach("runner.report.before")
            answer = self._report(report)
            crash_points.reach("runner.report.after")
            self._log.info("The API server decided: %s. %s", answer.decision, answer.message)
            self._clean_up()
            return answer
        except ExecutionStopped as error:
            self._log.info("Execution %s stops: %s", self._order.execution_id, error)
            self._clean_up()
            raise
        finally:
            self._heart.stop()
            self._disk.stop()
            with contextlib.suppress(Exception):
                self._close_job()
            self._backend.close()

    def kill(self, reason: str) -> None:
        """Kill the job at once and have :meth:`run` stop without a report."""
        self._stop = self._stop or reason
        job = self._job
        if job is not None:
            job.kill()

    def leave(self, reason: str) -> None:
        """Have :meth:`run` stop without a report, and without touching what another try may have taken over.

        What nobody takes over the node's agent removes.
        """
        self._fenced = True
        self._stop = self._stop or reason

    def task_killed(self, reason: str) -> None:
        """Do as :meth:`kill`, or :meth:`leave` if this is a forgotten worker; for signal handlers.

        Airflow also ends the task of a try that it gave up long ago, because nothing was heard of it. By then
        the next try may have adopted the job.
        """
        asking = threading.Thread(target=self._ask_whose_it_is, name="scale-ask", daemon=True)
        asking.start()
        asking.join(_ASKING)
        if self._fenced:
            self.leave(reason)
        else:
            self.kill(reason)

    def _ask_whose_it_is(self) -> None:
        try:
            self._api.beat(BeatReport(self._times, self._arguments))
        except ScaleApiError as error:
            self._fenced |= error.status in FENCED

    def _phases(self) -> CompletionReport | FailureReport:
        try:
            ending, sink, run = self._pre_and_job()
            if ending.exit_code != 0:
                return self._failure(None, ending.exit_code, _describe(ending, self._order))
            return self._post(ending, sink, run)
        except ExecutionFailure as error:
            manifest = getattr(error, "manifest", None)
            return self._failure(error.error_name, error.exit_code, str(error), manifest)
        except (ExecutionStopped, ScaleApiError):
            raise
        except ScaleError as error:
            return self._failure("unknown", None, str(error))
        except OSError as error:
            self._log.exception("The worker's file system failed")
            return self._failure("filesystem-io", None, f"The worker's file system failed: {error}")
        except Exception as error:
            # Also a fault of ours must end the job with a reason, not leave it running for ever.
            self._log.exception("The worker failed")
            return self._failure("unknown", None, f"The worker failed: {type(error).__name__}: {error}")

    def _pre_and_job(self) -> tuple[Ending, OutputSink, JobRun]:
        order, scratch = self._order, self._scratch
        self._mark(pre_started=_now())
        interface = JobInterface.parse(order.interface)
        if interface.outputs:
            threading.Thread(target=_warm_up, name="scale-warm-up", daemon=True).start()
        self._brokers = workspace_brokers(
            order, mounts=self._settings.mounts, allowed_roots=self._settings.allowed_roots
        )
        self._environment.update(self._backend.prepare(order, self._checkpoint))
        self._checkpoint()
        crash_points.reach("runner.stage.before")
        staged = stage_inputs(order, scratch, self._brokers)
        crash_points.reach("runner.stage.after")
        values = substitution_values(order, scratch, staged)
        self._arguments = shown_arguments(interface, values)
        run = JobRun(order, interface, scratch, staged, tuple(build_arguments(interface, values)))
        sender = ChunkSender(self._api.log, limit=order.max_log_bytes, notes=scratch.notes)
        sink = OutputSink(sender, limit=order.max_log_bytes)
        try:
            self._job = self._backend.adopt(run, sink)
            if self._job is not None:
                self._count_from(self._job)
            else:
                sender.begin_anew()
                scratch.clear()
                scratch.create()
                check_disk(scratch, order.disk_mib)
                self._checkpoint()
                self._mark(pre_completed=_now())
                crash_points.reach("runner.start.before")
                self._job = self._backend.start(run, sink)
                crash_points.reach("runner.start.after")
            started = _now()
            self._mark(pre_completed=self._times.pre_completed or started, job_started=started)
            self._environment.update(self._job.facts)
            return self._wait(self._job), sink, run
        finally:
            if not sink.close(0.0 if self._stop else _FLUSH):
                self._log.warning("The end of the job's output is missing at the API server")

    def _count_from(self, job: RunningJob) -> None:
        """Count the time of a job that was adopted from its own start, to its end if that was before."""
        if self._order.timeout:
            until = time.time() if job.ended_at is None else job.ended_at
            left = self._order.timeout - (until - job.started_at)
            self._end = min(self._end, time.monotonic() + left)

    def _wait(self, job: RunningJob) -> Ending:
        """Wait for the job's end, killing it when its time is up or it has to stop."""
        self._disk.start()
        try:
            while (ending := job.wait(min(_LOOK, max(0.01, self._end - time.monotonic())))) is None:
                if job.is_waiting and self._order.timeout:
                    self._end = time.monotonic() + self._order.timeout
                self._checkpoint()
                self._disk.check()
        except BaseException:
            if not self._fenced:
                job.kill()
                with contextlib.suppress(ScaleError):
                    job.wait(_LOOK)  # for the last of its output
            self._mark(job_completed=_now())
            raise
        finally:
            self._disk.stop()
        if self._stop:
            raise ExecutionStopped(self._stop)
        self._mark_job(ending)
        self._log.info("The job ended with exit code %s", ending.exit_code)
        return ending

    def _post(self, ending: Ending, sink: OutputSink, run: JobRun) -> CompletionReport:
        self._mark(post_started=_now())
        self._checkpoint()
        self._disk.settle()
        outputs: tuple[ReportedOutput, ...] = ()
        parse_results: tuple[ReportedParse, ...] = ()
        manifest: dict[str, Any] = {"version": "1.1"}
        if self._has_results(sink, run):
            # Not at the top: geometry libraries take a while to import, meanwhile the job runs.
            from scale_airflow.execution.collect import Moved, collect_results
            from scale_airflow.execution.store_outputs import store_outputs

            crash_points.reach("runner.collect.before")
            results = collect_results(
                run.interface,
                self._scratch.output_data,
                sink.artifact_text,
                too_many_artifacts=sink.too_many_artifacts,
                size_limit=self._disk.size_limit(),
                moved=None if ending.folder is None else Moved(ending.folder, str(self._scratch.root)),
            )
            crash_points.reach("runner.store.before")
            outputs = store_outputs(self._order, results.outputs, self._brokers, self._checkpoint)
            crash_points.reach("runner.store.after")
            parse_results, manifest = results.parse_results, results.manifest
        self._mark(post_completed=_now())
        return CompletionReport(
            exit_code=0,
            times=self._times,
            outputs=outputs,
            parse_results=parse_results,
            manifest=manifest,
            environment=self._environment,
            warnings=() if self._disk.warning is None else (self._disk.warning,),
            command_arguments=self._arguments,
        )

    def _has_results(self, sink: OutputSink, run: JobRun) -> bool:
        """Tell whether there is anything to collect, or anything that would be missed."""
        return bool(
            sink.artifact_text
            or sink.too_many_artifacts
            or any(output.required for output in run.interface.outputs)
            or os.path.lexists(self._scratch.output_data / MANIFEST)
        )

    def _failure(
        self,
        error_name: str | None,
        exit_code: int | None,
        message: str,
        manifest: dict[str, Any] | None = None,
    ) -> FailureReport:
        return FailureReport(
            error_name, exit_code, _plain(message), self._times, self._environment, manifest, self._arguments
        )

    def _report(self, report: CompletionReport | FailureReport) -> ReportAnswer:
        """Deliver the report, however long the API server is away (up to an hour)."""
        self._heart.stop()
        if isinstance(report, CompletionReport):
            completion = report
            try:
                return self._until_answered(lambda: self._api.complete(completion))
            except ScaleApiError as error:
                if error.status not in _UNFIT:
                    raise
                report = self._failure("unknown", 0, f"The API server does not take the results: {error}")
        self._log.error("The job failed: %s", report.message)
        failure = report
        try:
            return self._until_answered(lambda: self._api.fail(failure))
        except ScaleApiError as error:
            if error.status not in _UNFIT or failure.manifest is None:
                raise
            return self._until_answered(lambda: self._api.fail(replace(failure, manifest=None)))

    def _until_answered(self, ask: Callable[[], AnswerT]) -> AnswerT:
        give_up = time.monotonic() + _REPORT_PATIENCE
        pause = 0.5
        while True:
            if self._stop:
                raise ExecutionStopped(self._stop)
            try:
                return ask()
            except ScaleApiError as error:
                if error.status in FENCED:
                    self.leave(f"The API server no longer takes this worker's word: {error}")
                    continue
                if (error.status is not None and error.status < 500) or time.monotonic() > give_up:
                    raise
                self._log.warning("The report can't be delivered, trying on: %s", error)
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, 15.0)

    def _checkpoint(self) -> None:
        if self._stop:
            raise ExecutionStopped(self._stop)
        if time.monotonic() >= self._end:
            raise ExecutionFailure(
                f"The execution ran longer than its timeout of {self._order.timeout} seconds.",
                error_name="timeout",
            )

    def _beside_scratch(self) -> float:
        job = self._job
        return 0.0 if job is None else job.written_mib()

    def _mark_job(self, ending: Ending) -> None:
        """Take over the job's own times, and keep all times in order.

        A job that was adopted began before this worker did.
        """
        started = ending.started or self._times.job_started or _now()
        completed = max(started, ending.finished or _now())
        pre_started = min(self._times.pre_started or started, started)
        pre_completed = min(self._times.pre_completed or started, started)
        self._mark(
            pre_started=pre_started,
            pre_completed=pre_completed,
            job_started=started,
            job_completed=completed,
        )

    def _mark(self, **times: str | None) -> None:
        self._times = replace(self._times, **times)
        self._heart.hurry()

    def _close_job(self) -> None:
        job, self._job = self._job, None
        if job is None:
            return
        if self._fenced:
            job.leave()
        else:
            job.close()

    def _clean_up(self) -> None:
        """Remove what the execution had on this host; what can't be removed is left to the node's agent."""
        try:
            self._close_job()
            if not self._fenced:
                self._scratch.remove()
        except Exception as error:
            self._log.warning("Something of execution %s stays: %s", self._order.execution_id, error)


def _warm_up() -> None:
    import scale_airflow.execution.collect
    import scale_airflow.execution.store_outputs  # noqa: F401


def _describe(ending: Ending, order: ExecutionOrder) -> str:
    if ending.out_of_memory:
        return (
            f"The job was killed because it used more than its {order.mem_mib:.0f} MiB of memory "
            f"(exit code {ending.exit_code})."
        )
    text = f"The job ended with exit code {ending.exit_code}."
    return f"{text} {ending.message}" if ending.message else text


def _plain(text: str) -> str:
    """Return a text that can be sent and stored: what is no character in it is escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
