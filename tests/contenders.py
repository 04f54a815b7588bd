# SPDX-License-Identifier: Apache-2.0
"""What API servers, workers, agents and users do to the same jobs at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from concurrency import apart
from sqlalchemy import text
from work import STEP, queued, queued_recipe, started
from world import AGENT, HOST, World, interface

from scale_airflow.execution.order import (
    CompletionReport,
    ExecutionOrder,
    FailureReport,
    NodeBeat,
    PhaseTimes,
    ReportedFile,
    ReportedOutput,
)
from scale_airflow.services import claims, executions, jobs, nodes
from scale_airflow.store.models import Job, Recipe, ScaleFile

LONG_AGO = "now() - interval '1 minute'"


def running(world: World, job_type: Any, *sources: ScaleFile) -> tuple[Job, ExecutionOrder]:
    job = queued(world, job_type, *sources)
    assert world.dispatch() == 1
    return job, started(world, job)


def report(order: ExecutionOrder, **fields: Any) -> CompletionReport:
    outputs = tuple(
        ReportedOutput(
            output.name,
            False,
            (
                ReportedFile(
                    f"{output.name}.dat",
                    output.workspace_id,
                    f"{order.output_path}/{output.name}.dat",
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
    given = {"exit_code": 0, "times": PhaseTimes(), "outputs": outputs, "parse_results": ()}
    return CompletionReport(**{**given, "manifest": {}, "environment": {}, "warnings": (), **fields})


def failure(error: str | None = None, exit_code: int | None = 1) -> FailureReport:
    return FailureReport(error, exit_code, "it failed", PhaseTimes(), {}, None)


def completes(order: ExecutionOrder, **fields: Any) -> Callable[[], Any]:
    made = report(order, **fields)
    return apart(lambda session: executions.complete(session, order.execution_id, made).decision)


def cancels(job: Job) -> Callable[[], Any]:
    number = job.id
    return apart(lambda session: jobs.cancel_job(session, number).status)


def claims_it(world: World, job: Job, **where: str) -> Callable[[], Any]:
    world.set_task_state(job, "running")
    request = world.request(job, **where)
    return apart(lambda session: claims.claim(session, request, world.settings))


def beats(world: World, *seen: int) -> Callable[[], Any]:
    made = NodeBeat(AGENT, HOST, 8793, 8.0, 16384.0, 100000.0, seen, ())
    return apart(lambda session: nodes.beat(session, made, world.settings))


def age(world: World) -> None:
    """Let the grace of the reconciler pass."""
    world.session.execute(text(f"UPDATE scale_job SET dispatched = {LONG_AGO} WHERE dispatched IS NOT NULL"))
    world.session.execute(text(f"UPDATE scale_job_execution SET last_modified = {LONG_AGO}"))
    world.session.commit()


def outcome(world: World, job: Job) -> tuple[str, list[str]]:
    found = world.reload(job)
    return found.status, [execution.status for execution in reversed(found.executions)]


def fan_in(world: World, width: int) -> tuple[Recipe, list[Job], Job]:
    """Queue and dispatch a recipe of so many jobs and one that waits for all of them."""
    world.job_type("step")
    world.job_type("join", interface({f"p{number}": "file" for number in range(width)}))
    root = {"job_type": STEP, "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}]}
    waits = [
        {"name": f"p{number}", "connections": [{"output": "output", "input": f"p{number}"}]}
        for number in range(width)
    ]
    last = {"name": "join", "job_type": {"name": "join", "version": "1.0"}, "dependencies": waits}
    recipe_type = world.recipe_type("fan-in", [*({"name": f"p{n}", **root} for n in range(width)), last])
    recipe = queued_recipe(world, recipe_type)
    assert world.dispatch() == 1
    by_name = {str(job.recipe_job_name): job for job in recipe.jobs}
    return recipe, [by_name[f"p{number}"] for number in range(width)], by_name["join"]
