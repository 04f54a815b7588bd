# SPDX-License-Identifier: Apache-2.0
"""Random sequences of what workers, users, Airflow and time do to jobs, beside a plain reference model."""

from __future__ import annotations

from airflow_hand import AirflowHand
from world import World

from job_walk.users import Users
from job_walk.walk import Walk
from job_walk.workers import Workers


def walk_in(world: World) -> type[Walk]:
    """Make the state machine of all steps in this installation."""
    where = {"world": world, "hand": AirflowHand(world.session), "workspace": world.workspace().id}
    return type("AnyWalk", (Workers, Users), where)
