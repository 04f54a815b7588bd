# SPDX-License-Identifier: Apache-2.0
"""Waiting for what is not the end of a job: its cluster up or gone, a storage device usable or shut down.

Conversations for both clients (:data:`~scale_airflow.rescale.calls.Flow`); a server that is away for a while
is waited for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from scale_airflow.errors import (
    RescaleBadAnswer,
    RescaleError,
    RescaleJobFailed,
    RescaleServerError,
    RescaleThrottled,
    RescaleUnreachable,
)
from scale_airflow.rescale.calls import Flow, Pause
from scale_airflow.rescale.clusters import head_node
from scale_airflow.rescale.endpoints import (
    list_cluster_statuses,
    list_instances,
    list_statuses,
    list_storage_device_statuses,
)
from scale_airflow.rescale.models import StorageDeviceStatus
from scale_airflow.rescale.verdict import (
    Failed,
    StatusEntry,
    Succeeded,
    Waiting,
    Watch,
    newest_first,
)

_AWAY = (RescaleUnreachable, RescaleServerError, RescaleThrottled, RescaleBadAnswer)
_DEVICE_UP = ("Started",)
_DEVICE_DOWN = ("Stopped", "Shutdown", "Shut Down", "Terminated", "Deleted", "Completed")
_DEVICE_BROKEN = ("Error", "Failed")
_CLUSTER_OVER = ("Stopped", "Error")
# Also the first status of a cluster that is about to start.
_CLUSTER_NEVER = "Not Started"


_Look = Callable[[str], Flow[tuple[bool, str]]]
"""Looks once at a job or device: whether the wait is over, and the status."""


class Goal(str, Enum):
    """What is waited for."""

    CLUSTER_READY = "cluster_ready"
    """The job executes, and its head node has an address."""
    CLUSTER_GONE = "cluster_gone"
    """The job's cluster has stopped: nothing costs money any more, and the job may be deleted."""
    DEVICE_STARTED = "device_started"
    """The storage device is usable."""
    DEVICE_GONE = "device_gone"
    """The storage device is shut down."""


@dataclass(frozen=True)
class Rhythm:
    """How often to look, and for how long.

    :param interval: seconds between two looks, more or less.
    :param deadline: the time (``time.time()``) after which waiting is given up; None for never.
    :param away: seconds for which a server that does not answer is waited for.
    """

    interval: float = 20.0
    deadline: float | None = None
    away: float = 1800.0


def wait_for(
    goal: Goal, subject_id: str, rhythm: Rhythm, on_news: Callable[[str], None] = lambda news: None
) -> Flow[str]:
    """Wait, and return the status in which the wait ended.

    :param subject_id: the job's or the storage device's id.
    :param on_news: is told each new status.
    :raises RescaleJobFailed: if the job ends before its cluster is ready.
    :raises RescaleError: if a storage device breaks, or can't be had.
    :raises RescaleUnreachable: if the server is away for too long.
    :raises TimeoutError: at the deadline.
    """
    look = _LOOKS[goal]()
    away_since: float | None = None
    known = ""
    while True:
        try:
            done, status = yield from look(subject_id)
            away_since = None
        except _AWAY as error:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > rhythm.away:
                raise
            done, status = False, f"Rescale is away: {error}"
        if done:
            return status
        if status != known:
            known = status
            on_news(status)
        pause = rhythm.interval * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, no secret
        if rhythm.deadline is not None:
            left = rhythm.deadline - time.time()
            if left <= 0:
                raise TimeoutError(f"{subject_id} is still {known or 'on its way'}.")
            pause = min(pause, left)
        yield Pause(pause)


def _ready_look() -> _Look:
    watch = Watch()

    def look(job_id: str) -> Flow[tuple[bool, str]]:
        clusters = yield list_cluster_statuses(job_id)
        statuses = yield list_statuses(job_id)
        verdict = watch.look(statuses, clusters, time.monotonic())
        if isinstance(verdict, Failed | Succeeded) or (isinstance(verdict, Waiting) and verdict.stopping):
            reason = verdict.reason if isinstance(verdict, Failed) else "it ended"
            raise RescaleJobFailed(
                f"The cluster of job {job_id} did not come up: {reason}", job_id=job_id, reason=reason
            )
        if not isinstance(verdict, Waiting):
            return False, "saved, but not submitted"
        if not verdict.executing:
            return False, verdict.status
        nodes = yield list_instances(job_id)
        node = head_node(nodes)
        if node is None:
            return False, "Executing, without an address yet"
        return True, verdict.status

    return look


def _gone_look() -> _Look:
    def look(job_id: str) -> Flow[tuple[bool, str]]:
        clusters = yield list_cluster_statuses(job_id)
        statuses = yield list_statuses(job_id)
        return is_gone(statuses, clusters)

    return look


def is_gone(statuses: Sequence[StatusEntry], clusters: Sequence[StatusEntry]) -> tuple[bool, str]:
    """Tell whether nothing of a job costs money any more, and the status that says so or not.

    :param clusters: read before the statuses.
    """
    if not statuses and not clusters:
        return True, "never submitted"
    cluster = newest_first(clusters)[0].status if clusters else ""
    if cluster in _CLUSTER_OVER:
        return True, cluster
    job = newest_first(statuses)[0].status if statuses else ""
    if cluster in ("", _CLUSTER_NEVER) and job == "Completed":
        # It was stopped before there was a cluster.
        return True, "Completed, without a cluster"
    return False, cluster or job


def _device_look(wanted: tuple[str, ...], refused: tuple[str, ...]) -> Callable[[], _Look]:
    def make() -> _Look:
        def look(device_id: str) -> Flow[tuple[bool, str]]:
            found: list[StorageDeviceStatus] = yield list_storage_device_statuses(device_id)
            if not found:
                return wanted is _DEVICE_DOWN, "never submitted"
            newest = newest_first(found)[0]
            if newest.status in refused:
                because = f": {newest.reason}" if newest.reason else ""
                raise RescaleError(f"Storage device {device_id} is {newest.status}{because}.")
            return newest.status in wanted, newest.status

        return look

    return make


_LOOKS: dict[Goal, Callable[[], _Look]] = {
    Goal.CLUSTER_READY: _ready_look,
    Goal.CLUSTER_GONE: _gone_look,
    Goal.DEVICE_STARTED: _device_look(_DEVICE_UP, (*_DEVICE_DOWN, *_DEVICE_BROKEN)),
    Goal.DEVICE_GONE: _device_look(_DEVICE_DOWN, ()),
}
