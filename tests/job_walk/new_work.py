# SPDX-License-Identifier: Apache-2.0
"""Steps of the walk: new work, Scale's tick and Airflow's scheduler."""

from __future__ import annotations

import reference_model as model
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from sqlalchemy import text, update

from job_walk.setting import GRAPHS, WORK
from job_walk.walk import Walk
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.services.reconcile import reconcile, reconcile_outcomes
from scale_airflow.store.models import JobType, Node, Scheduler


class NewWork(Walk):
    """Jobs and recipes are queued, dispatched and looked after; a walk begins without any."""

    @initialize()
    def begin(self) -> None:
        self.session.rollback()
        self.session.execute(text(f"TRUNCATE {', '.join(WORK)} CASCADE"))
        self.session.execute(update(JobType).values(is_paused=False))
        self.session.execute(update(JobType).where(JobType.name.in_(["one", "step"])).values(max_tries=2))
        self.session.execute(update(JobType).where(JobType.name == "daemon").values(max_tries=1))
        self.session.execute(update(JobType).values(error_mapping={"version": "1.0", "exit_codes": {}}))
        self.session.execute(update(Scheduler).values(is_paused=False))
        self.session.execute(update(Node).values(is_paused=False))
        self.session.commit()
        self.scale = model.Scale(
            {"one": model.Type(2), "step": model.Type(2), "daemon": model.Type(1, long_running=True)}
        )
        self.sources = [self.world.source("scene.zip").id, self.world.source("more.zip").id]
        self.workers = []
        self.ids = {}
        self.queue_recipe("chain", extra=False)
        self.queue_job("one", extra=True)

    @rule(name=st.sampled_from(["one", "one", "daemon"]), extra=st.booleans())
    def queue_job(self, name: str, extra: bool) -> None:
        data = {
            "input_data": [
                {"name": given, "file_id": number}
                for given, number in zip(["input", "extra"][: 1 + extra], self.sources, strict=False)
            ],
            "output_data": [{"name": "output", "workspace_id": self.workspace}],
        }
        made = queue_job(
            self.session, job_type=self.type(name), data=data, event=user_event(self.session, "me")
        )
        self.session.commit()
        self.ids[id(self.scale.queue_job(name).jobs["job"])] = made.id

    @rule(name=st.sampled_from(sorted(GRAPHS)), extra=st.booleans())
    def queue_recipe(self, name: str, extra: bool) -> None:
        data = {
            "input_data": [
                {"name": given, "file_id": number}
                for given, number in zip(["scene", "more"][: 1 + extra], self.sources, strict=False)
            ],
            "workspace_id": self.workspace,
        }
        made = queue_recipe(
            self.session, recipe_type=self.recipe_type(name), data=data, event=user_event(self.session, "me")
        )
        self.session.commit()
        run = self.scale.queue_recipe("step", GRAPHS[name])
        for job in made.jobs:
            self.ids[id(run.jobs[str(job.recipe_job_name)])] = job.id

    # -- Scale's tick and Airflow's scheduler

    @precondition(lambda self: self.scale.queue)
    @rule()
    def dispatch(self) -> None:
        self.world.dispatch()
        self.scale.dispatch()

    @precondition(lambda self: self.runs_in_airflow())
    @rule()
    def scheduler_looks(self) -> None:
        self.hand.scheduler_looks()
        self.scale.scheduler_looks()

    @precondition(lambda self: self.runs_in_airflow())
    @rule()
    def reconcile(self) -> None:
        self.hand.time_passes()
        reconcile(self.session)
        self.session.commit()
        self.scale.reconcile()

    @precondition(lambda self: self.runs_in_airflow())
    @rule()
    def reconcile_outcomes(self) -> None:
        self.hand.time_passes()
        reconcile_outcomes(self.session)
        self.session.commit()
        self.scale.reconcile_outcomes()
