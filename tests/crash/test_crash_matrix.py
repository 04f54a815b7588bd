# SPDX-License-Identifier: Apache-2.0
"""The short form of the crash matrix: a dozen kills, few jobs and files, one seed."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.crash.asked import SHORT
from tests.crash.report import page
from tests.crash.run import crash_run

SEED = 1
KILLS = 12


@pytest.mark.docker
def test_nothing_is_lost_whatever_is_killed() -> None:
    seed = int(os.environ.get("SCALE_CRASH_SEED", SEED))
    outcome = crash_run(seed, KILLS, SHORT, longest=90.0, patience=600.0)
    if outcome.wrong:
        pytest.fail(
            f"{page(outcome)}\nAgain: python -m tests.crash --short --kills {KILLS} --seed {seed}\n"
            f"The run's folder is {outcome.folder}.",
            pytrace=False,
        )
    assert len(outcome.kills) >= KILLS // 2
    assert outcome.hit
    looked_at = {finding.title: finding.looked_at for finding in outcome.findings}
    assert sum(looked_at.values()) > SHORT.jobs + SHORT.files, looked_at
    shutil.rmtree(outcome.folder, ignore_errors=True)
