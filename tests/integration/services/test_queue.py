# SPDX-License-Identifier: Apache-2.0
"""What queueing a job writes."""

from __future__ import annotations

from statements import statements
from work import queued
from world import World


def test_the_row_of_a_lone_job_is_written_once(world: World) -> None:
    job_type, source = world.job_type("one"), world.source()
    with statements(world.session) as sent:
        job = queued(world, job_type, source)
    writes = [each.split()[:3] for each in sent if each.startswith(("INSERT INTO scale_job ", "UPDATE"))]
    assert [each[0] for each in writes] == ["INSERT"]
    assert (job.status, job.num_exes, job.disk_in_required) == ("QUEUED", 1, 10.0)
    (execution,) = job.executions
    assert (execution.status, execution.exe_num, execution.queued) == ("QUEUED", 1, job.queued)
