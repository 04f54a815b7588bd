# SPDX-License-Identifier: Apache-2.0
"""Files that no report has named: they go, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from file_agent import (
    Agent,
    duties,
    files_below,
    ingest_of,
    job_of,
    leave_behind,
    settle,
    store,
    stored_source,
)
from work import started
from world import World, interface

from scale_airflow.execution.order import ExecutionOrder
from scale_airflow.services import file_duties
from scale_airflow.services.events import user_event
from scale_airflow.services.file_moves import plan_moves
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.queue import queue_job


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def claim_again(world: World, order: ExecutionOrder) -> ExecutionOrder:
    """The task died and its next try claims on the same host: the same execution goes on."""
    again = started(world, job_of(world, order))
    assert again.execution_id == order.execution_id
    return again


ENDS: dict[str, Callable[[World, ExecutionOrder], object]] = {
    "failed": lambda world, order: world.fail(order, exit_code=1),
    "retried": lambda world, order: world.fail(order, error="filesystem-io"),
    "canceled": lambda world, order: cancel_job(world.session, order.job_id),
    "wrong results": lambda world, order: world.complete(order, files={}),
}


class TestSweeps:
    def test_what_no_report_named_goes(self, world: World, root: Path) -> None:
        for end in ENDS.values():
            order = leave_behind(world, root, "output.dat", "sub/more", ".half.part")
            Agent(world).run()
            assert len(files_below(root / "products")) == 3, "a running execution is left alone"
            end(world, order)
            world.session.commit()
            Agent(world).run()
            assert files_below(root / "products") == []
            (duty,) = duties(world)
            assert duty.done is not None
            store(root, order, "late")  # a worker that was given up long ago went on for a while
            settle(world)
            assert files_below(root / "products") == []

    def test_a_completed_execution_is_left_in_peace(self, world: World, root: Path) -> None:
        order = leave_behind(world, root, "output.dat")
        assert world.complete(order).decision == "done"
        Agent(world).run()
        assert duties(world) == []
        assert files_below(root / "products") == [f"{order.output_path}/output.dat"]

    def test_of_two_workers_only_what_was_reported_stays(self, world: World, root: Path) -> None:
        order = leave_behind(world, root, "of_the_first")
        again = claim_again(world, order)
        store(root, again, "output.dat")
        assert world.complete(again).decision == "done"
        settle(world)
        assert files_below(root / "products") == [f"{order.output_path}/output.dat"]

    def test_the_products_of_another_try_are_its_own(self, world: World, root: Path) -> None:
        order = leave_behind(world, root, "output.dat")
        world.fail(order, error="filesystem-io")
        job = job_of(world, order)
        world.set_task_state(job, "up_for_retry")
        second = started(world, job)
        assert second.output_path != order.output_path
        store(root, second, "output.dat")
        assert world.complete(second).decision == "done"
        settle(world)
        assert files_below(root / "products") == [f"{second.output_path}/output.dat"]

    def test_what_belongs_to_others_stays(self, world: World, root: Path) -> None:
        order = leave_behind(world, root, "mine", "source", "on_its_way", "moving")
        workspace = world.workspace().id
        source = world.source("source")
        source.workspace_id, source.file_path = workspace, f"{order.output_path}/source"
        world.session.add(ingest_of(world, workspace, f"{order.output_path}/on_its_way"))
        moving = world.source("moving")
        moving.workspace_id = workspace
        world.session.commit()
        plan_moves(world.session, [(moving, order.output_path)], None)
        world.session.commit()
        world.fail(order, exit_code=1)
        Agent(world).run()
        left = files_below(root / "products" / order.output_path)
        assert left == ["moving", "on_its_way", "source"]

    def test_a_job_without_outputs_leaves_nothing(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        job_type = world.job_type("none", interface(outputs={}))
        data = {"input_data": [{"name": "input", "file_id": source.id}], "output_data": []}
        job = queue_job(world.session, job_type=job_type, data=data, event=user_event(world.session, "me"))
        world.session.commit()
        world.dispatch()
        world.fail(started(world, job), exit_code=1)
        assert file_duties.plan_sweeps(world.session) == 0
