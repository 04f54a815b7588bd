# SPDX-License-Identifier: Apache-2.0
"""Steps of the walk: what workers do, also those that nobody believes in any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import reference_model as model
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy.orm import Session
from world import AGENT, HOST

from job_walk.new_work import NewWork
from job_walk.walk import PICK, Worker
from scale_airflow.errors import Forbidden
from scale_airflow.execution.order import (
    ClaimRequest,
    CompletionReport,
    ExecutionOrder,
    FailureReport,
    PhaseTimes,
    ReportedFile,
    ReportedOutput,
)
from scale_airflow.services import claims, executions

ERRORS = [1, 2, 3, 4, "timeout", "filesystem-io", "mesos-lost", "no-such-error"]


class Workers(NewWork):
    """Workers start, claim, report, end and are lost."""

    @precondition(lambda self: self.scale.runs)
    @rule(pick=PICK)
    def worker_starts(self, pick: int) -> None:
        """The task that Airflow is to start next begins, and claims."""
        self.dispatch()
        self.scheduler_looks()
        found = self.pick(pick, lambda run, job: job.task.state == "scheduled")
        if found is not None:
            self.start(*found)

    @precondition(lambda self: self.pick(0, lambda run, job: job.task.state == "deferred"))
    @rule(pick=PICK)
    def trigger_fires(self, pick: int) -> None:
        """Room was found for a task that waits: it is started and claims again."""
        found = self.pick(pick, lambda run, job: job.task.state == "deferred")
        if found is None:
            return
        run, job = found
        self.hand.set_state(self.task(run, job), "scheduled")
        self.scale.trigger_fires(job)
        self.start(run, job)

    @precondition(lambda self: self.scale.runs)
    @rule(pick=PICK, error=st.sampled_from([None, None, None, 1, 2, "timeout"]))
    def worker_does_all(self, pick: int, error: int | str | None) -> None:
        """A task is started, and runs to its end."""
        before = len(self.workers)
        self.worker_starts(pick)
        if len(self.workers) == before:
            return
        worker = self.workers[-1]
        if error is None:
            self.report(worker, lambda: complete(self.session, worker.order), self.scale.complete)
        else:
            self.fail(worker, error)
        self.end(worker, str(worker.ending))

    def start(self, run: model.Run, job: model.Job) -> None:
        self.world.beat(cpus=1000.0)
        task = self.task(run, job)
        worker = Worker(run, job, str(task.id))
        self.hand.set_state(task, "running")
        self.scale.worker_starts(job)
        self.claim(worker)

    def claim(self, worker: Worker) -> None:
        run, job = worker.run, worker.job
        task = self.task(run, job)
        request = ClaimRequest(
            task.dag_id, task.run_id, task.task_id, -1, task.try_number, str(task.id), HOST, AGENT, None
        )
        answer = claims.claim(self.session, request, self.world.settings)
        self.session.commit()
        expected = self.scale.claim(run, job, worker)
        found = answer.outcome if answer.answer == "over" else answer.answer
        assert found == expected, answer
        if answer.order is not None:
            worker.order, worker.number = answer.order, len(job.tries) - 1
            self.workers.append(worker)
        elif expected == "wait":
            self.hand.set_state(self.task(run, job), "deferred")
            self.scale.worker_waits(job)
        else:
            self.end(worker, "done" if expected == "completed" else "failed")

    @precondition(lambda self: any(worker.ending is None for worker in self.workers))
    @rule(pick=PICK)
    def worker_completes(self, pick: int) -> None:
        worker = self.pick_worker(pick, with_old=False)
        if worker is not None:
            self.report(worker, lambda: complete(self.session, worker.order), self.scale.complete)

    @precondition(lambda self: any(worker.ending is None for worker in self.workers))
    @rule(pick=PICK, error=st.sampled_from(ERRORS))
    def worker_fails(self, pick: int, error: int | str) -> None:
        worker = self.pick_worker(pick, with_old=False)
        if worker is not None:
            self.fail(worker, error)

    @precondition(lambda self: any(worker.ending is None for worker in self.workers))
    @rule(pick=PICK)
    def worker_reports_wrong_results(self, pick: int) -> None:
        """What the interface forbids is the system's error ``unknown``."""
        worker = self.pick_worker(pick, with_old=False)
        if worker is not None:
            self.report(
                worker,
                lambda: complete(self.session, worker.order, outputs=()),
                lambda *known: self.scale.fail(*known, "unknown"),
            )

    @precondition(lambda self: self.workers)
    @rule(pick=PICK, error=st.sampled_from([None, 1, "timeout"]))
    def any_worker_reports(self, pick: int, error: int | str | None) -> None:
        """Also one that reported already, or that nobody believes in any more."""
        worker = self.pick_worker(pick, with_old=True)
        if worker is None:
            return
        if error is None:
            self.report(worker, lambda: complete(self.session, worker.order), self.scale.complete)
        else:
            self.fail(worker, error)

    def fail(self, worker: Worker, error: int | str) -> None:
        named = error if isinstance(error, str) else self.scale.error_of(worker.job, error)
        self.report(
            worker,
            lambda: fail(self.session, worker.order, error),
            lambda *known: self.scale.fail(*known, named),
        )

    def report(self, worker: Worker, act: Callable[[], str], expect: Callable[..., str]) -> None:
        decision = act()
        assert decision == expect(worker.run, worker.job, worker.number, worker)
        if worker.ending is None:
            worker.ending = decision

    @precondition(lambda self: any(worker.ending is not None for worker in self.workers))
    @rule(pick=PICK)
    def worker_ends(self, pick: int) -> None:
        """The process of a worker that reported ends as it was told."""
        ready = [worker for worker in self.workers if worker.ending is not None]
        if not ready:
            return
        worker = ready[pick % len(ready)]
        if worker.ending in ("ignored", "forbidden"):
            self.workers.remove(worker)
            if self.runs_task(worker):
                self.claim(worker)
        else:
            self.end(worker, str(worker.ending))

    def end(self, worker: Worker, how: str) -> None:
        if self.runs_task(worker):
            task = self.task(worker.run, worker.job)
            if how == "retry":
                self.hand.worker_dies(task)
            else:
                self.hand.set_state(task, "success" if how == "done" else "failed")
            self.scale.worker_ends(worker.job, how)
        if worker in self.workers:
            self.workers.remove(worker)

    @precondition(lambda self: self.pick(0, lambda run, job: job.task.state in ("running", "restarting")))
    @rule(pick=PICK)
    def worker_is_lost(self, pick: int) -> None:
        """Airflow does not hear of a worker any more; it may still be there and report."""
        found = self.pick(pick, lambda run, job: job.task.state in ("running", "restarting"))
        if found is not None:
            self.hand.worker_dies(self.task(*found))
            self.scale.worker_dies(found[1])


def complete(session: Session, order: ExecutionOrder, **fields: Any) -> str:
    outputs = tuple(
        ReportedOutput(
            output.name,
            False,
            (
                ReportedFile(
                    "o.dat",
                    output.workspace_id,
                    f"{order.output_path}/o.dat",
                    3,
                    "0" * 64,
                    "application/octet-stream",
                    None,
                    None,
                    None,
                ),
            ),
        )
        for output in order.outputs
    )
    report = CompletionReport(0, PhaseTimes(), outputs, (), {}, {}, ())
    return answered(
        session,
        lambda: executions.complete(
            session, order.execution_id, dataclasses.replace(report, **fields), order.token
        ),
    )


def fail(session: Session, order: ExecutionOrder, error: int | str) -> str:
    name, code = (error, None) if isinstance(error, str) else (None, error)
    report = FailureReport(name, code, "it failed", PhaseTimes(), {}, None)
    return answered(session, lambda: executions.fail(session, order.execution_id, report, order.token))


def answered(session: Session, act: Callable[[], Any]) -> str:
    try:
        decision = str(act().decision)
    except Forbidden:
        session.rollback()
        return "forbidden"
    session.commit()
    return decision
