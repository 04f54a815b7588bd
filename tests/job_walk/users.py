# SPDX-License-Identifier: Apache-2.0
"""Steps of the walk: what users of Scale and of Airflow do."""

from __future__ import annotations

from typing import Any

import reference_model as model
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy import update

from job_walk.setting import GRAPHS, MAPPINGS, definition_of, step_interface
from job_walk.walk import PICK, Walk
from scale_airflow.errors import Conflict
from scale_airflow.services import jobs, requeue
from scale_airflow.services.cancel import cancel_jobs
from scale_airflow.services.job_types import edit_job_type
from scale_airflow.services.recipe_types import edit_recipe_type
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Node, Scheduler


def is_over(_: model.Run, job: model.Job) -> bool:
    return job.status in ("FAILED", "CANCELED")


class Users(Walk):
    """Users cancel, requeue, clear, mark, delete, pause and edit."""

    # -- users of Scale

    @precondition(lambda self: self.scale.runs)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        found = self.pick(pick, lambda run, job: True)
        if found is None:
            return
        try:
            jobs.cancel_job(self.session, self.ids[id(found[1])])
            done = True
        except Conflict:
            done = False
        self.session.commit()
        assert done == self.scale.cancel(*found)

    @precondition(lambda self: self.scale.runs)
    @rule(pick=PICK)
    def cancel_all_of_a_run(self, pick: int) -> None:
        if not self.scale.runs:
            return
        run = self.scale.runs[pick % len(self.scale.runs)]
        cancel_jobs(self.session, JobFilter(job_ids=[self.ids[id(job)] for job in run.jobs.values()]))
        self.session.commit()
        for job in reversed(run.jobs.values()):
            self.scale.cancel(run, job)

    @precondition(lambda self: self.pick(0, is_over))
    @rule(pick=PICK)
    def requeue(self, pick: int) -> None:
        found = self.pick(pick, lambda run, job: job.status in ("FAILED", "CANCELED"))
        if found is not None:
            requeue.requeue_jobs(self.session, JobFilter(job_ids=[self.ids[id(found[1])]]))
            self.session.commit()
            self.scale.requeue(*found)

    @precondition(lambda self: self.pick(0, is_over))
    @rule(pick=PICK)
    def requeue_all_of_a_run(self, pick: int) -> None:
        if not self.scale.runs:
            return
        run = self.scale.runs[pick % len(self.scale.runs)]
        requeue.requeue_jobs(
            self.session, JobFilter(job_ids=[self.ids[id(job)] for job in run.jobs.values()])
        )
        self.session.commit()
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
        self.hand.user_clears([self.task(run, other) for other in chosen])
        self.scale.user_clears(run, chosen)

    @precondition(lambda self: self.runs_in_airflow())
    @rule(pick=PICK)
    def user_clears_a_run(self, pick: int) -> None:
        known = [run for run in self.scale.runs if run.state not in (None, "deleted")]
        if known:
            run = known[pick % len(known)]
            self.hand.user_clears([self.task(run, job) for job in run.jobs.values()])
            self.scale.user_clears(run, run.jobs.values())

    @precondition(lambda self: self.runs_in_airflow())
    @rule(pick=PICK, state=st.sampled_from(["failed", "success"]))
    def user_marks(self, pick: int, state: str) -> None:
        found = self.pick(pick, lambda run, job: run.state not in (None, "deleted"))
        # What Airflow then does about tasks that have begun depends on the order in which it reads them; what
        # becomes of it is the same, see test_the_next_job_runs_though_a_user_marks_the_completed_one_failed.
        if found is not None and not (state == "failed" and has_begun_after(*found)):
            self.hand.user_marks(self.task(*found), state)
            self.scale.user_marks(*found, state)

    @precondition(lambda self: self.runs_in_airflow())
    @rule(pick=PICK)
    def user_deletes_a_run(self, pick: int) -> None:
        known = [run for run in self.scale.runs if run.state not in (None, "deleted")]
        if known and pick < 3:
            run = known[pick % len(known)]
            task = self.task(run, next(iter(run.jobs.values())))
            self.hand.user_deletes_run(task.dag_id, task.run_id)
            self.scale.user_deletes_run(run)

    # -- pauses and edits

    @rule(what=st.sampled_from(["one", "step", "scheduler", "node"]))
    def pause_or_go_on(self, what: str) -> None:
        if what == "scheduler":
            self.scale.is_paused = not self.scale.is_paused
            self.session.execute(update(Scheduler).values(is_paused=self.scale.is_paused))
        elif what == "node":
            self.scale.node_is_paused = not self.scale.node_is_paused
            self.session.execute(update(Node).values(is_paused=self.scale.node_is_paused))
        else:
            known = self.scale.types[what]
            known.paused = not known.paused
            edit_job_type(self.session, self.type(what).id, {"is_paused": known.paused})
        self.session.commit()

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
        edit_job_type(self.session, self.type(name).id, edited)
        self.session.commit()
        self.scale.types[name].mapping, self.scale.types[name].max_tries = mapping, max_tries

    @rule(name=st.sampled_from(sorted(GRAPHS)), number=st.integers(0, 1))
    def edit_recipe_type(self, name: str, number: int) -> None:
        """Recipes that exist keep their revision."""
        found = definition_of(GRAPHS[name])
        found["input_data"].append({"name": f"unused {number}", "type": "property", "required": False})
        edit_recipe_type(self.session, self.recipe_type(name).id, {"definition": found})
        self.session.commit()


def has_begun_after(run: model.Run, job: model.Job) -> bool:
    """Say whether a task that depends on the job's own one was scheduled, and is not over."""
    return any(
        any(parent is job for parent in run.parents(later)) and later.task.state not in (None, *model.OVER)
        for later in run.jobs.values()
    )
