# SPDX-License-Identifier: Apache-2.0
"""A day on which everything that answers can show happens once: files come in and are parsed, recipes and
jobs complete, fail, are canceled, wait and run, products are superseded, and much is archived.

What users do goes over HTTP with the specification's own request examples; what workers do through the
services, as in :mod:`world`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select, text
from strike_world import SUFFIX, StrikeWorld
from world import AGENT, World, interface

from scale_airflow.execution.order import (
    BeatReport,
    CompletionReport,
    ExecutionOrder,
    PhaseTimes,
    ReportedFile,
    ReportedOutput,
    ReportedParse,
)
from scale_airflow.services import executions
from scale_airflow.services.load import record_load
from scale_airflow.services.metrics import ONE_DAY, compute_day
from scale_airflow.store.models import Job, JobType, Node, Recipe, RecipeType, ScaleFile, Workspace, utcnow

API = "/scale/api"
SCENE = "image/x-hdf5-image"
FOOTPRINT = {
    "type": "Feature",
    "properties": {"sensor": "one"},
    "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]},
}


@dataclass
class BusyDay:
    """A day; :attr:`ids` says under which id there is something to look at of each kind, for ``{id}``."""

    world: World
    root: Path
    client: httpx.Client
    login: Mapping[str, str]
    ids: dict[str, int] = field(default_factory=dict)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self.client.request(method, f"{API}{path}", headers=dict(self.login), **arguments)

    def do(self, method: str, path: str, body: Any) -> Any:
        answer = self.request(method, path, json=body)
        assert answer.status_code in (200, 201), (method, path, answer.text)
        return answer.json()

    def begin(self) -> None:
        """Make the installation, its workspaces and what scenes are processed with."""
        self.world.install(self.root / "data")
        for name in ("rs", "old"):
            body = {
                "name": name,
                "title": name.upper(),
                "base_url": f"http://files.example/{name}",
                "json_config": {"version": "1.0", "broker": {"type": "nfs", "mount": "host:/my/path"}},
            }
            self.ids[f"workspace {name}"] = self.do("POST", "/workspaces/", body)["id"]
        self.do("PATCH", f"/workspaces/{self.ids['workspace old']}/", {"is_active": False})
        error = {"name": "bad-data", "title": "Bad data", "description": "No", "category": "DATA"}
        self.do("POST", "/errors/", error)
        self._types()

    def _types(self) -> None:
        about = {
            "title": "Title",
            "description": "What it does",
            "category": "science",
            "author_name": "Somebody",
            "author_url": "http://author.example/",
            "icon_code": "f1c5",
            "max_scheduled": 9,
            "error_mapping": {"version": "1.0", "exit_codes": {"1": "bad-data"}},
        }
        names = ("unpack", "detect", "fails", "kml-footprint", "waits", "runs")
        for name in names:
            rule = _rule("PARSE", "input", SCENE) if name == "kml-footprint" else None
            self.world.job_type(name, trigger_rule=rule, **about)
        for name, version in (("my-job1", "1.2.3"), ("my-job2", "4.5.6")):
            takes = interface({"input_file": "file"})
            self.world.job_type(name, takes, version=version, **about)
        for name in ("terrain", "other", "third"):
            rule = _rule("INGEST", "scene", SCENE) if name == "terrain" else None
            self.world.recipe_type(name, _JOBS, title="Terrain", description="Two jobs", trigger_rule=rule)

    def scenes(self) -> None:
        """Bring scenes in: one is processed by its recipe and parsed, others are still on their way."""
        inbox = StrikeWorld.make(self.world, self.root / "data")
        self.ids["strike"] = inbox.strike_id
        # Nothing starts a recipe on these: their type is archived for the moment.
        self._set_rule_active(False)
        for name in ("b.h5", "c.h5"):
            inbox.drop(name, name)
        inbox.drop("note.txt", "no rule takes it")
        inbox.settle()
        self._set_rule_active(True)
        inbox.drop("a.h5", "the scene")
        inbox.settle()
        (ingest,) = inbox.ingests(file_name="a.h5")
        self.ids["ingest"], self.ids["source"] = ingest.id, ingest.source_file_id or 0
        inbox.drop("d.h5", "half of", suffix=SUFFIX)
        inbox.look()

    def _set_rule_active(self, is_active: bool) -> None:
        number = self._recipe_type("terrain").id
        self.do("PATCH", f"/recipe-types/{number}/", {"trigger_rule": {"is_active": is_active}})

    def work(self) -> None:
        """Let the scene's recipe and what it starts run, by hand more of each kind."""
        recipe = self.world.session.scalars(select(Recipe)).one()
        self.ids["recipe"] = recipe.id
        first, second = [job.id for job in recipe.jobs]
        self.ids["job"] = first
        parsed = ReportedParse("a.h5", None, ("tag",), _TIMES[0], _TIMES[-1], FOOTPRINT, {"key": "value"})
        self._complete(first, parse_results=(parsed,))
        self._complete(second)
        footprint = self._only_job("kml-footprint")
        self.ids["parsed job"] = footprint.id
        self._complete(footprint.id)
        again = self.queue("kml-footprint", {"input": self.ids["source"]})
        self._complete(again)
        self.do("POST", "/queue/new-recipe/", self.recipe_body("other"))
        recipe = self.do("POST", "/queue/new-recipe/", self.recipe_body("third"))
        self.world.fail(self._claim(recipe["jobs"][0]["job"]["id"]), exit_code=1)
        self._fail()
        for name in ("unpack", "detect", "runs"):
            self.ids["running job"] = self.queue(name, {"input": self.ids["source"]})
            order = self._claim(self.ids["running job"])
        times = PhaseTimes(*_TIMES[:3])
        executions.beat(self.world.session, order.execution_id, BeatReport(times, "a.h5 outputs"))
        self.world.session.commit()
        self.ids["waiting job"] = self.queue("waits", {"input": self.ids["source"]})

    def _fail(self) -> None:
        failed = self.queue("fails", {"input": self.ids["source"]})
        self.ids["failed job"] = failed
        self.world.fail(self._claim(failed), exit_code=1)
        for name in ("fails", "detect", "unpack"):
            lost = self.queue(name, {"input": self.ids["source"]})
            for _ in range(3):
                self.world.fail(self._claim(lost), error="filesystem-io")

    def end(self) -> None:
        """Archive, delete, pause and lose one of each."""
        self._nodes()
        for name in ("waits", "fails", "kml-footprint"):
            self.ids[f"job type {name}"] = self._job_type(name).id
        self.do("PATCH", f"/job-types/{self.ids['job type waits']}/", {"is_paused": True})
        self._archive()
        session = self.world.session
        session.execute(
            text(
                "INSERT INTO job (job_type, state, hostname, latest_heartbeat, start_date) "
                "VALUES ('SchedulerJob', 'running', 'there', now(), now())"
            )
        )
        for minutes in range(3):
            record_load(session, utcnow() - timedelta(minutes=minutes))
        for day in (utcnow().date() - ONE_DAY, utcnow().date()):
            compute_day(session, day)
        session.commit()
        for name in ("job", "failed job"):
            self.ids[f"execution of {name}"] = self.world.execution(self._job(self.ids[name])).id
        self.ids["recipe type"] = self._recipe_type("terrain").id
        self.ids["error"] = self._job(self.ids["failed job"]).error_id or 0
        self.ids["workspace"] = self.world.workspace("rs").id

    def _nodes(self) -> None:
        changes: dict[str, Any] = {
            "paused node": {"is_paused": True, "pause_reason": "A new disk"},
            "gone node": {"is_active": False},
        }
        for name, change in changes.items():
            self.ids[name] = self.world.beat(agent=name, host=name).node_id
            self.do("PATCH", f"/nodes/{self.ids[name]}/", change)
        self.ids["silent node"] = self.world.beat(agent="silent", host="silent").node_id
        self.world.session.get_one(Node, self.ids["silent node"]).last_offer = None
        self.world.session.commit()
        query = select(Node.id).where(Node.slave_id == AGENT)
        self.ids["node"] = self.world.session.scalars(query).one()

    def _archive(self) -> None:
        """Do what nothing in the API does (yet): archive types, delete files, measure, find countries."""
        session, now = self.world.session, utcnow()
        session.expire_all()
        for old in (self._job_type("my-job2"), self._recipe_type("third")):
            old.is_active, old.archived = False, now
        self.ids["archived job type"] = self._job_type("my-job2").id
        self.ids["archived recipe type"] = self._recipe_type("third").id
        for kind in ("SOURCE", "PRODUCT"):
            query = select(ScaleFile).where(ScaleFile.kind == kind).order_by(ScaleFile.id)
            file = session.scalars(query).first()
            assert file is not None
            file.is_deleted, file.deleted = True, now
        for file in session.scalars(select(ScaleFile)):
            file.countries = ["TCY"]
        for space in session.scalars(select(Workspace)):
            space.used_size, space.total_size = 1000, 2000
        session.commit()

    def queue(self, name: str, files: Mapping[str, int]) -> int:
        """Queue a job by hand."""
        body = {
            "job_type_id": self._job_type(name).id,
            "job_data": {
                "input_data": [{"name": each, "file_id": file} for each, file in files.items()],
                "output_data": [{"name": "output", "workspace_id": self.world.workspace().id}],
            },
        }
        return int(self.do("POST", "/queue/new-job/", body)["id"])

    def recipe_body(self, name: str) -> dict[str, Any]:
        """Return a body that queues a recipe by hand."""
        return {
            "recipe_type_id": self._recipe_type(name).id,
            "recipe_data": {
                "input_data": [{"name": "scene", "file_id": self.ids["source"]}],
                "workspace_id": self.world.workspace().id,
            },
        }

    def _job_type(self, name: str) -> JobType:
        return self.world.session.scalars(select(JobType).where(JobType.name == name)).one()

    def _recipe_type(self, name: str) -> RecipeType:
        return self.world.session.scalars(select(RecipeType).where(RecipeType.name == name)).one()

    def _job(self, job_id: int) -> Job:
        self.world.session.expire_all()
        return self.world.session.get_one(Job, job_id)

    def _only_job(self, type_name: str) -> Job:
        query = select(Job).join(JobType).where(JobType.name == type_name)
        return self.world.session.scalars(query).one()

    def _claim(self, job_id: int) -> ExecutionOrder:
        self.world.beat(*self._running(), cpus=64.0)
        self.world.dispatch()
        answer = self.world.claim(self._job(job_id))
        assert answer.order is not None, answer
        return answer.order

    def _running(self) -> list[int]:
        self.world.session.expire_all()
        jobs = self.world.session.scalars(select(Job).where(Job.status == "RUNNING", Job.run_id.is_not(None)))
        return [self.world.execution(job).id for job in jobs]

    def _complete(self, job_id: int, parse_results: tuple[ReportedParse, ...] = ()) -> None:
        order = self._claim(job_id)
        outputs = tuple(
            ReportedOutput(
                output.name,
                False,
                (
                    ReportedFile(
                        file_name=f"{output.name}.dat",
                        workspace_id=output.workspace_id,
                        path=f"{order.output_path}/{output.name}.dat",
                        file_size=3,
                        checksum="0" * 64,
                        media_type="application/octet-stream",
                        data_started=_TIMES[0],
                        data_ended=_TIMES[-1],
                        geo_json=FOOTPRINT,
                    ),
                ),
            )
            for output in order.outputs
        )
        report = CompletionReport(
            exit_code=0,
            times=PhaseTimes(*_TIMES),
            outputs=outputs,
            parse_results=parse_results,
            manifest={"version": "1.1", "output_data": [], "parse_results": [], "info": [], "errors": []},
            environment={"version": "1.0", "backend": "docker"},
            warnings=(),
        )
        said = executions.complete(self.world.session, order.execution_id, report)
        self.world.session.commit()
        assert said.decision == "done", said
        self.world.set_task_state(self._job(job_id), "success")


_TIMES = [f"2015-09-01T17:27:3{second}.500+00:00" for second in range(6)]

_JOBS = [
    {
        "name": "a",
        "job_type": {"name": "unpack", "version": "1.0"},
        "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}],
    },
    {
        "name": "b",
        "job_type": {"name": "detect", "version": "1.0"},
        "dependencies": [{"name": "a", "connections": [{"output": "output", "input": "input"}]}],
    },
]


def _rule(kind: str, name: str, media_type: str) -> dict[str, Any]:
    return {
        "type": kind,
        "is_active": True,
        "configuration": {
            "version": "1.0",
            "condition": {"media_type": media_type, "data_types": []},
            "data": {"input_data_name": name, "workspace_name": "products"},
        },
    }
