# SPDX-License-Identifier: Apache-2.0
"""Is this host fit for jobs? What a worker's host needs, found out without the database."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from scale_airflow.config import CONNECTION_ID, Settings, settings
from scale_airflow.errors import InstallationError, ScaleApiError
from scale_airflow.execution import host
from scale_airflow.services.checks import check_directories
from scale_airflow.services.findings import Finding
from scale_airflow.services.storage_checks import check_places

#: Docker 20.10: what the containers of jobs are asked for is known from then on.
OLDEST_ENGINE_API = (1, 41)
_LITTLE_DISK_MIB = 1024
_SKEW = timedelta(seconds=5)
_MIB = 1 << 20


def check_host(current: Settings | None = None) -> list[Finding]:
    """Run every check of this host that needs no database (``airflow scale check --worker``)."""
    if current is None:
        try:
            current = settings()
        except InstallationError as error:
            return [Finding("error", "configuration", error.problem, error.remedy)]
    found = [*check_directories(current)]
    is_usable = not any(each.level == "error" and each.subject == "work_dir" for each in found)
    if is_usable:
        found += check_work_dir(current)
        found += check_agent(current)
    found += check_engine(current, may_probe=is_usable)
    found += check_server(current)
    return found


def check_work_dir(current: Settings) -> list[Finding]:
    """The scratch folder takes files, and has some room."""
    folder = current.work_dir
    if not folder.is_absolute():
        problem = f"[scale] work_dir is {folder}, which is not an absolute path."
        return [Finding("error", "work_dir", problem, "Write the whole path.")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".check.") as made:
            Path(made, "file").write_bytes(b"scale")
        free = shutil.disk_usage(folder).free // _MIB
    except OSError as error:
        problem = f"{folder} can't be written: {error.strerror or error}."
        return [Finding("error", "work_dir", problem, "Make it writable, or make room on its disk.")]
    if free < _LITTLE_DISK_MIB:
        problem = f"{folder} has {free} MiB left: what a job may use of it is all that a node can give."
        return [
            Finding("warning", "work_dir", problem, "Make room, or set [scale] work_dir to a larger disk.")
        ]
    return [Finding("ok", "work_dir", f"{folder} takes files and has {free} MiB left.")]


def check_agent(current: Settings) -> list[Finding]:
    """A node agent runs with this scratch folder."""
    try:
        with host.only_agent(current.work_dir):
            pass
    except InstallationError:
        return [Finding("ok", "node agent", "It runs.")]
    except OSError as error:
        problem = f"Whether it runs can't be told: {error.strerror or error}."
        return [Finding("warning", "node agent", problem, f"Look at {current.work_dir}.")]
    problem = f"None runs on this host with the scratch folder {current.work_dir}: no job starts here."
    remedy = "Start `airflow scale node` as a service, with the same [scale] work_dir as the worker's."
    return [Finding("warning", "node agent", problem, remedy)]


def check_engine(current: Settings, *, may_probe: bool = True) -> list[Finding]:
    """The engine answers, is new enough, can limit containers, and sees the scratch folder where we do.

    :param may_probe: whether a container may be created (it is never started) to see the last.
    """
    from docker.errors import DockerException

    from scale_airflow.execution.backends.docker import connect

    if current.backend == "process":
        if current.allow_process_jobs:
            return [Finding("ok", "engine", "None is needed: jobs run as processes of the worker.")]
        problem = "[scale] backend is process, but allow_process_jobs is off: no job can run."
        return [Finding("error", "engine", problem, "Set [scale] allow_process_jobs = True.")]
    try:
        client = connect(current.docker_url)
    except (DockerException, OSError, ValueError) as error:
        problem = f"No Docker engine answers on this host: {_first_line(error)}"
        remedy = "Start one, or set [scale] docker_url or DOCKER_HOST to it, for a user who may talk to it."
        return [Finding("error", "engine", problem, remedy)]
    try:
        found = [*_engine_version(client), *_engine_limits(client)]
        if may_probe:
            found += _engine_paths(client, current.work_dir)
        return found
    except (DockerException, OSError) as error:
        problem = f"The Docker engine does not do what it is asked for: {_first_line(error)}"
        return [Finding("error", "engine", problem, "Look at the engine's own log.")]
    finally:
        client.close()


def _engine_version(client: Any) -> list[Finding]:
    answer = client.version()
    version, api = str(answer.get("Version", "unknown")), str(answer.get("ApiVersion", "0"))
    known = tuple(int(part) for part in api.split(".") if part.isdigit())
    if known < OLDEST_ENGINE_API:
        problem = f"Docker engine {version} (API {api}) is too old."
        return [Finding("error", "engine", problem, "Use Docker 20.10 or later.")]
    return [Finding("ok", "engine", f"Docker engine {version} (API {api}) answers.")]


def _engine_limits(client: Any) -> list[Finding]:
    """Without these the kernel lets a job take more than it was given."""
    info = client.info()
    needs = {"MemoryLimit": "memory", "SwapLimit": "swap", "CpuCfsQuota": "CPUs"}
    missing = [what for key, what in needs.items() if info.get(key) is False]
    if not missing:
        return []
    problem = f"This host's kernel lets the engine limit no {' and no '.join(missing)} of containers."
    remedy = "Boot with cgroup_enable=memory swapaccount=1, or with control groups of version 2."
    return [Finding("warning", "engine", problem, remedy)]


def _engine_paths(client: Any, work_dir: Path) -> list[Finding]:
    """A container that is made, not started, mounts a new folder in ours: does the engine see it?"""
    from docker.errors import APIError
    from docker.types import Mount

    images = [image["Id"] for image in client.images()]
    if not images:
        return [Finding("ok", "engine", "It has no image yet, so its view of work_dir was not tested.")]
    with _probe(work_dir) as folder:
        mount = Mount("/scale-probe", str(folder), type="bind", read_only=True)
        try:
            made = client.create_container(
                images[0], ["true"], host_config=client.create_host_config(mounts=[mount])
            )
        except APIError as error:
            if "does not exist" not in str(error.explanation):
                raise
            problem = f"The Docker engine does not see {work_dir}, or sees another folder there."
            remedy = "[scale] work_dir must be one folder under one path for the worker and the engine."
            return [Finding("error", "work_dir", problem, remedy)]
        client.remove_container(made["Id"], force=True)
    return [Finding("ok", "work_dir", "The Docker engine sees it under the same path.")]


@contextmanager
def _probe(work_dir: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=work_dir, prefix=".check."))
    try:
        yield folder
    finally:
        with suppress(OSError):
            os.rmdir(folder)


def check_server(current: Settings) -> list[Finding]:
    """The API server answers and takes the secret; its time and its directories are this host's too."""
    subject = f"connection {current.connection_id}"
    variable = f"AIRFLOW_CONN_{CONNECTION_ID.upper()}"
    try:
        client = _client(current.connection_id)
    except Exception as error:  # a secrets backend may raise anything
        problem = f"It can't be read on this host: {_first_line(error)}"
        remedy = f"Set {variable} (the API server's address, the workers' secret), or use a secrets backend."
        return [Finding("error", subject, problem, remedy)]
    try:
        before = datetime.now(timezone.utc)
        there = client.clock()
        after = datetime.now(timezone.utc)
        places = client.places()
    except ScaleApiError as error:
        remedy = "Correct the host of the connection: the API server's address as this host reaches it."
        if error.status in (401, 403):
            remedy = "Give the connection the secret that `airflow scale rotate-secret` made last."
        return [Finding("error", subject, str(error), remedy)]
    finally:
        client.close()
    found = [Finding("ok", subject, "The API server answers and takes the secret.")]
    if there is not None:
        found.append(_skew(there, before, after))
    return [*found, *check_places(places, current)]


def _skew(there: datetime, before: datetime, after: datetime) -> Finding:
    """The server tells its time in whole seconds, some time between before and after."""
    ahead = before - (there + timedelta(seconds=1))
    behind = there - after
    skew = max(ahead, behind, timedelta(0))
    seconds = f"{skew.total_seconds():.0f} s"
    if skew < _SKEW:
        return Finding("ok", "clock", f"This host and the API server differ by less than {_SKEW.seconds} s.")
    problem = f"This host's clock is {seconds} {'ahead of' if ahead > behind else 'behind'} the API server's."
    return Finding("error", "clock", problem, "Keep both in time, with NTP for instance.")


def _client(connection_id: str) -> Any:
    from scale_airflow.hooks.scale import ScaleHook

    return ScaleHook(connection_id).client


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
