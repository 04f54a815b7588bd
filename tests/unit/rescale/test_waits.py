# SPDX-License-Identifier: Apache-2.0
"""Waiting for clusters and storage devices: when it ends, and what a server that is away does to it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from scale_airflow.errors import RescaleError, RescaleJobFailed, RescaleUnreachable
from scale_airflow.rescale.calls import Pause
from scale_airflow.rescale.models import ClusterStatus, Instance, JobStatus, StorageDeviceStatus
from scale_airflow.rescale.waits import Goal, Rhythm, wait_for

HEAD = Instance("10.0.0.1", 22, "user", "MPI_MASTER")
QUICK = Rhythm(interval=0.0)


def drive(
    goal: Goal,
    looks: Sequence[Mapping[str, Any]],
    rhythm: Rhythm = QUICK,
    news: list[str] | None = None,
) -> str:
    """Answer each look's calls by their paths, the last look's again and again; return the wait's result."""
    flow = wait_for(goal, "id", rhythm, (news if news is not None else []).append)
    number = 0
    given: Any = None
    error: Exception | None = None
    while True:
        try:
            step = flow.send(given) if error is None else flow.throw(error)
        except StopIteration as end:
            return str(end.value)
        given, error = None, None
        if isinstance(step, Pause):
            number += 1
            continue
        look = looks[min(number, len(looks) - 1)]
        answer = look.get(step.path.rstrip("/").rpartition("/")[2], [])
        if isinstance(answer, Exception):
            error = answer
        else:
            given = answer


def job(*statuses: str, reason: str | None = None) -> list[JobStatus]:
    """A history, newest first."""
    return [JobStatus(status, None, reason) for status in reversed(statuses)]


def test_a_cluster_is_ready_when_its_head_node_has_an_address() -> None:
    news: list[str] = []
    looks = [
        {},
        {"statuses": job("Pending")},
        {"statuses": job("Pending", "Executing")},
        {"statuses": job("Pending", "Executing"), "instances": [HEAD]},
    ]
    assert drive(Goal.CLUSTER_READY, looks, news=news) == "Executing"
    assert news == ["saved, but not submitted", "Pending", "Executing, without an address yet"]


def test_a_cluster_that_does_not_come_up_is_told_with_the_reason() -> None:
    statuses = job("Completed", reason="Could not allocate compute resources from the compute provider")
    with pytest.raises(RescaleJobFailed, match="Could not allocate"):
        drive(Goal.CLUSTER_READY, [{"statuses": statuses}])
    with pytest.raises(RescaleJobFailed, match="did not come up: it ended"):
        drive(Goal.CLUSTER_READY, [{"statuses": job("Executing", "Stopping")}])


def test_a_cluster_is_gone_when_it_says_so_or_never_was() -> None:
    stopping = {"statuses": job("Completed"), "cluster_statuses": [ClusterStatus("Stopping")]}
    stopped = {"statuses": job("Completed"), "cluster_statuses": [ClusterStatus("Stopped")]}
    assert drive(Goal.CLUSTER_GONE, [stopping, stopped]) == "Stopped"
    assert drive(Goal.CLUSTER_GONE, [{}]) == "never submitted"
    about_to_start = {"statuses": job("Validated"), "cluster_statuses": [ClusterStatus("Not Started")]}
    assert drive(Goal.CLUSTER_GONE, [about_to_start, stopped]) == "Stopped"
    never = {"statuses": job("Completed"), "cluster_statuses": [ClusterStatus("Not Started")]}
    assert drive(Goal.CLUSTER_GONE, [never]) == "Completed, without a cluster"
    early = {"statuses": job("Pending", "Stopping", "Completed")}
    assert drive(Goal.CLUSTER_GONE, [{"statuses": job("Pending")}, early]) == "Completed, without a cluster"


def test_a_device_comes_and_goes_or_breaks() -> None:
    def device(status: str, reason: str | None = None) -> dict[str, Any]:
        return {"statuses": [StorageDeviceStatus(status, None, reason)]}

    assert drive(Goal.DEVICE_STARTED, [{}, device("Starting"), device("Started")]) == "Started"
    with pytest.raises(RescaleError, match="is Error: no room"):
        drive(Goal.DEVICE_STARTED, [device("Error", "no room")])
    with pytest.raises(RescaleError, match="is Stopped"):
        drive(Goal.DEVICE_STARTED, [device("Stopped")])
    assert drive(Goal.DEVICE_GONE, [device("Started"), device("Stopped")]) == "Stopped"
    assert drive(Goal.DEVICE_GONE, [{}]) == "never submitted"


def test_a_server_that_is_away_is_waited_for_a_while() -> None:
    away = {"cluster_statuses": RescaleUnreachable("no answer")}
    gone = {"statuses": job("Completed"), "cluster_statuses": [ClusterStatus("Stopped")]}
    news: list[str] = []
    assert drive(Goal.CLUSTER_GONE, [away, away, gone], news=news) == "Stopped"
    assert news == ["Rescale is away: no answer"]
    with pytest.raises(RescaleUnreachable):
        drive(Goal.CLUSTER_GONE, [away], Rhythm(interval=0.0, away=0.0))


def test_a_wait_has_an_end() -> None:
    with pytest.raises(TimeoutError, match="is still Pending"):
        drive(Goal.CLUSTER_GONE, [{"statuses": job("Pending")}], Rhythm(0.0, deadline=time.time()))
