# SPDX-License-Identifier: Apache-2.0
"""Which host this is: its name, the stable id of its node agent, and what it has for jobs."""

from __future__ import annotations

import fcntl
import math
import os
import re
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scale_airflow import crash_points
from scale_airflow.errors import InstallationError
from scale_airflow.execution.staging import Scratch

_MIB = 1 << 20
_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_DEVICES = Path("/dev")
_ID_FILE = "agent_id"
_LOCK_FILE = ".agent_lock"
_VALID = re.compile(r"[A-Za-z0-9-]{8,64}")


def hostname() -> str:
    """Return the name under which this host is known as a node."""
    return socket.gethostname()


def agent_id(work_dir: Path) -> str | None:
    """Return the id of the node agent whose scratch folder this is; None before its first start."""
    try:
        text = (work_dir / _ID_FILE).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if _VALID.fullmatch(text) else None


def make_agent_id(work_dir: Path, wanted: str | None = None) -> str:
    """Return the agent's id, made at its first start and kept in the scratch folder for ever.

    :param wanted: keep this one from now on.
    :raises OSError: if the folder can't be written to.
    :raises ValueError: if ``wanted`` can't be an id.
    """
    if wanted is not None and not _VALID.fullmatch(wanted):
        raise ValueError(f"{wanted!r} can't be an agent's id: 8 to 64 letters, digits and dashes.")
    work_dir.mkdir(parents=True, exist_ok=True)
    known = agent_id(work_dir)
    if known is not None and wanted in (None, known):
        return known
    with tempfile.NamedTemporaryFile("w", dir=work_dir, prefix=".agent_id.", delete=False) as file:
        file.write(f"{wanted or uuid.uuid4()}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        if wanted is not None or (work_dir / _ID_FILE).exists():  # damaged: whoever it was can't be told
            os.replace(file.name, work_dir / _ID_FILE)
        else:
            crash_points.reach("agent.id.before")
            # Of two that start at once, one wins and both read its id.
            os.link(file.name, work_dir / _ID_FILE)
    except FileExistsError:
        pass
    finally:
        Path(file.name).unlink(missing_ok=True)
    crash_points.reach("agent.id.after")
    made = agent_id(work_dir)
    assert made is not None
    return made


@contextmanager
def only_agent(work_dir: Path) -> Iterator[None]:
    """Keep a second agent away from the scratch folder; the lock goes with the process, however that ends.

    :raises InstallationError: if another one has it.
    :raises OSError: if the folder can't be written to.
    """
    with open(work_dir / _LOCK_FILE, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InstallationError(
                f"Another node agent works with the scratch folder {work_dir} already.",
                "Run one agent a host, each with a [scale] work_dir of its own.",
            ) from None
        yield


@dataclass(frozen=True, slots=True)
class HostResources:
    """CPUs (counted, may be a fraction), memory and disk in MiB, GPUs (counted)."""

    cpus: float
    mem_mib: float
    disk_mib: float
    gpus: int


def resources(
    work_dir: Path,
    held: Iterable[Scratch] = (),
    *,
    gpus: int | None = None,
    cgroup: Path = _CGROUP,
    own_group: Path = _OWN_GROUP,
    devices: Path = _DEVICES,
) -> HostResources:
    """Return what jobs can have on this host in all, with what they have already.

    CPUs and memory are the host's, or less where our own control group, or one above it, allows less (an
    agent in a container, a limited service). Disk is what is free below ``work_dir``, and what the executions
    there hold.

    :param held: their scratch folders.
    :param gpus: how many GPUs jobs may have; None to count the devices.
    """
    groups = _groups(cgroup, own_group)
    cpus = float(len(os.sched_getaffinity(0)))
    memory = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    used = sum(scratch.used_mib() for scratch in held)
    return HostResources(
        cpus=min(cpus, *map(_cpu_quota, groups)),
        mem_mib=float(math.floor(min(memory, *map(_memory_limit, groups)) / _MIB)),
        disk_mib=float(math.floor(shutil.disk_usage(work_dir).free / _MIB + used)),
        gpus=len([*devices.glob("nvidia[0-9]*")]) if gpus is None else gpus,
    )


def _groups(cgroup: Path, own_group: Path) -> list[Path]:
    """Return the folders of our own control group and of those above it, as far as they are seen here."""
    found = [cgroup]
    for word in _words(own_group):
        _, _, path = word.partition("0::/")  # version 2 has one line, "0::/system.slice/x.service"
        folder = cgroup
        for part in path.split("/"):
            folder = folder / part
            found.append(folder)
    return found


def _cpu_quota(cgroup: Path) -> float:
    """Return the CPUs that the control group allows, infinite without a limit."""
    words = _words(cgroup / "cpu.max")
    if not words:
        words = [*_words(cgroup / "cpu/cpu.cfs_quota_us"), *_words(cgroup / "cpu/cpu.cfs_period_us")]
    if len(words) != 2 or not all(word.isdigit() for word in words) or not int(words[1]):
        return math.inf
    return int(words[0]) / int(words[1])


def _memory_limit(cgroup: Path) -> float:
    """Return the bytes of memory that the control group allows, infinite without a limit."""
    words = _words(cgroup / "memory.max") or _words(cgroup / "memory/memory.limit_in_bytes")
    return float(words[0]) if len(words) == 1 and words[0].isdigit() else math.inf


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
