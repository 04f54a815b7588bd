# SPDX-License-Identifier: Apache-2.0
"""Quasi-persistent clusters: a job whose command only waits, while tasks run theirs on its machines over SSH.

Such a job costs money until somebody stops it, so it bounds itself twice, whatever becomes of whoever
started it: Rescale ends it after its walltime, and its own command ends when nobody used it for a while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scale_airflow.errors import Fault, InvalidRequest
from scale_airflow.rescale.models import Instance
from scale_airflow.rescale.shell import USED_FILE

HEAD_ROLE = "MPI_MASTER"
NAME_MARK = "(cluster kept by Airflow)"
"""Stands in the name of each such job, so that one can be found that nobody knows of any more."""

DEFAULT_IDLE_MINUTES = 30.0

# Ends by SIGTERM at once, with its sleep, as Rescale stops jobs.
_WAIT = """\
used="{used}"
touch "$used"
while [ $(($(date +%s) - $(stat -c %Y "$used"))) -lt {seconds} ]; do sleep {step}; done
echo "Nobody used this cluster for {seconds} seconds, so it ends."
"""


@dataclass(frozen=True)
class ClusterPlan:
    """What a cluster consists of, and how long it may run at most.

    :param cores: cores per slot; ``slots`` is the number of such groups.
    :param walltime: hours after which Rescale ends it.
    :param idle_minutes: without use, after which it ends itself; None leaves that to the walltime.
    :param analysis: code and version code of the software on it.
    """

    name: str
    core_type: str
    cores: int
    walltime: int
    idle_minutes: float | None = DEFAULT_IDLE_MINUTES
    slots: int = 1
    economy: bool = False
    analysis: tuple[str, str | None] = ("user_included", "0")
    project_id: str | None = None
    input_ids: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the job (Rescale API: create a job).

        :raises InvalidRequest: with everything that is wrong.
        """
        self._check()
        code, version = self.analysis
        job_analysis: dict[str, Any] = {
            "analysis": {"code": code} | ({"version": version} if version is not None else {}),
            "command": self._command(),
            "hardware": {
                "coreType": self.core_type,
                "coresPerSlot": self.cores,
                "slots": self.slots,
                "walltime": self.walltime,
            },
            "inputFiles": [{"id": each} for each in self.input_ids],
            "envVars": dict(self.variables),
        }
        body = {
            "name": f"{self.name} {NAME_MARK}",
            "jobanalyses": [job_analysis],
            "isLowPriority": self.economy,
        }
        return body | ({"projectId": self.project_id} if self.project_id else {})

    def _check(self) -> None:
        faults = []
        for name in ("cores", "slots", "walltime"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                faults.append(Fault(name, f"A whole number above zero is wanted, not {value!r}."))
        if self.idle_minutes is not None and not self.idle_minutes > 0:
            faults.append(
                Fault("idle_minutes", f"A number above zero or None is wanted, not {self.idle_minutes}.")
            )
        if not self.core_type:
            faults.append(
                Fault("core_type", "A core type is wanted; `airflow rescale coretypes` lists them.")
            )
        if faults:
            raise InvalidRequest("The cluster can't be started as it is described:", faults)

    def _command(self) -> str:
        if self.idle_minutes is None:
            return f"sleep {self.walltime * 3600}"
        seconds = max(1, round(self.idle_minutes * 60))
        return _WAIT.format(used=USED_FILE, seconds=seconds, step=min(15, seconds))


def is_cluster(name: str | None) -> bool:
    """Tell by a job's name whether it is a cluster that was started here."""
    return NAME_MARK in (name or "")


def head_node(instances: Sequence[Instance]) -> Instance | None:
    """Return the machine on which commands are run; None while there is none that can be reached."""
    return next((each for each in instances if each.role == HEAD_ROLE and each.public_ip), None)
