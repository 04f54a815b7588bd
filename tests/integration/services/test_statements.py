# SPDX-License-Identifier: Apache-2.0
"""What a trivial job costs the database: so many statements, so that none slips in unseen."""

from __future__ import annotations

from typing import Any

import pytest
from statements import statements
from world import World, interface

from scale_airflow.execution.order import ClaimRequest, CompletionReport, PhaseTimes
from scale_airflow.services import claims, dispatch, executions
from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import Job
from scale_airflow.store.session import transaction


@pytest.fixture
def jobs(world: World) -> list[Job]:
    job_type = world.job_type("trivial", interface({}, {}))
    made = [
        queue_job(world.session, job_type=job_type, data={}, event=user_event(world.session, "me"))
        for _ in range(12)
    ]
    world.session.commit()
    return made


def test_a_trivial_job_in_few_statements(world: World, jobs: list[Job]) -> None:
    counts = dispatched(world, 2), dispatched(world, 10)
    assert (counts[1] - counts[0]) / 8 <= 14, "each further job of a dispatch"
    job = jobs[0]
    world.set_task_state(job, "running")
    request = world.request(job)
    world.session.commit()
    assert claimed_and_completed(world, request) == {"claim": 14, "complete": 6}


def dispatched(world: World, count: int) -> int:
    settings: Any = world.settings
    with statements(world.session) as seen, transaction() as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "BATCH", count)
        assert dispatch.dispatch(session, settings) == count
    return len(seen)


def claimed_and_completed(world: World, request: ClaimRequest) -> dict[str, int]:
    counts = {}
    with statements(world.session) as seen, transaction() as session:
        order = claims.claim(session, request, world.settings).order
    assert order is not None
    counts["claim"] = len(seen)
    now = "2026-01-01T00:00:00Z"
    report = CompletionReport(0, PhaseTimes(now, now, now, now, now, now), (), (), {}, {}, (), "")
    with statements(world.session) as seen, transaction() as session:
        place = executions.authenticate(session, order.execution_id, order.token)
        answer = executions.complete(session, order.execution_id, report, order.token, place)
    assert answer.decision == "done"
    counts["complete"] = len(seen)
    return counts
