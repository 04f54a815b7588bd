# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from scale_airflow.rescale.emulator.records import CLUSTER
from scale_airflow.rescale.emulator.work import SCENARIOS, Scenario


async def test_a_cluster_that_cannot_be_had(bench):
    job_id = await bench.ran("echo never", scenario="allocation-failure")
    assert bench.statuses(job_id)[-3:] == ["Validated", "Stopping", "Completed"]
    assert bench.reason(job_id) == "Could not allocate compute resources from the compute provider"
    assert bench.statuses(job_id, CLUSTER) == ["Not Started", "Starting", "Error", "Stopped"]
    assert bench.state.jobs[job_id].paid_runs == 0
    assert bench.state.runs(job_id) == []


async def test_a_preempted_job_runs_again_from_the_beginning(bench):
    job_id = await bench.ran("ls; touch made; sleep ${DELAY:-0.01}", scenario="preempted:2")
    executing = [one for one in bench.statuses(job_id) if one == "Executing"]
    assert len(executing) == 3
    assert bench.reason(job_id) == "Completed successfully"
    assert bench.log(job_id)[0] == "process_output.log\n"
    assert bench.state.jobs[job_id].paid_runs == 3


async def test_a_job_is_not_restarted_for_ever(bench):
    job_id = await bench.ran("sleep inf", scenario="preempted:9")
    assert bench.statuses(job_id)[-2:] == ["Stopping", "Completed"]
    assert bench.reason(job_id) == "Exceeded max number of restarts"
    assert bench.state.jobs[job_id].paid_runs == 4
    assert bench.state.run(job_id, "1").completed is not None


async def test_a_stuck_job_never_completes_but_its_cluster_ends(bench):
    job_id = await bench.ran("echo never", scenario="stuck")
    assert bench.statuses(job_id) == ["Pending", "Queued", "Started"]
    assert bench.statuses(job_id, CLUSTER) == ["Not Started", "Error", "Stopped"]


async def test_waits_are_statuses_of_their_own(bench):
    queue = await bench.ran("true", scenario="waiting-for-queue:1")
    cluster = await bench.ran("true", scenario="waiting-for-cluster:1")
    assert bench.statuses(queue)[:3] == ["Pending", "Waiting for Queue", "Queued"]
    assert bench.statuses(cluster)[3:6] == ["Validated", "Waiting for Cluster", "Executing"]


async def test_a_cluster_that_breaks(bench):
    job_id = await bench.ran("sleep inf", scenario="cluster-error")
    assert bench.statuses(job_id)[-3:] == ["Executing", "Stopping", "Completed"]
    assert bench.reason(job_id) == "The cluster stopped working"
    assert "Error" in bench.statuses(job_id, CLUSTER)


def test_scenarios_are_read_by_name():
    assert Scenario.parse("preempted:2") == Scenario("preempted", 2.0)
    assert Scenario.parse("") == Scenario()
    assert set(SCENARIOS) >= {"", "stuck", "allocation-failure"}
    with pytest.raises(ValueError, match="no scenario 'stack'; there are"):
        Scenario.parse("stack")
    with pytest.raises(ValueError, match="not a number"):
        Scenario.parse("preempted:often")
