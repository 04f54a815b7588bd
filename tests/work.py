# SPDX-License-Identifier: Apache-2.0
"""Work that many tests of the services begin with: a lone job, a recipe of three jobs, and how they fare."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from world import World

from scale_airflow.execution.order import ExecutionOrder
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.store.models import Job, JobType, Recipe, RecipeType, ScaleFile

STEP = {"name": "step", "version": "1.0"}
LINK = [{"output": "output", "input": "input"}]


def steps(*job_types: str) -> list[dict[str, Any]]:
    """The jobs a → b → c … of a recipe, of these types."""
    made: list[dict[str, Any]] = []
    for number, job_type in enumerate(job_types):
        step: dict[str, Any] = {"name": "abcdef"[number], "job_type": {"name": job_type, "version": "1.0"}}
        if number:
            step["dependencies"] = [{"name": "abcdef"[number - 1], "connections": LINK}]
        else:
            step["recipe_inputs"] = [{"recipe_input": "scene", "job_input": "input"}]
        made.append(step)
    return made


CHAIN = steps("step", "step", "step")


def queued(world: World, job_type: JobType, *sources: ScaleFile, **options: Any) -> Job:
    """Queue a job on these files, on a new one if none is given."""
    files = [file.id for file in sources or (world.source(),)]
    given: dict[str, Any] = {"file_ids": files} if len(files) > 1 else {"file_id": files[0]}
    data = {
        "input_data": [{"name": "input", **given}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    event = user_event(world.session, "me")
    job = queue_job(world.session, job_type=job_type, data=data, event=event, **options)
    world.session.commit()
    return job


def lone_job(world: World, name: str = "one", **fields: Any) -> Job:
    """Queue and dispatch a job of a type of its own, which is tried once."""
    job = queued(world, world.job_type(name, **{"max_tries": 1, **fields}))
    assert world.dispatch() == 1
    return job


def queued_recipe(world: World, recipe_type: RecipeType) -> Recipe:
    """Queue a recipe on a new file."""
    data = {
        "input_data": [{"name": "scene", "file_id": world.source().id}],
        "workspace_id": world.workspace().id,
    }
    event = user_event(world.session, "me")
    recipe = queue_recipe(world.session, recipe_type=recipe_type, data=data, event=event)
    world.session.commit()
    return recipe


def chain(world: World, *, dispatched: bool = True, own_types: bool = False, **fields: Any) -> dict[str, Job]:
    """Queue a recipe a → b → c, of which each job is tried once.

    :param own_types: whether each job has a type of its own.
    :param fields: of the job types, which are made for the first such recipe.
    """
    recipe_type = world.session.scalars(select(RecipeType).where(RecipeType.name == "chain")).first()
    if recipe_type is None:
        names = ("step a", "step b", "step c") if own_types else ("step", "step", "step")
        for name in dict.fromkeys(names):
            world.job_type(name, **{"max_tries": 1, **fields})
        recipe_type = world.recipe_type("chain", steps(*names))
    recipe = queued_recipe(world, recipe_type)
    if dispatched:
        assert world.dispatch() == 1
    return {str(job.recipe_job_name): job for job in recipe.jobs}


def started(world: World, job: Job, **where: str) -> ExecutionOrder:
    """Let Airflow start the job's task, and the task claim what it is to do."""
    order = world.claim(job, **where).order
    assert order is not None
    return order


def fail(world: World, job: Job) -> ExecutionOrder:
    """Let a job run and fail for good, and its task end as its worker would."""
    order = started(world, job)
    assert world.fail(order, error="timeout").decision == "failed"
    world.set_task_state(job, "failed")
    return order


def statuses(world: World, jobs: dict[str, Job]) -> str:
    """The jobs' statuses, in the recipe's order."""
    return " ".join(world.reload(job).status for job in jobs.values())


def states(world: World, jobs: dict[str, Job]) -> str:
    """The states of the jobs' tasks in Airflow, in the recipe's order."""
    return " ".join(str(world.task(job).state) for job in jobs.values())


def products(world: World) -> int:
    """Count the products that there are."""
    world.session.rollback()
    query = select(func.count()).select_from(ScaleFile).where(ScaleFile.kind == "PRODUCT")
    return world.session.execute(query).scalar_one()
