# SPDX-License-Identifier: Apache-2.0
"""The reconciler's looks, and what it leaves behind."""

from __future__ import annotations

from airflow.models.dagrun import DagRun
from airflow_hand import AirflowHand
from sqlalchemy import select
from world import World

from scale_airflow.services.reconcile import reconcile, reconcile_outcomes
from scale_airflow.store.models import Job, Repair


def look(world: World, hand: AirflowHand) -> int:
    """Let the reconciler look, a minute later; return how many repairs it made."""
    hand.time_passes()
    repaired = reconcile(world.session) + reconcile_outcomes(world.session)
    world.session.commit()
    hand.time_passes()
    assert reconcile(world.session) + reconcile_outcomes(world.session) == 0, "one look repairs it all"
    world.session.commit()
    return repaired


def kinds(world: World) -> list[str]:
    """The kinds of all repairs, in the order in which they were made."""
    return list(world.session.scalars(select(Repair.kind).order_by(Repair.id)))


def run_state(world: World, job: Job) -> str:
    """The state of the job's run in Airflow."""
    world.session.expire_all()
    query = select(DagRun).where(DagRun.dag_id == job.dag_id, DagRun.run_id == job.run_id)
    return str(world.session.scalars(query).one()._state)
