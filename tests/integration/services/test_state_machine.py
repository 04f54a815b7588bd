# SPDX-License-Identifier: Apache-2.0
"""Random sequences of what workers, users, Airflow and time do to jobs, against a plain reference model.

After every step the job's status, its executions' statuses, its tries and the state and try number of its
task in Airflow are read by SQL and compared with the model's. A long run, with other sequences each time:

    SOAK=500 python -m pytest tests/integration/services/test_state_machine.py

takes 500 sequences of 60 steps; ``--hypothesis-seed=N`` chooses them.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from job_walk import walk_in
from job_walk.setting import furnish
from world import World

#: How many sequences a long run takes; 0 is the short run with the same ones each time.
SOAK = int(os.environ.get("SOAK", "0"))


def test_random_sequences(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(world, monkeypatch)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        walk_in(world),
        settings=settings(
            max_examples=SOAK or 15,
            stateful_step_count=60 if SOAK else 30,
            deadline=None,
            derandomize=not SOAK,
            database=None,
            print_blob=False,
            # A sequence is printed as it was taken: making it shorter would take long.
            phases=(Phase.generate,),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
