# SPDX-License-Identifier: Apache-2.0
"""From an order to what the Docker engine is asked for: limits, mounts, labels, parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration
from scale_airflow.execution.backends.base import JobRun
from scale_airflow.execution.order import ExecutionOrder

EXECUTION_LABEL = "scale.execution"
AGENT_LABEL = "scale.agent"
_MIB = 1 << 20


def labels(order: ExecutionOrder, agent_id: str, work_dir: Path) -> dict[str, str]:
    """Return the labels by which containers are found again, by us and by people."""
    return {
        EXECUTION_LABEL: str(order.execution_id),
        "scale.job": str(order.job_id),
        "scale.node": "" if order.node_id is None else str(order.node_id),
        "scale.job-type": f"{order.job_type_name} {order.job_type_version}",
        AGENT_LABEL: agent_id,
        "scale.work-dir": str(work_dir),
    }


def mounts(run: JobRun) -> list[Mount]:
    """Return the binds: inputs read-only, each file at Scale's path, and outputs; all at the host's paths."""
    inputs, outputs = str(run.scratch.inputs), str(run.scratch.outputs)
    return [
        Mount(inputs, inputs, type="bind", read_only=True),
        *(
            Mount(str(file.target), str(file.source), type="bind", read_only=True)
            for file in run.staged.files
        ),
        Mount(outputs, outputs, type="bind"),
    ]


def place_mount_points(run: JobRun) -> None:
    """Make an empty file where each input file will be mounted."""
    for file in run.staged.files:
        file.target.parent.mkdir(parents=True, exist_ok=True)
        file.target.touch(mode=0o444)


def host_options(run: JobRun, *, network_mode: str, engine_cpus: int) -> dict[str, Any]:
    """Return the arguments of ``create_host_config``.

    CPUs are a quota, not a weight, and memory has no swap beside it. An engine refuses a quota above the
    CPUs that it has, so it is no larger than these.
    """
    order = run.order
    configuration = JobTypeConfiguration.parse(order.configuration)
    memory = int(order.mem_mib * _MIB)
    options: dict[str, Any] = {
        "auto_remove": False,
        "mounts": mounts(run),
        "network_mode": network_mode,
        "nano_cpus": int(min(order.cpus, engine_cpus) * 1e9),
        "mem_limit": memory,
        "memswap_limit": memory,
        "privileged": order.privileged,
        "log_config": LogConfig(
            type=LogConfig.types.JSON,
            config={"max-size": f"{2 * order.max_log_bytes // _MIB + 1}m", "max-file": "2"},
        ),
    }
    if configuration.shared_mem_required:
        options["shm_size"] = int(configuration.shared_mem_required * _MIB)
    if configuration.gpus_required:
        options["device_requests"] = [
            DeviceRequest(count=configuration.gpus_required, capabilities=[["gpu"]])
        ]
    given: dict[str, list[str]] = {}
    for name, value in configuration.docker_params:
        given.setdefault(name, []).append(value)
    if "add-host" in given:
        options["extra_hosts"] = dict(each.split(":", 1) for each in given["add-host"])
    if "dns" in given:
        options["dns"] = given["dns"]
    if "dns-search" in given:
        options["dns_search"] = given["dns-search"]
    limits = {limit.name: limit for limit in map(_ulimit, ["core=0:0", *given.get("ulimit", ())])}
    options["ulimits"] = list(limits.values())
    return options


def container_options(run: JobRun, *, agent_id: str) -> dict[str, Any]:
    """Return the arguments of ``create_container`` beside image, command and host configuration."""
    order = run.order
    configuration = JobTypeConfiguration.parse(order.configuration)
    given = dict(configuration.docker_params)
    own = {
        value.partition("=")[0]: value.partition("=")[2]
        for name, value in configuration.docker_params
        if name == "label"
    }
    options: dict[str, Any] = {
        "environment": dict(configuration.env_vars),
        # Ours win: by them containers are adopted and reaped.
        "labels": {**own, **labels(order, agent_id, run.scratch.work_dir)},
    }
    for name, key in (("user", "user"), ("workdir", "working_dir"), ("hostname", "hostname")):
        if name in given:
            options[key] = given[name]
    return options


def _ulimit(text: str) -> Ulimit:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    return Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
