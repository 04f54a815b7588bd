# SPDX-License-Identifier: Apache-2.0
"""Products: where they lie, what they stem from, when they are published; all of it at once or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from world import World, interface

from scale_airflow.execution.order import ExecutionOrder, ReportedFile, ReportedOutput, ReportedParse
from scale_airflow.services import triggers
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.services.requeue import requeue_cleared
from scale_airflow.store.models import FileAncestry, Job, JobType, Recipe, ScaleFile, TriggerEvent, utcnow

PARSE_RULE = {
    "type": "PARSE",
    "configuration": {
        "version": "1.0",
        "condition": {"media_type": "", "data_types": []},
        "data": {"input_data_name": "input", "workspace_name": "products"},
    },
}


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


def queue(world: World, job_type: JobType, *files: ScaleFile, **values: str) -> Job:
    data = {
        "input_data": [{"name": "input", "file_ids": [file.id for file in files]}]
        + [{"name": name, "value": value} for name, value in values.items()],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(world.session, job_type=job_type, data=data, event=user_event(world.session, "me"))
    world.session.commit()
    world.dispatch()
    return job


def started(world: World, job: Job) -> ExecutionOrder:
    order = world.claim(job).order
    assert order is not None
    return order


def queue_chain(world: World, jobs: list[dict[str, Any]], source: ScaleFile) -> Recipe:
    recipe = queue_recipe(
        world.session,
        recipe_type=world.recipe_type("chain/of all", jobs),
        data={
            "input_data": [{"name": "scene", "file_id": source.id}],
            "workspace_id": world.workspace().id,
        },
        event=user_event(world.session, "me"),
    )
    world.session.commit()
    world.dispatch()
    return recipe


def step(name: str, *parents: str, job_type: str = "step") -> dict[str, Any]:
    """A job of a recipe: of the scene, or of what its parents made."""
    inputs = ["input"] if len(parents) < 2 else ["left", "right"]
    return {
        "name": name,
        "job_type": {"name": job_type, "version": "1.0"},
        "recipe_inputs": [] if parents else [{"recipe_input": "scene", "job_input": "input"}],
        "dependencies": [
            {"name": parent, "connections": [{"output": "output", "input": given}]}
            for parent, given in zip(parents, inputs, strict=bool(parents))
        ],
    }


def product_of(world: World, job: Job) -> ScaleFile:
    world.session.expire_all()
    return world.session.scalars(
        select(ScaleFile).where(ScaleFile.job_id == job.id).order_by(ScaleFile.id.desc())
    ).first()  # type: ignore[return-value]


def links_to(world: World, product: ScaleFile) -> set[tuple[int, int | None]]:
    """The ancestors of a product, each with the job by which it is one (None: an input of its own job)."""
    rows = world.session.execute(
        select(FileAncestry.ancestor_id, FileAncestry.ancestor_job_id).where(
            FileAncestry.descendant_id == product.id
        )
    ).all()
    found = {(row.ancestor_id, row.ancestor_job_id) for row in rows}
    assert len(found) == len(rows), "no link is there twice"
    return found


def count(world: World, model: Any, *conditions: Any) -> int:
    query = select(func.count()).select_from(model).where(*conditions)
    return int(world.session.execute(query).scalar_one())


def complete_with(world: World, order: ExecutionOrder, **fields: Any) -> None:
    """Report a product that says these things of itself."""
    (output,) = order.outputs
    file = ReportedFile(
        file_name="a.txt",
        workspace_id=output.workspace_id,
        path=f"{order.output_path}/a.txt",
        file_size=3,
        checksum="0" * 64,
        media_type="text/plain",
        data_started=None,
        data_ended=None,
        geo_json=None,
    )
    world.complete(order, outputs=(ReportedOutput("output", False, (replace(file, **fields),)),))


class TestAncestry:
    def test_five_generations_and_a_diamond(self, world: World) -> None:
        """scene → a → b and c → d → e."""
        world.job_type("step")
        world.job_type("join", interface({"left": "file", "right": "file"}))
        source = world.source()
        recipe = queue_chain(
            world,
            [
                step("a"),
                step("b", "a"),
                step("c", "a"),
                step("d", "b", "c", job_type="join"),
                step("e", "d"),
            ],
            source,
        )
        jobs = {str(job.recipe_job_name): job for job in recipe.jobs}
        for name in "abcde":
            world.run(jobs[name])
        made = {name: product_of(world, job).id for name, job in jobs.items()}
        ids = {name: job.id for name, job in jobs.items()}
        last = world.session.get_one(ScaleFile, made["e"])
        assert links_to(world, last) == {
            (source.id, ids["a"]),
            (made["a"], ids["b"]),
            (made["a"], ids["c"]),  # by two ways, each once
            (made["b"], ids["d"]),
            (made["c"], ids["d"]),
            (made["d"], None),
        }
        rows = world.session.scalars(select(FileAncestry).where(FileAncestry.descendant_id == last.id)).all()
        assert {(row.job_id, row.recipe_id) for row in rows} == {(ids["e"], recipe.id)}
        assert count(world, FileAncestry, FileAncestry.ancestor_id == FileAncestry.descendant_id) == 0
        assert world.reload(jobs["e"]).recipe.completed is not None


class TestPublication:
    def test_only_the_same_work_supersedes_and_only_when_it_completes(self, world: World) -> None:
        document = interface({"input": "files"})
        document["input_data"].append({"name": "mode", "type": "property", "required": False})
        document["command_arguments"] = "${input} ${mode} ${job_output_dir}"
        one, other = world.job_type("one", document), world.job_type("other", document)
        left, right = world.source("left.zip"), world.source("right.zip")
        first = queue(world, one, left, right, mode="x")
        different = [
            queue(world, one, left, mode="x"),
            queue(world, one, left, right, mode="y"),
            queue(world, one, left, right),
            queue(world, other, left, right, mode="x"),
        ]
        for job in [first, *different]:
            world.run(job)
        assert all(product_of(world, job).is_published for job in [first, *different])
        again = queue(world, one, right, left, mode="x")
        order = started(world, again)
        assert product_of(world, first).is_published, "what only runs supersedes nothing"
        assert world.complete(order).decision == "done"
        old, new = product_of(world, first), product_of(world, again)
        assert (old.is_published, old.has_been_published, new.is_published) == (False, True, True)
        assert old.unpublished == new.published == world.execution(again).ended
        assert old.uuid == new.uuid
        assert all(product_of(world, job).is_published for job in different)
        assert len({product_of(world, job).uuid for job in [again, *different]}) == 5

    def test_the_same_job_that_is_requeued_and_completes_again(self, world: World) -> None:
        job = queue(world, world.job_type("one", interface({"input": "files"})), world.source())
        world.run(job)
        first = product_of(world, job)
        # Scale lets nobody requeue what has COMPLETED; this is what is left of it in older data.
        found = world.reload(job)
        found.status = "FAILED"
        world.session.commit()
        requeue_cleared(world.session, world.reload(job))
        world.session.commit()
        world.dispatch()
        order = started(world, job)
        assert world.fail(order, exit_code=None, error="unknown").decision == "failed"
        assert world.session.get_one(ScaleFile, first.id).is_published, "a failure supersedes nothing"
        requeue_cleared(world.session, world.reload(job))
        world.session.commit()
        world.dispatch()
        world.run(job)
        second = product_of(world, job)
        world.session.refresh(first)
        assert first.id != second.id
        assert (first.is_published, second.is_published) == (False, True)
        assert first.uuid == second.uuid


class TestAllAtOnce:
    def test_a_fault_in_what_follows_takes_everything_back(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = world.source()
        job = queue(world, world.job_type("one", interface({"input": "files"})), source)
        world.job_type("follows", interface({"input": "file"}), trigger_rule=PARSE_RULE)
        order = started(world, job)
        result = ReportedParse(source.file_name, "new/place", ("fine",), None, None, None, None)

        def fault(*_: object, **__: object) -> Sequence[object]:
            raise RuntimeError("a fault of ours")

        with monkeypatch.context() as patch:
            patch.setattr(triggers, "_start", fault)
            with pytest.raises(RuntimeError, match="a fault of ours"):
                world.complete(order, parse_results=(result,))
        world.session.rollback()
        assert world.reload(job).status == "RUNNING"
        assert world.execution(job).results == {}
        assert count(world, ScaleFile, ScaleFile.kind == "PRODUCT") == 0
        assert count(world, FileAncestry) == 0
        assert not world.session.get_one(ScaleFile, source.id).is_parsed
        assert count(world, TriggerEvent, TriggerEvent.type == "PARSE") == 0
        # The worker reports again, and again.
        for _ in range(3):
            assert world.complete(order, parse_results=(result,)).decision == "done"
        assert count(world, ScaleFile, ScaleFile.kind == "PRODUCT") == 1
        assert count(world, FileAncestry) == 1
        assert count(world, TriggerEvent, TriggerEvent.type == "PARSE") == 1
        assert count(world, Job) == 2

    def test_a_refused_trigger_never_fails_the_job(self, world: World) -> None:
        source = world.source(media_type="image/png")
        job = queue(world, world.job_type("one", interface({"input": "files"})), source)
        picky = interface({"input": "file"})
        picky["input_data"][0]["media_types"] = ["text/plain"]
        world.job_type("picky", picky, trigger_rule=PARSE_RULE)
        result = ReportedParse(source.file_name, None, ("fine",), None, None, None, None)
        assert world.complete(started(world, job), parse_results=(result,)).decision == "done"
        assert world.reload(job).status == "COMPLETED"
        event = world.session.scalars(select(TriggerEvent).where(TriggerEvent.type == "PARSE")).one()
        assert "image/png" in event.description["refused"]
        assert count(world, Job) == 1


class TestPlaces:
    def test_a_recipe_s_products_by_the_date_of_their_oldest_source(self, world: World) -> None:
        world.job_type("step")
        source = world.source(data_started=datetime(2015, 5, 15, 23, 30, tzinfo=timezone.utc))
        recipe = queue_chain(world, [step("a"), step("b", "a")], source)
        first, second = recipe.jobs
        order = started(world, first)
        folder = "chain_of all." + order.output_path.split("/")[1].rpartition(".")[2]
        place = f"recipes/{folder}/1.0/jobs/step/1.0/2015/05/15"
        assert order.output_path == f"{place}/job_exe_{order.execution_id}"
        world.complete(order)
        order = started(world, second)
        assert order.output_path == f"{place}/job_exe_{order.execution_id}", "its source is its grandparent"

    def test_what_has_no_date_says_so(self, world: World) -> None:
        world.job_type("step")
        recipe = queue_chain(world, [step("a")], world.source())
        before = utcnow()
        order = started(world, recipe.jobs[0])
        days = {moment.strftime("%Y/%m/%d") for moment in (before, utcnow())}
        middle = order.output_path.split("/jobs/")[1]
        assert middle in {
            f"step/1.0/unknown_source_data_time/{day}/job_exe_{order.execution_id}" for day in days
        }

    def test_a_job_alone_has_no_recipe_in_its_path_and_the_earliest_source_counts(self, world: World) -> None:
        sources = [
            world.source(f"{day}.zip", data_started=datetime(2014, 12, day, tzinfo=timezone.utc))
            for day in (31, 30)
        ]
        job = queue(world, world.job_type("one", interface({"input": "files"})), *sources, world.source())
        order = started(world, job)
        assert order.output_path == f"jobs/one/1.0/2014/12/30/job_exe_{order.execution_id}"


class TestDates:
    def test_zones_are_kept_in_mind_and_none_is_utc(self, world: World) -> None:
        source = world.source()
        job = queue(world, world.job_type("one", interface({"input": "files"})), source)
        order = started(world, job)
        result = ReportedParse(
            source.file_name, None, (), "2015-05-15T10:34:12", "2015-05-15T12:34:12+02:00", None, None
        )
        assert world.complete(order, parse_results=(result,)).decision == "done"
        found = world.session.get_one(ScaleFile, source.id)
        assert (
            found.data_started == found.data_ended == datetime(2015, 5, 15, 10, 34, 12, tzinfo=timezone.utc)
        )

    def test_what_a_product_says_of_itself(self, world: World) -> None:
        job = queue(world, world.job_type("one", interface({"input": "files"})), world.source())
        order = started(world, job)
        square = {"type": "Polygon", "coordinates": [[[0, 0, 1], [2, 0, 1], [2, 2, 1], [0, 2, 1], [0, 0, 1]]]}
        feature = {"type": "Feature", "geometry": square, "properties": {"clouds": 3}}
        complete_with(world, order, data_started="2015-05-15T10:34:12+02:00", geo_json=feature)
        product = product_of(world, job)
        assert product.data_started == datetime(2015, 5, 15, 8, 34, 12, tzinfo=timezone.utc)
        assert product.center_point == "POINT Z (1 1 1)"
        assert str(product.geometry).startswith("POLYGON Z ((")
        assert product.meta_data == {"clouds": 3}

    @pytest.mark.parametrize(
        ("fields", "place"),
        [
            ({"data_started": "yesterday"}, "/outputs/0/files/0/data_started"),
            ({"data_ended": "9999-12-31T23:59:59-12:00"}, "/outputs/0/files/0/data_ended"),
            ({"geo_json": {"type": "Point", "coordinates": []}}, "/outputs/0/files/0/geo_json/coordinates"),
        ],
    )
    def test_wrong_facts_of_a_product_fail_its_job(
        self, world: World, fields: dict[str, Any], place: str
    ) -> None:
        job = queue(world, world.job_type("one", interface({"input": "files"}), max_tries=1), world.source())
        complete_with(world, started(world, job), **fields)
        assert world.reload(job).status == "FAILED"
        assert f"{place}:" in str(world.execution(job).message)
