# SPDX-License-Identifier: Apache-2.0
"""Quasi-persistent clusters: a job whose command only waits, while tasks run theirs on its machines over SSH.

Such a job costs money until somebody stops it, so it bounds itself twice, whatever becomes of whoever
started it: Rescale ends it after its walltime, and its own command ends when nobody used it for a while.
"""

from __future__ import annotations

from collections.abc import Sequence

from scale_airflow.rescale.models import Instance
from scale_airflow.rescale.shell import USED_FILE

HEAD_ROLE = "MPI_MASTER"
NAME_MARK = "(cluster kept by Airflow)"
"""Stands in the name of each such job, so that one can be found that nobody knows of any more."""

DEFAULT_IDLE_MINUTES = 30.0
DEFAULT_ANALYSIS = "user_included:0"
_LONGEST_NAME = 100

# Ends by SIGTERM at once, with its sleep, as Rescale stops jobs.
_WAIT = """\
used="{used}"
touch "$used"
while [ $(($(date +%s) - $(stat -c %Y "$used"))) -lt {seconds} ]; do sleep {step}; done
echo "Nobody used this cluster for {seconds} seconds, so it ends."
"""


def waiting_command(walltime: float, idle_minutes: float | None = DEFAULT_IDLE_MINUTES) -> str:
    """Return the command of a cluster's job, which ends when nobody has used the cluster for a while.

    :param walltime: hours after which Rescale ends the job.
    :param idle_minutes: minutes without use; None leaves the end to the walltime.
    :raises ValueError: if one of them is not above zero.
    """
    if not walltime > 0:
        raise ValueError(f"walltime must be a number of hours above zero, not {walltime!r}.")
    if idle_minutes is None:
        return f"sleep {round(walltime * 3600)}"
    if not idle_minutes > 0:
        raise ValueError(f"idle_minutes must be a number above zero or None, not {idle_minutes!r}.")
    seconds = max(1, round(idle_minutes * 60))
    return _WAIT.format(used=USED_FILE, seconds=seconds, step=min(15, seconds))


def cluster_name(name: str) -> str:
    """Return the name of the job that a cluster is."""
    return f"{name[:_LONGEST_NAME]} {NAME_MARK}"


def is_cluster(name: str | None) -> bool:
    """Tell by a job's name whether it is a cluster that was started here."""
    return NAME_MARK in (name or "")


def head_node(instances: Sequence[Instance]) -> Instance | None:
    """Return the machine on which commands are run; None while there is none that can be reached."""
    return next((each for each in instances if each.role == HEAD_ROLE and each.public_ip), None)
