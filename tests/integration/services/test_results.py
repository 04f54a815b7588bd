# SPDX-License-Identifier: Apache-2.0
"""Reports that promise what can't be, and types that change while their jobs are under way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select
from work import queued, queued_recipe, started, steps
from world import World, interface

from scale_airflow.execution.order import CompletionReport, PhaseTimes, ReportedParse
from scale_airflow.services import executions
from scale_airflow.services.errors import create_error
from scale_airflow.services.job_types import edit_job_type
from scale_airflow.store.models import Job, JobType, ScaleFile, Workspace


def dispatched_job(world: World, job_type: JobType) -> Job:
    job = queued(world, job_type)
    world.dispatch()
    return job


def parsed(**fields: Any) -> ReportedParse:
    return replace(ReportedParse("scene.zip", None, (), None, None, None, None), **fields)


@pytest.mark.parametrize(
    ("result", "place"),
    [
        (
            parsed(geo_json={"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}),
            "/parse_results/0/geo_json/coordinates/0",
        ),
        (parsed(geo_json={"type": "Blob"}), "/parse_results/0/geo_json/type"),
        (parsed(data_started="yesterday"), "/parse_results/0/data_started"),
        (parsed(data_ended="9999-12-31T24:00:00Z"), "/parse_results/0/data_ended"),
        (parsed(data_types=("fine", "a;b")), "/parse_results/0/data_types/1"),
    ],
)
def test_wrong_parse_results_fail_the_job_and_name_the_place(
    world: World, result: ReportedParse, place: str
) -> None:
    job = dispatched_job(world, world.job_type("one", max_tries=1))
    answer = world.complete(started(world, job), parse_results=(result,))
    assert answer.decision == "failed"
    execution = world.execution(job)
    assert execution.status == "FAILED"
    assert f"{place}:" in str(execution.message)
    source = world.session.scalars(select(ScaleFile).where(ScaleFile.kind == "SOURCE")).one()
    assert not source.is_parsed


def test_a_path_that_another_file_has_fails_the_job(world: World) -> None:
    job = dispatched_job(world, world.job_type("one", max_tries=1))
    order = started(world, job)
    taken = world.source("output.dat")
    taken.workspace_id, taken.file_path = world.workspace().id, f"{order.output_path}/output.dat"
    world.session.commit()
    assert world.complete(order).decision == "failed"
    assert "is another file's path already" in str(world.execution(job).message)
    assert world.session.execute(select(func.count()).select_from(ScaleFile)).scalar_one() == 2


def test_a_type_that_can_not_run_any_more_fails_its_jobs_with_the_reason(world: World) -> None:
    job_type = world.job_type("one")
    job = dispatched_job(world, job_type)
    job_type.docker_image = None
    world.session.commit()
    for _ in range(2):
        answer = world.claim(job)
        assert (answer.answer, answer.outcome) == ("over", "failed")
    found = world.reload(job)
    assert (found.status, found.num_exes, found.error.name) == ("FAILED", 1, "unknown")
    assert "docker_image" in str(found.executions[0].message)


CHAIN = steps("step", "step")


def test_a_recipe_under_way_keeps_its_revisions_and_follows_what_is_live(world: World) -> None:
    job_type = world.job_type("step", docker_image="old", max_tries=1)
    recipe = queued_recipe(world, world.recipe_type("chain", CHAIN))
    world.dispatch()
    first, second = recipe.jobs
    world.run(first)
    create_error(
        world.session, {"name": "mine", "title": "Mine", "description": "It is mine.", "category": "DATA"}
    )
    changed = interface({"input": "file"}, {"output": "file"})
    changed["input_data"].append({"name": "more", "type": "property", "required": False})
    changed["command_arguments"] = "${input} ${more} ${job_output_dir} --new"
    mapping = {"version": "1.0", "exit_codes": {"7": "mine"}}
    edit_job_type(
        world.session,
        job_type.id,
        {"interface": changed, "error_mapping": mapping, "docker_image": "new", "is_paused": True},
    )
    world.session.commit()
    assert "is paused" in str(world.claim(second).reason)
    edit_job_type(world.session, job_type.id, {"is_paused": False})
    world.session.commit()
    order = started(world, second)
    assert order.image == "new"
    assert "--new" not in order.interface["command_arguments"]
    assert [given.name for given in order.inputs] == ["input"]
    assert world.fail(order, exit_code=7).decision == "failed"
    assert world.reload(second).error.name == "mine"


def test_a_child_whose_workspace_was_closed_fails_and_says_so(world: World) -> None:
    world.job_type("step")
    recipe = queued_recipe(world, world.recipe_type("chain", CHAIN))
    world.dispatch()
    first, second = recipe.jobs
    order = started(world, first)
    world.session.get_one(Workspace, world.workspace().id).is_active = False
    world.session.commit()
    assert world.complete(order).decision == "done"
    found = world.reload(second)
    assert (found.status, found.executions[0].status) == ("FAILED", "FAILED")
    assert "products" in str(found.executions[0].message)


def test_times_that_are_none_are_refused_and_change_nothing(world: World) -> None:
    from scale_airflow.errors import InvalidDocument

    job = dispatched_job(world, world.job_type("one"))
    order = started(world, job)
    wrong = CompletionReport(0, PhaseTimes(pre_started="9999-12-31T24:00:00Z"), (), (), {}, {}, ())
    with pytest.raises(InvalidDocument, match="pre_started"):
        executions.complete(world.session, order.execution_id, wrong)
    world.session.rollback()
    assert world.reload(job).status == "RUNNING"
