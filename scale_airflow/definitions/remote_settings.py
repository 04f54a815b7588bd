# SPDX-License-Identifier: Apache-2.0
"""The ``remote`` block of a job type's configuration: its jobs run on Rescale (an extension of ours)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scale_airflow.definitions.faults import Faults

CHEAPEST = "cheapest"
"""In place of a core type: the one that costs least among those that fit."""
OWN_SOFTWARE = "user_included"
"""Rescale's code for "bring your own software": a plain machine."""
_LOCAL_ONLY = ("shared_mem_required", "gpus_required", "docker_params")
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class RemoteHardware:
    """The machines of a job, in Rescale's words.

    :param core_type: a code, or :data:`CHEAPEST`.
    :param category: of the cheapest only; None for any.
    :param cores_per_slot: None for as many as the job's CPUs.
    :param walltime: in hours; None for the job's timeout.
    """

    core_type: str = CHEAPEST
    category: str | None = None
    cores_per_slot: int | None = None
    slots: int = 1
    walltime: int | None = None


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Where and on what jobs run instead of Docker.

    :param project: the id of the Rescale project that is charged.
    :param max_cost: the most that one job may cost at Rescale's prices, None for no limit.
    """

    type: str
    connection: str = "rescale_default"
    analysis_code: str = OWN_SOFTWARE
    analysis_version: str | None = None
    hardware: RemoteHardware = RemoteHardware()
    project: str | None = None
    low_priority: bool = False
    max_cost: float | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> RemoteSettings:
        """Return the settings of a ``remote`` object that has the right structure."""
        analysis, hardware = document.get("analysis", {}), document.get("hardware", {})
        return cls(
            type=document["type"],
            connection=document.get("connection", "rescale_default"),
            analysis_code=analysis.get("code", OWN_SOFTWARE),
            analysis_version=analysis.get("version"),
            hardware=RemoteHardware(
                core_type=hardware.get("coreType", CHEAPEST),
                category=hardware.get("category"),
                cores_per_slot=hardware.get("coresPerSlot"),
                slots=hardware.get("slots", 1),
                walltime=hardware.get("walltime"),
            ),
            project=document.get("project"),
            low_priority=document.get("low_priority", False),
            max_cost=document.get("max_cost"),
        )

    def walltime_hours(self, timeout: int) -> int | None:
        """Return after how many hours Rescale ends a job by itself; None for never.

        :param timeout: of the job, in seconds; 0 for none.
        """
        if self.hardware.walltime is not None:
            return self.hardware.walltime
        return math.ceil(timeout / _HOUR) if timeout > 0 else None


def check_remote(document: object, faults: Faults) -> None:
    """Add the faults of a configuration's ``remote`` object that no schema can tell."""
    remote = document.get("remote") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(remote, dict):
        return
    for name in _LOCAL_ONLY:
        if document.get(name):
            faults.add(
                f"/{name}",
                "job-type-configuration.remote-local",
                f"{name} is for containers on this installation's nodes, and these jobs run on Rescale: "
                "leave it out, and choose the machine by remote.hardware.",
            )
    hardware = remote.get("hardware")
    if (
        isinstance(hardware, dict)
        and "category" in hardware
        and hardware.get("coreType", CHEAPEST) != CHEAPEST
    ):
        faults.add(
            "/remote/hardware/category",
            "job-type-configuration.remote-category",
            f"A category chooses among core types, and the core type is given. Leave one of them "
            f"out, or give the core type {CHEAPEST!r}.",
        )
