# SPDX-License-Identifier: Apache-2.0
"""The configuration of a job type: how its jobs are executed (an extension of Scale's specification)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scale_airflow.definitions.documents import structure
from scale_airflow.definitions.faults import Faults, quote, quote_all
from scale_airflow.definitions.remote_settings import RemoteSettings, check_remote

KIND = "job-type-configuration"

DOCKER_PARAMETERS: Mapping[str, tuple[str, str]] = {
    "add-host": (r"[^:\s]+:\S+", "a host and its address, as host:address"),
    "dns": (r"[0-9a-fA-F.:]+", "the address of a name server"),
    "dns-search": (r"[^\s]+", "a domain to search"),
    "hostname": (r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", "a host name"),
    "label": (r"[^=\s]+(=.*)?", "a label, as key=value"),
    "ulimit": (r"[a-z]+=-?\d+(:-?\d+)?", "a limit, as name=soft or name=soft:hard"),
    "user": (r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_.-]+)?", "a user, as name, uid or uid:gid"),
    "workdir": (r"/.*", "an absolute path in the container"),
}
"""The parameters of ``docker run`` that a job type may give: none of them opens the host to the container.
For each a pattern of its value, and the words for it."""


@dataclass(frozen=True, slots=True)
class JobTypeConfiguration:
    """Environment, memory, GPUs and Docker parameters of a job type's executions, or where else they run.

    ``shared_mem_required`` is in MiB; ``docker_params`` are pairs of parameter and value.
    """

    env_vars: Mapping[str, str] = field(repr=False)
    shared_mem_required: float
    gpus_required: int
    docker_params: tuple[tuple[str, str], ...]
    remote: RemoteSettings | None
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, document: object) -> JobTypeConfiguration:
        """Read the configuration of a job type; None is the empty configuration.

        :raises InvalidDocument: every fault found.
        """
        if document is None:
            document = {}
        faults = structure(KIND, document)
        _check_docker_parameters(document, faults)
        check_remote(document, faults)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        remote = document.get("remote")
        return cls(
            env_vars=dict(document.get("env_vars", {})),
            shared_mem_required=document.get("shared_mem_required", 0),
            gpus_required=document.get("gpus_required", 0),
            docker_params=tuple((name, value) for name, value in document.get("docker_params", ())),
            remote=None if remote is None else RemoteSettings.of(remote),
            document=document,
        )


def _check_docker_parameters(document: object, faults: Faults) -> None:
    pairs = document.get("docker_params") if isinstance(document, dict) else None
    for index, pair in enumerate(pairs if isinstance(pairs, list) else ()):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)):
            continue
        place, (name, value) = f"/docker_params/{index}", pair
        if name not in DOCKER_PARAMETERS:
            allowed = quote_all(DOCKER_PARAMETERS)
            message = f"The Docker parameter {quote(name)} can't be given; allowed are {allowed}."
            rule = "job-type-configuration.docker-parameter"
            faults.add(f"{place}/0", rule, message, near=(name, DOCKER_PARAMETERS))
            continue
        pattern, wanted = DOCKER_PARAMETERS[name]
        if not re.fullmatch(pattern, value, re.ASCII):
            message = f"{quote(value)} is no value for {quote(name)}: it must be {wanted}."
            faults.add(f"{place}/1", "job-type-configuration.docker-value", message)
