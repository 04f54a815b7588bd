# SPDX-License-Identifier: Apache-2.0
"""How long a job stays in each status: seconds of the service's time, multiplied by the emulator's pace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Delays:
    """Seconds at pace 1: those of the real service are tens to hundreds of times longer.

    :param pending: until Queued; :param queued: until Started; :param started: until Validated.
    :param cluster: from Validated until there is a cluster: its statuses are 404 so long.
    :param requested: until the cluster is Starting; :param starting: until it is Started.
    :param preempted: from a command's start until its cluster is taken away; :param waiting: in Waiting for
        Queue or Waiting for Cluster, where a scenario gives no number.
    :param idle: from Completed until the cluster's stop is requested; :param stop_requested: until it is
        Stopping; :param stopping: until it is Stopped.
    :param device: from a storage device's submission until Started, and from its shutdown until Stopped.
    """

    pending: float = 1.0
    queued: float = 1.0
    started: float = 0.5
    cluster: float = 1.0
    requested: float = 0.5
    starting: float = 4.0
    preempted: float = 2.0
    waiting: float = 60.0
    idle: float = 0.5
    stop_requested: float = 0.5
    stopping: float = 2.0
    device: float = 3.0
