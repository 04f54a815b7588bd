# SPDX-License-Identifier: Apache-2.0
"""Whatever a job leaves behind becomes products as declared, or a failure that says why; nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session
from world import World

from scale_airflow.api_plugin.links import Links
from scale_airflow.api_plugin.views import files as file_views
from scale_airflow.definitions.documents import load_json
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.collect import Results, collect_results
from scale_airflow.execution.order import CompletionReport, ExecutionOrder, PhaseTimes, ReportedOutput
from scale_airflow.execution.store_outputs import store_outputs
from scale_airflow.services import executions
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import JobExecution, ScaleFile
from scale_airflow.workspaces.directory import DirectoryBroker

INTERFACE = {
    "version": "1.0",
    "command": "run",
    "command_arguments": "${input}",
    "input_data": [{"name": "input", "type": "file"}],
    "output_data": [
        {"name": "one", "type": "file", "required": False, "media_type": "text/plain"},
        {"name": "many", "type": "files", "required": False},
    ],
}
SQUARE = [[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]]
POINT = {"type": "Point", "coordinates": [1, 2, 3]}

texts = st.text(st.characters(exclude_categories=[]), max_size=6)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 1e308])
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
times = st.one_of(
    st.sampled_from(
        [
            "2015-05-15T10:34:12Z",
            "2015-05-15T10:34:12",
            "2015-05-15",
            "2015-05-15T12:34:12.5+02:00",
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-12:00",
            "9999-12-31T24:00:00",
            "2015-05-15T10:34:12+23:59",
            "2015-W20-5",
            "yesterday",
            "",
        ]
    ),
    texts,
)
numbers = st.integers(-200, 200) | st.sampled_from([1e-300, 1e12, 1e13, 0.1])
positions = st.lists(numbers, min_size=1, max_size=4)
geometries: st.SearchStrategy[Any] = st.one_of(
    st.just(POINT),
    st.builds(lambda found: {"type": "Point", "coordinates": found}, positions),
    st.builds(lambda found: {"type": "LineString", "coordinates": found}, st.lists(positions, max_size=3)),
    st.just({"type": "Polygon", "coordinates": [SQUARE]}),
    st.just({"type": "MultiPolygon", "coordinates": [[SQUARE]]}),
    st.just({"type": "MultiPoint", "coordinates": []}),
    st.builds(lambda found: {"type": "GeometryCollection", "geometries": found}, st.lists(st.just(POINT))),
    anything,
)
geo_json = st.one_of(
    geometries,
    st.builds(lambda g, p: {"type": "Feature", "geometry": g, "properties": p}, geometries, anything),
    st.builds(
        lambda found: {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "geometry": each, "properties": {"a": 1}} for each in found],
        },
        st.lists(geometries, max_size=2),
    ),
)
paths = st.one_of(
    st.sampled_from(["a.json", "b.txt", "sub/c", "./b.txt", "/etc/passwd", "../x", "missing", "sub", "link"]),
    texts,
)
names = st.one_of(st.sampled_from(["one", "many", "unknown"]), texts)


def rows(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=members)


geo = st.one_of(rows(data_started=times, data_ended=times, geo_json=geo_json), anything)
produced = st.one_of(rows(path=paths, geo_metadata=geo), st.builds(lambda path: {"path": path}, paths))
outputs = st.one_of(
    st.builds(lambda file: {"name": "one", "file": file}, produced),
    st.builds(lambda files: {"name": "many", "files": files}, st.lists(produced, max_size=2)),
    rows(name=names, file=produced, files=st.lists(produced, max_size=2)),
)
older = st.one_of(
    rows(name=names, path=paths, paths=st.lists(paths, max_size=2)),
    st.builds(lambda path: {"name": "one", "path": path}, paths),
)
parsed = st.builds(
    lambda row, name: {**({} if name is None else {"filename": name}), **row},
    rows(
        new_workspace_path=st.one_of(st.sampled_from(["x/y", "/x", "..", "", "x" * 300]), texts),
        data_types=st.lists(st.one_of(st.sampled_from(["a b", "c"]), texts), max_size=2),
        data_started=times,
        data_ended=times,
        gis_data_path=paths,
        geo_metadata=geo,
    ),
    st.sampled_from(["scene.zip", "scene.zip", "other.zip", None]),
)
manifests = st.one_of(
    rows(
        version=st.sampled_from(["1.1", "1.1", "1.0", "2.0", 1]),
        output_data=st.lists(outputs, max_size=3),
        parse_results=st.lists(parsed, max_size=2),
        info=anything,
        errors=st.one_of(st.just([]), anything),
    ),
    rows(
        version=st.just("1.0"),
        files=st.lists(older, max_size=3),
        parse_results=st.lists(parsed, max_size=2),
    ),
    anything,
)
artifact_lines = st.lists(
    st.builds(lambda name, path: f"ARTIFACT:{name}:{path}", names, paths), max_size=2
).map("\n".join)


class Bench:
    """A running execution whose worker has its output directory, and the workspaces it stores to."""

    def __init__(self, world: World, root: Path):
        self.world = world
        self.out = root / "out"
        self.broker = DirectoryBroker(root / "products")
        self.interface = JobInterface.parse(INTERFACE)
        source = world.source()
        workspace = world.workspace().id
        data = {
            "input_data": [{"name": "input", "file_id": source.id}],
            "output_data": [{"name": name, "workspace_id": workspace} for name in ("one", "many")],
        }
        job_type = world.job_type("any", INTERFACE, max_tries=1)
        job = queue_job(world.session, job_type=job_type, data=data, event=user_event(world.session, "me"))
        world.session.commit()
        world.dispatch()
        order = world.claim(job).order
        assert order is not None
        self.order: ExecutionOrder = order

    def run(self, manifest: Any, lines: str) -> str:
        """Let the job leave this behind; return how it ends: the decision, or "refused" by its worker."""
        shutil.rmtree(self.out, ignore_errors=True)
        (self.out / "sub").mkdir(parents=True)
        (self.out / "a.json").write_text(json.dumps(POINT))
        (self.out / "b.txt").write_text("b")
        (self.out / "sub" / "c").write_text("c")
        (self.out / "link").symlink_to("/etc/passwd")
        (self.out / "results_manifest.json").write_text(json.dumps(manifest))
        try:
            results = collect_results(self.interface, self.out, lines)
            stored = store_outputs(
                self.order,
                results.outputs,
                dict.fromkeys([output.workspace_id for output in self.order.outputs], self.broker),
                lambda: None,
            )
        except ExecutionFailure:
            return "refused"
        return self._report(results, stored)

    def _report(self, results: Results, stored: tuple[ReportedOutput, ...]) -> str:
        report = CompletionReport(0, PhaseTimes(), stored, results.parse_results, results.manifest, {}, ())
        sent = json.dumps(report.to_dict(), allow_nan=False).encode()
        received = CompletionReport.from_dict(load_json(sent))
        session = self.world.session
        try:
            answer = executions.complete(session, self.order.execution_id, received)
            session.flush()
            session.expire_all()
            self._look(session, answer.decision, stored)
            if answer.decision == "failed":
                message = str(session.get_one(JobExecution, self.order.execution_id).message)
                assert "/parse_results/" in message or "/outputs/" in message
            return answer.decision
        finally:
            session.rollback()

    def _look(self, session: Session, decision: str, stored: tuple[ReportedOutput, ...]) -> None:
        """All that was declared is there, and can be shown."""
        found = session.scalars(select(ScaleFile).order_by(ScaleFile.id)).all()
        declared = sorted(file.path for output in stored for file in output.files)
        products = sorted(file.file_path for file in found if file.kind == "PRODUCT")
        assert products == (declared if decision == "done" else [])
        for file in found:
            shown = json.dumps(file_views.any_file(file, Links("http://scale.example/scale")))
            assert load_json(shown)["file_name"] == file.file_name


@pytest.fixture
def bench(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    world = World(session)
    world.install(tmp_path)
    return Bench(world, tmp_path)


def parse(**members: Any) -> dict[str, Any]:
    return {"parse_results": [{"filename": "scene.zip", **members}]}


@given(manifests, artifact_lines)
@example({"output_data": [{"name": "one", "file": {"path": "b.txt"}}]}, "ARTIFACT:many:sub/c")
@example(parse(data_started="0001-01-01T00:00:00+14:00"), "")
@example(parse(data_ended="9999-12-31T23:59:59-12:00"), "")
@example(parse(gis_data_path="a.json", new_workspace_path="x/y", data_types=["a b"]), "")
@example(parse(new_workspace_path="x" * 300), "")
@example(parse(new_workspace_path="a\tb"), "")
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
def test_products_as_declared_or_a_failure_that_says_why(bench: Bench, manifest: Any, lines: str) -> None:
    assert bench.run(manifest, lines) in ("done", "failed", "refused")
