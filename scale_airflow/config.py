# SPDX-License-Identifier: Apache-2.0
"""The ``[scale]`` section of Airflow's configuration as one typed object."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from scale_airflow.errors import InstallationError

CONNECTION_ID = "scale_default"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of ``[scale]``: its default as text, its type for the reference, and what it is for."""

    default: str
    type: str
    description: str
    example: str | None = None
    sensitive: bool = False


OPTIONS: dict[str, Option] = {
    "backend": Option(
        "docker",
        "string",
        "Where jobs run: docker (containers, the default) or process (every job type's command as a plain "
        "process of the worker; needs allow_process_jobs).",
    ),
    "allow_process_jobs": Option(
        "False",
        "boolean",
        "Whether jobs may run as plain processes of the worker. They see what the worker's user sees: switch "
        "it on for trusted algorithms only.",
    ),
    "work_dir": Option(
        "",
        "string",
        "Scratch folder of job executions on each worker, under the same path for the Docker engine. Empty: "
        "scale/work below AIRFLOW_HOME.",
        "/var/lib/scale/work",
    ),
    "dags_dir": Option(
        "",
        "string",
        "Where each host keeps the generated DAG files. Empty: scale/dags below AIRFLOW_HOME.",
    ),
    "allowed_roots": Option(
        "",
        "string",
        "Colon-separated directories below which workspaces and Strike directories must lie, after links are "
        "resolved. Empty: none may be used.",
        "/data:/mnt/scale",
    ),
    "mounts": Option(
        "",  # Airflow formats defaults: braces can't stand here
        "string",
        "JSON map from the mounts of documents (host:/path) to local directories.",
        '{"nas:/export/raw": "/mnt/raw"}',
    ),
    "max_log_bytes": Option(
        "104857600",
        "integer",
        "How many bytes of one execution's stdout, and of its stderr, are kept for the REST API.",
    ),
    "disk_limit_factor": Option(
        "10",
        "float",
        "A job is stopped when it takes more than so many times the disk that it was given, and more than "
        "1 GiB. 0: it is only warned, unless the host's disk runs low.",
    ),
    "docker_url": Option(
        "",
        "string",
        "Address of the Docker engine. Empty: the environment's DOCKER_HOST, else the local socket.",
    ),
    "docker_network_mode": Option("bridge", "string", "Network mode of job containers."),
    "docker_pull": Option(
        "missing",
        "string",
        "When images are pulled: missing (not on the host yet), always (a failed pull is only logged where "
        "the image exists), never.",
    ),
    "dispatch_window": Option(
        "128",
        "integer",
        "How many runs with a task that could run now may exist in Airflow: a few times the parallelism.",
    ),
    "max_active_runs_total": Option(
        "1024", "integer", "Hard cap of Scale's unfinished runs in Airflow, whatever they wait for."
    ),
    "node_lost_timeout": Option(
        "300",
        "float",
        "Seconds without a beat of a node's agent after which its executions count as lost.",
    ),
    "anonymous_role": Option(
        "",
        "string",
        "A read-only role for clients without a login. Empty: everybody must log in.",
    ),
    "tick_interval": Option("1", "float", "Seconds between two looks at the queue when nothing asks sooner."),
    "reconcile_interval": Option(
        "5", "float", "Seconds between two comparisons of executions with Airflow's task instances."
    ),
    "strike_sweep_interval": Option(
        "10", "float", "Seconds between two sweeps of a Strike directory, beside the notifications."
    ),
    "agent_beat_interval": Option("1", "float", "Seconds between two beats of a node's agent."),
    "gpus": Option(
        "",
        "string",
        "How many GPUs of this host jobs may have. Empty: as many as there are devices of NVIDIA's driver.",
        "2",
    ),
    "max_node_errors": Option(
        "50",
        "integer",
        "Failed jobs with system errors on one node, within node_error_period, that pause it.",
    ),
    "node_error_period": Option("1", "float", "Minutes over which max_node_errors counts."),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of ``[scale]``, checked and converted; see :data:`OPTIONS` for what each one means."""

    backend: str
    allow_process_jobs: bool
    work_dir: Path
    dags_dir: Path
    allowed_roots: tuple[Path, ...]
    mounts: dict[str, str] = field(hash=False)
    max_log_bytes: int
    disk_limit_factor: float
    docker_url: str
    docker_network_mode: str
    docker_pull: str
    dispatch_window: int
    max_active_runs_total: int
    node_lost_timeout: float
    anonymous_role: str
    tick_interval: float
    reconcile_interval: float
    strike_sweep_interval: float
    agent_beat_interval: float
    gpus: int | None
    max_node_errors: int
    node_error_period: float
    connection_id: str = CONNECTION_ID


def settings() -> Settings:
    """Read ``[scale]`` from Airflow's configuration.

    :raises InstallationError: if an option has a value that it can't have.
    """
    return _settings(tuple(map(os.environ.get, _VARIABLES)))


_VARIABLES = ("AIRFLOW_HOME", *(f"AIRFLOW__SCALE__{name.upper()}" for name in OPTIONS))


# Almost every request asks, and Airflow looks up each option anew. Its file is read once a process; only the
# environment can change.
@lru_cache(maxsize=8)
def _settings(_environment: tuple[str | None, ...]) -> Settings:
    from airflow.configuration import AIRFLOW_HOME, conf

    def text(name: str) -> str:
        return str(conf.get("scale", name, fallback=OPTIONS[name].default)).strip()

    home = Path(AIRFLOW_HOME)
    return Settings(
        backend=_choice("backend", text("backend"), ("docker", "process")),
        allow_process_jobs=_boolean("allow_process_jobs", text("allow_process_jobs")),
        work_dir=Path(text("work_dir") or home / "scale" / "work"),
        dags_dir=Path(text("dags_dir") or home / "scale" / "dags"),
        allowed_roots=tuple(Path(root) for root in text("allowed_roots").split(os.pathsep) if root),
        mounts=_mounts(text("mounts")),
        max_log_bytes=int(_number("max_log_bytes", text("max_log_bytes"))),
        disk_limit_factor=_number("disk_limit_factor", text("disk_limit_factor"), zero=True),
        docker_url=text("docker_url"),
        docker_network_mode=text("docker_network_mode"),
        docker_pull=_choice("docker_pull", text("docker_pull"), ("missing", "always", "never")),
        dispatch_window=int(_number("dispatch_window", text("dispatch_window"))),
        max_active_runs_total=int(_number("max_active_runs_total", text("max_active_runs_total"))),
        node_lost_timeout=_number("node_lost_timeout", text("node_lost_timeout")),
        anonymous_role=text("anonymous_role"),
        tick_interval=_number("tick_interval", text("tick_interval")),
        reconcile_interval=_number("reconcile_interval", text("reconcile_interval")),
        strike_sweep_interval=_number("strike_sweep_interval", text("strike_sweep_interval")),
        agent_beat_interval=_number("agent_beat_interval", text("agent_beat_interval")),
        gpus=_gpus(text("gpus")),
        max_node_errors=int(_number("max_node_errors", text("max_node_errors"))),
        node_error_period=_number("node_error_period", text("node_error_period")),
    )


def _wrong(name: str, value: str, wanted: str) -> InstallationError:
    return InstallationError(
        f"[scale] {name} is {value!r}.", f"Set it to {wanted} (AIRFLOW__SCALE__{name.upper()})."
    )


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise _wrong(name, value, " or ".join(allowed))
    return value


def _boolean(name: str, value: str) -> bool:
    lowered = value.lower()
    if lowered in ("true", "t", "1", "yes", "on"):
        return True
    if lowered in ("false", "f", "0", "no", "off"):
        return False
    raise _wrong(name, value, "True or False")


def _number(name: str, value: str, *, zero: bool = False) -> float:
    try:
        number = float(value)
    except ValueError:
        raise _wrong(name, value, "a number") from None
    if not 0 <= number < float("inf") or not (number or zero):
        raise _wrong(name, value, "zero or a number above it" if zero else "a number above zero")
    return number


def _gpus(value: str) -> int | None:
    if value and not (value.isascii() and value.isdigit() and len(value) < 5):
        raise _wrong("gpus", value, "a whole number, or leave it empty")
    return int(value) if value else None


def _mounts(value: str) -> dict[str, str]:
    try:
        mounts: Any = json.loads(value or "{}")
    except ValueError:
        mounts = None
    if not isinstance(mounts, dict) or not all(isinstance(path, str) for path in mounts.values()):
        raise _wrong("mounts", value, 'a JSON object such as {"nas:/export/raw": "/mnt/raw"}')
    return mounts
