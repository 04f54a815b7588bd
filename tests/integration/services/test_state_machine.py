# SPDX-License-Identifier: Apache-2.0
"""Random sequences of what workers, users, Airflow and time do to jobs, against a plain reference model.

After every step the job's status, its executions' statuses, its tries and the state and try number of its
task in Airflow are read by SQL and compared with the model's. A long run, with other sequences each time:

    SOAK=500 python -m pytest tests/integration/services/test_state_machine.py

takes 500 sequences of 60 steps; ``--hypothesis-seed=N`` chooses them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import reference_model as model
from airflow_hand import AirflowHand
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text, update
from sqlalchemy.orm import Session
from world import AGENT, HOST, World

from scale_airflow.errors import Conflict, Forbidden
from scale_airflow.execution.order import (
    ClaimRequest,
    CompletionReport,
    ExecutionOrder,
    FailureReport,
    PhaseTimes,
    ReportedFile,
    ReportedOutput,
)
from scale_airflow.services import claims, executions, jobs, requeue
from scale_airflow.services import reconcile as reconciler
from scale_airflow.services.cancel import cancel_jobs
from scale_airflow.services.errors import create_error
from scale_airflow.services.events import user_event
from scale_airflow.services.job_types import edit_job_type
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.services.recipe_types import edit_recipe_type
from scale_airflow.services.reconcile import reconcile, reconcile_outcomes
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import JobType, Node, RecipeType, Scheduler

#: How many sequences a long run takes; 0 is the short run with the same ones each time.
SOAK = int(os.environ.get("SOAK", "0"))

# -- what is set up once -----------------------------------------------------------------------------------

OUTPUT = [{"output": "output", "input": "input"}]
STEP = {"name": "step", "version": "1.0"}
GRAPHS: dict[str, dict[str, list[str]]] = {
    "chain": {"a": [], "b": ["a"], "c": ["b"]},
    "diamond": {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]},
    "pair": {"a": [], "b": []},
}
MAPPINGS: list[dict[int, str]] = [
    {},
    {1: "bad-data", 2: "bad-code", 3: "bad-disk"},
    {1: "bad-disk", 2: "bad-data", 4: "bad-code"},
]
ERRORS = [1, 2, 3, 4, "timeout", "filesystem-io", "mesos-lost", "no-such-error"]
WORK = ("scale_job", "scale_recipe", "scale_queue_entry", "scale_repair", "dag_run", "task_instance")


def step_interface(command: str = "run") -> dict[str, Any]:
    return {
        "version": "1.0",
        "command": command,
        "command_arguments": "${input} ${extra} ${job_output_dir}",
        "input_data": [
            {"name": "input", "type": "file"},
            {"name": "extra", "type": "file", "required": False},
        ],
        "output_data": [{"name": "output", "type": "file"}],
    }


def definition_of(graph: dict[str, list[str]]) -> dict[str, Any]:
    """A recipe of that shape; its jobs take their first parent's output, and optionally their second's."""
    made = []
    for name, parents in graph.items():
        entry: dict[str, Any] = {"name": name, "job_type": STEP}
        if parents:
            entry["dependencies"] = [
                {"name": parent, "connections": [{"output": "output", "input": ("input", "extra")[index]}]}
                for index, parent in enumerate(parents)
            ]
        else:
            entry["recipe_inputs"] = [
                {"recipe_input": "scene", "job_input": "input"},
                {"recipe_input": "more", "job_input": "extra"},
            ]
        made.append(entry)
    inputs = [{"name": "scene", "type": "file"}, {"name": "more", "type": "file", "required": False}]
    return {"version": "1.0", "input_data": inputs, "jobs": made}


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # However slow the machine is, the node counts as heard of.
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "600")
    monkeypatch.setenv("AIRFLOW__SCALE__MAX_NODE_ERRORS", "1000000")
    monkeypatch.setattr(reconciler.log, "exception", no_repair_fails)
    made = World(session)
    made.install(tmp_path)
    made.beat(cpus=1000.0)
    for name, category in model.CATEGORIES.items():
        # A user's errors are never of the system: one that is stands for a built-in one.
        body = {"name": name, "title": name, "description": name, "category": "DATA"}
        create_error(session, body)
        session.execute(
            text("UPDATE scale_error SET category = :category WHERE name = :name"),
            {"name": name, "category": category},
        )
    made.job_type("one", step_interface(), max_tries=2)
    made.job_type("daemon", step_interface(), max_tries=1, is_long_running=True, timeout=0)
    made.job_type("step", step_interface(), max_tries=2)
    for name, graph in GRAPHS.items():
        made.recipe_type(name, definition_of(graph)["jobs"], definition=definition_of(graph))
    return made


def no_repair_fails(message: str, *of: object) -> None:
    raise AssertionError(message % of)


@dataclass(eq=False)
class Worker:
    """A process that runs a task. It may live on when nobody believes in it any more."""

    run: model.Run
    job: model.Job
    task_instance_id: str
    order: ExecutionOrder | None = None
    number: int = 0
    ending: str | None = None


def is_over(_: model.Run, job: model.Job) -> bool:
    return job.status in ("FAILED", "CANCELED")


# -- the steps ---------------------------------------------------------------------------------------------

PICK = st.integers(0, 11)


def machine_of(world: World) -> type[RuleBasedStateMachine]:
    """Make the state machine; each of its walks begins without any work."""
    session = world.session
    hand = AirflowHand(session)
    workspace = world.workspace().id

    class Walk(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            session.rollback()
            session.execute(text(f"TRUNCATE {', '.join(WORK)} CASCADE"))
            session.execute(update(JobType).values(is_paused=False))
            session.execute(update(JobType).where(JobType.name.in_(["one", "step"])).values(max_tries=2))
            session.execute(update(JobType).where(JobType.name == "daemon").values(max_tries=1))
            session.execute(update(JobType).values(error_mapping={"version": "1.0", "exit_codes": {}}))
            session.execute(update(Scheduler).values(is_paused=False))
            session.execute(update(Node).values(is_paused=False))
            session.commit()
            self.scale = model.Scale(
                {"one": model.Type(2), "step": model.Type(2), "daemon": model.Type(1, long_running=True)}
            )
            self.sources = [world.source("scene.zip").id, world.source("more.zip").id]
            self.workers: list[Worker] = []
            self.ids: dict[int, int] = {}
            self.queue_recipe("chain", extra=False)
            self.queue_job("one", extra=True)

        # -- new work

        @rule(name=st.sampled_from(["one", "one", "daemon"]), extra=st.booleans())
        def queue_job(self, name: str, extra: bool) -> None:
            data = {
                "input_data": [
                    {"name": given, "file_id": number}
                    for given, number in zip(["input", "extra"][: 1 + extra], self.sources, strict=False)
                ],
                "output_data": [{"name": "output", "workspace_id": workspace}],
            }
            made = queue_job(session, job_type=self.type(name), data=data, event=user_event(session, "me"))
            session.commit()
            self.ids[id(self.scale.queue_job(name).jobs["job"])] = made.id

        @rule(name=st.sampled_from(sorted(GRAPHS)), extra=st.booleans())
        def queue_recipe(self, name: str, extra: bool) -> None:
            data = {
                "input_data": [
                    {"name": given, "file_id": number}
                    for given, number in zip(["scene", "more"][: 1 + extra], self.sources, strict=False)
                ],
                "workspace_id": workspace,
            }
            made = queue_recipe(
                session, recipe_type=self.recipe_type(name), data=data, event=user_event(session, "me")
            )
            session.commit()
            run = self.scale.queue_recipe("step", GRAPHS[name])
            for job in made.jobs:
                self.ids[id(run.jobs[str(job.recipe_job_name)])] = job.id

        # -- Scale's tick and Airflow's scheduler

        @precondition(lambda self: self.scale.queue)
        @rule()
        def dispatch(self) -> None:
            world.dispatch()
            self.scale.dispatch()

        @precondition(lambda self: self.runs_in_airflow())
        @rule()
        def scheduler_looks(self) -> None:
            hand.scheduler_looks()
            self.scale.scheduler_looks()

        @precondition(lambda self: self.runs_in_airflow())
        @rule()
        def reconcile(self) -> None:
            hand.time_passes()
            reconcile(session)
            session.commit()
            self.scale.reconcile()

        @precondition(lambda self: self.runs_in_airflow())
        @rule()
        def reconcile_outcomes(self) -> None:
            hand.time_passes()
            reconcile_outcomes(session)
            session.commit()
            self.scale.reconcile_outcomes()

        # -- workers

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
            hand.set_state(self.task(run, job), "scheduled")
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
                self.report(worker, lambda: complete(session, worker.order), self.scale.complete)
            else:
                self.fail(worker, error)
            self.end(worker, str(worker.ending))

        def start(self, run: model.Run, job: model.Job) -> None:
            world.beat(cpus=1000.0)
            task = self.task(run, job)
            worker = Worker(run, job, str(task.id))
            hand.set_state(task, "running")
            self.scale.worker_starts(job)
            self.claim(worker)

        def claim(self, worker: Worker) -> None:
            run, job = worker.run, worker.job
            task = self.task(run, job)
            request = ClaimRequest(
                task.dag_id, task.run_id, task.task_id, -1, task.try_number, str(task.id), HOST, AGENT, None
            )
            answer = claims.claim(session, request, world.settings)
            session.commit()
            expected = self.scale.claim(run, job, worker)
            found = answer.outcome if answer.answer == "over" else answer.answer
            assert found == expected, answer
            if answer.order is not None:
                worker.order, worker.number = answer.order, len(job.tries) - 1
                self.workers.append(worker)
            elif expected == "wait":
                hand.set_state(self.task(run, job), "deferred")
                self.scale.worker_waits(job)
            else:
                self.end(worker, "done" if expected == "completed" else "failed")

        @precondition(lambda self: any(worker.ending is None for worker in self.workers))
        @rule(pick=PICK)
        def worker_completes(self, pick: int) -> None:
            worker = self.pick_worker(pick, with_old=False)
            if worker is not None:
                self.report(worker, lambda: complete(session, worker.order), self.scale.complete)

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
                    lambda: complete(session, worker.order, outputs=()),
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
                self.report(worker, lambda: complete(session, worker.order), self.scale.complete)
            else:
                self.fail(worker, error)

        def fail(self, worker: Worker, error: int | str) -> None:
            named = error if isinstance(error, str) else self.scale.error_of(worker.job, error)
            self.report(
                worker,
                lambda: fail(session, worker.order, error),
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
                    hand.worker_dies(task)
                else:
                    hand.set_state(task, "success" if how == "done" else "failed")
                self.scale.worker_ends(worker.job, how)
            if worker in self.workers:
                self.workers.remove(worker)

        @precondition(lambda self: self.pick(0, lambda run, job: job.task.state in ("running", "restarting")))
        @rule(pick=PICK)
        def worker_is_lost(self, pick: int) -> None:
            """Airflow does not hear of a worker any more; it may still be there and report."""
            found = self.pick(pick, lambda run, job: job.task.state in ("running", "restarting"))
            if found is not None:
                hand.worker_dies(self.task(*found))
                self.scale.worker_dies(found[1])

        # -- users of Scale

        @precondition(lambda self: self.scale.runs)
        @rule(pick=PICK)
        def cancel(self, pick: int) -> None:
            found = self.pick(pick, lambda run, job: True)
            if found is None:
                return
            try:
                jobs.cancel_job(session, self.ids[id(found[1])])
                done = True
            except Conflict:
                done = False
            session.commit()
            assert done == self.scale.cancel(*found)

        @precondition(lambda self: self.scale.runs)
        @rule(pick=PICK)
        def cancel_all_of_a_run(self, pick: int) -> None:
            if not self.scale.runs:
                return
            run = self.scale.runs[pick % len(self.scale.runs)]
            cancel_jobs(session, JobFilter(job_ids=[self.ids[id(job)] for job in run.jobs.values()]))
            session.commit()
            for job in reversed(run.jobs.values()):
                self.scale.cancel(run, job)

        @precondition(lambda self: self.pick(0, is_over))
        @rule(pick=PICK)
        def requeue(self, pick: int) -> None:
            found = self.pick(pick, lambda run, job: job.status in ("FAILED", "CANCELED"))
            if found is not None:
                requeue.requeue_jobs(session, JobFilter(job_ids=[self.ids[id(found[1])]]))
                session.commit()
                self.scale.requeue(*found)

        @precondition(lambda self: self.pick(0, is_over))
        @rule(pick=PICK)
        def requeue_all_of_a_run(self, pick: int) -> None:
            if not self.scale.runs:
                return
            run = self.scale.runs[pick % len(self.scale.runs)]
            requeue.requeue_jobs(session, JobFilter(job_ids=[self.ids[id(job)] for job in run.jobs.values()]))
            session.commit()
            self.scale.requeue_many(run, list(run.jobs.values()))

        # -- users of Airflow

        @precondition(lambda self: self.runs_in_airflow())
        @rule(pick=PICK, with_later=st.booleans())
        def user_clears(self, pick: int, with_later: bool) -> None:
            found = self.pick(pick, lambda run, job: run.state not in (None, "deleted"))
            if found is None:
                return
            run, job = found
            chosen = [job, *(run.after(job) if with_later else [])]
            hand.user_clears([self.task(run, other) for other in chosen])
            self.scale.user_clears(run, chosen)

        @precondition(lambda self: self.runs_in_airflow())
        @rule(pick=PICK)
        def user_clears_a_run(self, pick: int) -> None:
            known = [run for run in self.scale.runs if run.state not in (None, "deleted")]
            if known:
                run = known[pick % len(known)]
                hand.user_clears([self.task(run, job) for job in run.jobs.values()])
                self.scale.user_clears(run, run.jobs.values())

        @precondition(lambda self: self.runs_in_airflow())
        @rule(pick=PICK, state=st.sampled_from(["failed", "success"]))
        def user_marks(self, pick: int, state: str) -> None:
            found = self.pick(pick, lambda run, job: run.state not in (None, "deleted"))
            if found is not None:
                hand.user_marks(self.task(*found), state)
                self.scale.user_marks(*found, state)

        @precondition(lambda self: self.runs_in_airflow())
        @rule(pick=PICK)
        def user_deletes_a_run(self, pick: int) -> None:
            known = [run for run in self.scale.runs if run.state not in (None, "deleted")]
            if known and pick < 3:
                run = known[pick % len(known)]
                task = self.task(run, next(iter(run.jobs.values())))
                hand.user_deletes_run(task.dag_id, task.run_id)
                self.scale.user_deletes_run(run)

        # -- pauses and edits

        @rule(what=st.sampled_from(["one", "step", "scheduler", "node"]))
        def pause_or_go_on(self, what: str) -> None:
            if what == "scheduler":
                self.scale.is_paused = not self.scale.is_paused
                session.execute(update(Scheduler).values(is_paused=self.scale.is_paused))
            elif what == "node":
                self.scale.node_is_paused = not self.scale.node_is_paused
                session.execute(update(Node).values(is_paused=self.scale.node_is_paused))
            else:
                known = self.scale.types[what]
                known.paused = not known.paused
                edit_job_type(session, self.type(what).id, {"is_paused": known.paused})
            session.commit()

        @rule(
            name=st.sampled_from(["one", "step", "daemon"]),
            max_tries=st.integers(1, 3),
            mapping=st.sampled_from(MAPPINGS),
            command=st.sampled_from(["run", "go"]),
        )
        def edit_job_type(self, name: str, max_tries: int, mapping: dict[int, str], command: str) -> None:
            """Jobs that exist keep their tries and their interface, and use the new mapping."""
            codes = {str(code): error for code, error in mapping.items()}
            edited: dict[str, Any] = {
                "max_tries": max_tries,
                "error_mapping": {"version": "1.0", "exit_codes": codes},
            }
            if name != "step":  # whose interface the recipe types are bound to
                edited["interface"] = step_interface(command)
            edit_job_type(session, self.type(name).id, edited)
            session.commit()
            self.scale.types[name].mapping, self.scale.types[name].max_tries = mapping, max_tries

        @rule(name=st.sampled_from(sorted(GRAPHS)), number=st.integers(0, 1))
        def edit_recipe_type(self, name: str, number: int) -> None:
            """Recipes that exist keep their revision."""
            found = definition_of(GRAPHS[name])
            found["input_data"].append({"name": f"unused {number}", "type": "property", "required": False})
            edit_recipe_type(session, self.recipe_type(name).id, {"definition": found})
            session.commit()

        # -- what is compared

        @invariant()
        def scale_and_airflow_are_as_the_model_says(self) -> None:
            if not hasattr(self, "scale"):
                return
            found = state_of(session)
            expected = {
                self.ids[id(job)]: (
                    job.status,
                    [each.status for each in job.tries],
                    len(job.tries),
                    job.max_tries,
                    *((None, None) if run.state in (None, "deleted") else (job.task.state, job.task.number)),
                    None if run.state == "deleted" else run.state,
                    run.completed,
                )
                for run in self.scale.runs
                for job in run.jobs.values()
            }
            apart = {
                number: (found.get(number), expected.get(number))
                for number in {*found, *expected}
                if found.get(number) != expected.get(number)
            }
            assert not apart, f"job: (found, expected) {apart}"

        # -- what the steps use

        def runs_in_airflow(self) -> list[model.Run]:
            return [run for run in self.scale.runs if run.state not in (None, "deleted")]

        def pick(
            self, pick: int, condition: Callable[[model.Run, model.Job], bool]
        ) -> tuple[model.Run, model.Job] | None:
            found = [
                (run, job) for run in self.scale.runs for job in run.jobs.values() if condition(run, job)
            ]
            return found[pick % len(found)] if found else None

        def pick_worker(self, pick: int, *, with_old: bool) -> Worker | None:
            found = [worker for worker in self.workers if with_old or worker.ending is None]
            return found[pick % len(found)] if found else None

        def runs_task(self, worker: Worker) -> bool:
            """Whether Airflow still takes the worker's word for how its task ended."""
            row = session.execute(
                text("SELECT 1 FROM task_instance WHERE id = :id AND state = 'running'"),
                {"id": worker.task_instance_id},
            ).first()
            session.rollback()
            return row is not None

        def task(self, run: model.Run, job: model.Job) -> Any:
            row = session.execute(
                text("SELECT dag_id, run_id, task_id FROM scale_job WHERE id = :id"),
                {"id": self.ids[id(job)]},
            ).one()
            return hand.task(*row)

        def type(self, name: str) -> JobType:
            session.expire_all()
            return session.query(JobType).filter_by(name=name).one()

        def recipe_type(self, name: str) -> RecipeType:
            session.expire_all()
            return session.query(RecipeType).filter_by(name=name).one()

    return Walk


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


STATE = text(
    """
    SELECT job.id, job.status,
           ARRAY(SELECT status FROM scale_job_execution WHERE job_id = job.id ORDER BY exe_num),
           job.num_exes, job.max_tries, task.state, task.try_number, run.state,
           COALESCE(recipe.completed IS NOT NULL, false)
    FROM scale_job job
    LEFT JOIN scale_recipe recipe ON recipe.id = job.recipe_id
    LEFT JOIN dag_run run ON run.dag_id = job.dag_id AND run.run_id = job.run_id
    LEFT JOIN task_instance task
           ON task.dag_id = job.dag_id AND task.run_id = job.run_id AND task.task_id = job.task_id
    """
)


def state_of(session: Session) -> dict[int, tuple[Any, ...]]:
    session.rollback()
    rows = session.execute(STATE).all()
    session.rollback()
    return {row[0]: tuple(row[1:]) for row in rows}


def test_random_sequences(world: World) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine_of(world),
        settings=settings(
            max_examples=SOAK or 15,
            stateful_step_count=60 if SOAK else 30,
            deadline=None,
            derandomize=not SOAK,
            database=None,
            print_blob=False,
            # A sequence is printed as it was taken: making it shorter would take long.
            phases=(Phase.generate,),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
