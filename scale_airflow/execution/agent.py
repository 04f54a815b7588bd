# SPDX-License-Identifier: Apache-2.0
"""The node agent: one small process beside each worker.

It registers the host with what it has, beats, kills what the API server says is not to run, and removes
scratch folders that nobody owns any more. It survives an API server or an engine that is away.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from scale_airflow.config import Settings
from scale_airflow.config import settings as read_settings
from scale_airflow.errors import ScaleApiError
from scale_airflow.execution import host
from scale_airflow.execution.leftovers import Leftovers
from scale_airflow.execution.order import NodeAnswer, NodeBeat
from scale_airflow.execution.staging import FOLDER, Scratch
from scale_airflow.hooks.client import RuntimeClient
from scale_airflow.hooks.scale import ScaleHook

_MIB = 1 << 20
#: Seconds to wait after a beat that failed.
_AWAY = 2.0
_LOG_SERVER_PORT = 8793

log = logging.getLogger(__name__)


def run_agent(*, agent_id: str | None = None, hostname: str | None = None) -> None:
    """Run the agent of this host until SIGTERM or SIGINT.

    :param agent_id: instead of the id that is kept in the scratch folder.
    :param hostname: instead of the name that the system has.
    :raises OSError: if the scratch folder can't be written to.
    """
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    found = read_settings()
    identity = host.make_agent_id(found.work_dir, agent_id)
    agent = NodeAgent(
        found, lambda: ScaleHook(found.connection_id).client, identity, hostname or host.hostname()
    )
    log.info("The agent of node %s (%s) starts; scratch folder %s", agent.hostname, identity, found.work_dir)
    agent.run(stop)
    log.info("The agent of node %s ends", agent.hostname)


class NodeAgent:
    """Beats for one host.

    :param connect: returns a client of the API server; called again after an error, since the secret may have
        been rotated.
    """

    def __init__(
        self, settings: Settings, connect: Callable[[], RuntimeClient], agent_id: str, hostname: str
    ):
        self._settings = settings
        self._connect = connect
        self._client: RuntimeClient | None = None
        self._leftovers = Leftovers(settings, agent_id)
        self.agent_id = agent_id
        self.hostname = hostname

    def run(self, stop: threading.Event) -> None:
        """Beat until ``stop`` is set."""
        away = False
        while not stop.is_set():
            try:
                pause = self.beat()
            except ScaleApiError as error:
                if not away:
                    log.warning("The API server can't be told of this node, trying on: %s", error)
                away = True
                self._forget_client()
                pause = _AWAY
            except Exception:
                # A fault in one beat must not leave the host without its agent.
                log.exception("A beat failed")
                self._forget_client()
                pause = _AWAY
            else:
                if away:
                    log.info("The API server is back")
                away = False
            stop.wait(pause)
        self._forget_client()

    def beat(self) -> float:
        """Tell the server what the host has and runs, do what it says, return the seconds until the next.

        :raises ScaleApiError: if the server can't be reached or refuses.
        """
        if self._client is None:
            self._client = self._connect()
        folders = scratch_folders(self._settings.work_dir)
        running = self._leftovers.running()
        answer = self._client.node_beat(self._report(running, folders))
        self._obey(answer)
        return max(answer.interval, 0.1)

    def _report(self, running: tuple[int, ...], folders: tuple[int, ...]) -> NodeBeat:
        return NodeBeat(
            agent_id=self.agent_id,
            hostname=self.hostname,
            port=_LOG_SERVER_PORT,
            cpus=float(len(os.sched_getaffinity(0))),
            mem_mib=float(memory_mib()),
            disk_mib=float(disk_mib(self._settings.work_dir)),
            executions=running,
            work_dir_executions=folders,
        )

    def _obey(self, answer: NodeAnswer) -> None:
        for execution_id in answer.stop:
            log.info("Execution %s is not to run here any more: killing it", execution_id)
            self._leftovers.kill(execution_id)
        for execution_id in answer.forget:
            try:
                Scratch(self._settings.work_dir, execution_id).remove()
                log.info("Removed the scratch folder of execution %s", execution_id)
            except OSError as error:
                log.warning("The scratch folder of execution %s stays: %s", execution_id, error)

    def _forget_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def scratch_folders(work_dir: Path) -> tuple[int, ...]:
    """Return the executions that have a scratch folder on this host."""
    try:
        with os.scandir(work_dir) as entries:
            matches = [FOLDER.fullmatch(entry.name) for entry in entries]
    except FileNotFoundError:
        return ()
    return tuple(sorted(int(match[1]) for match in matches if match))


def memory_mib() -> int:
    """Return the host's memory in MiB, or what this process's control group may use of it."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total // _MIB


def disk_mib(work_dir: Path) -> int:
    """Return the disk space in MiB that executions may share: what is free, and what they hold already."""
    held = sum(Scratch(work_dir, number).used_mib() for number in scratch_folders(work_dir))
    return shutil.disk_usage(work_dir).free // _MIB + int(held)
