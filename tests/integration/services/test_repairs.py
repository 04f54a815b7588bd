# SPDX-License-Identifier: Apache-2.0
"""Repairs are on record: counted for a day, the latest shown, old ones forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow_hand import AirflowHand
from looks import look
from sqlalchemy import select
from work import lone_job
from world import World

from scale_airflow.services import repairs
from scale_airflow.services.checks import check_repairs
from scale_airflow.services.reconcile import reconcile
from scale_airflow.store.models import Repair, utcnow


def test_the_report_counts_a_day_and_shows_the_latest(world: World, hand: AirflowHand) -> None:
    job = lone_job(world)
    hand.user_marks(world.task(job), "failed")
    look(world, hand)
    for hours in (1, 2, 30):
        world.session.add(
            Repair(
                occurred=utcnow() - timedelta(hours=hours),
                kind="task-priority",
                job_id=hours,
                before="x",
                after="y",
                text="z",
            )
        )
    world.session.commit()
    found = repairs.report(world.session, since=utcnow() - timedelta(days=1), latest=2)
    assert found.counts == {"task-priority": 2, "job-canceled-task-ended": 1}
    assert [repair.job_id for repair in found.latest] == [job.id, 1]
    counted, latest, *_ = check_repairs(world.session)
    assert counted.level == "ok"
    assert counted.problem == "Repaired in the last day: 2 task-priority, 1 job-canceled-task-ended."
    assert (
        f"job-canceled-task-ended: job {job.id}, execution {world.execution(job).id}: "
        "job QUEUED, task failed -> job CANCELED." in latest.problem
    )


def test_a_day_without_repairs_is_said_to_be_one(world: World) -> None:
    assert [finding.level for finding in check_repairs(world.session)] == ["ok"]


def test_old_repairs_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairs, "KEPT", 3)
    for days in (40, 5, 4, 3, 2, 1):
        world.session.add(
            Repair(
                occurred=utcnow() - timedelta(days=days),
                kind="task-priority",
                job_id=days,
                before="x",
                after="y",
                text="z",
            )
        )
        world.session.flush()
    assert repairs.prune(world.session) == 3
    assert world.session.scalars(select(Repair.job_id).order_by(Repair.id)).all() == [3, 2, 1]


def test_a_batch_is_repaired_in_one_transaction_and_the_rest_in_the_next(
    world: World, hand: AirflowHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scale_airflow.services.reconcile.BATCH", 2)
    jobs = [lone_job(world, name) for name in ("one", "two", "three")]
    for job in jobs:
        hand.user_marks(world.task(job), "failed")
    hand.time_passes()
    assert [reconcile(world.session) for _ in range(3)] == [2, 1, 0]
