# SPDX-License-Identifier: Apache-2.0
"""The node agent: one small process beside each worker.

It registers the host with what it has, beats, kills what the API server says is not to run, and removes
scratch folders that nobody owns any more. It survives an API server or an engine that is away.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from scale_airflow import crash_points
from scale_airflow.config import Settings
from scale_airflow.config import settings as read_settings
from scale_airflow.errors import ScaleApiError
from scale_airflow.execution import host
from scale_airflow.execution.file_work import FileWork
from scale_airflow.execution.leftovers import Leftovers
from scale_airflow.execution.order import NodeAnswer, NodeBeat
from scale_airflow.execution.size_work import SizeWork
from scale_airflow.execution.staging import FOLDER, Scratch
from scale_airflow.hooks.client import RuntimeClient
from scale_airflow.hooks.scale import ScaleHook

#: Seconds to wait after a beat that failed.
_AWAY = 2.0
#: Seconds that each other thread may take to end; what it was at is done again by the next agent.
_PATIENCE = 5.0
#: Seconds between two looks at what the host has.
_RESOURCES_LOOK = 15.0

log = logging.getLogger(__name__)


def run_agent(
    settings: Settings | None = None,
    once: bool = False,
    *,
    agent_id: str | None = None,
    hostname: str | None = None,
) -> None:
    """Run the agent of this host until SIGTERM or SIGINT (``airflow scale node``).

    :param settings: instead of those of Airflow's configuration.
    :param once: send one beat, do what the answer says, and return.
    :param agent_id: instead of the id that is kept in the scratch folder.
    :param hostname: instead of the name that the system has.
    :raises OSError: if the scratch folder can't be written to.
    :raises InstallationError: if another agent works with the same scratch folder.
    :raises ScaleApiError: (with ``once``) if the API server is away or refuses.
    """
    found = settings or read_settings()
    identity = host.make_agent_id(found.work_dir, agent_id)

    def connect() -> RuntimeClient:
        return ScaleHook(found.connection_id).client

    agent = NodeAgent(found, connect, identity, hostname or host.hostname())
    files = FileWork(found, connect, identity)
    if once:
        agent.beat()
        files.round()
        return
    with host.only_agent(found.work_dir):
        _run_until_signal(agent, files, SizeWork(found, connect))


def _run_until_signal(agent: NodeAgent, files: FileWork, sizes: SizeWork) -> None:
    stop = threading.Event()
    at_files = threading.Thread(target=files.run, args=(stop,), name="scale-files", daemon=True)
    at_sizes = threading.Thread(target=sizes.run, args=(stop,), name="scale-sizes", daemon=True)

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    log.info("The agent of node %s (%s) starts", agent.hostname, agent.agent_id)
    at_files.start()
    at_sizes.start()
    try:
        agent.run(stop)
    finally:
        stop.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        at_files.join(_PATIENCE)
        at_sizes.join(_PATIENCE)
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
        self._resources: host.HostResources | None = None
        self._next_look = 0.0
        self._port = _log_server_port()
        self._run = uuid.uuid4().hex
        self.agent_id = agent_id
        self.hostname = hostname

    def run(self, stop: threading.Event) -> None:
        """Beat until ``stop`` is set."""
        trouble: str | None = None
        while not stop.is_set():
            try:
                pause = self.beat()
            except ScaleApiError as error:
                if trouble != str(error):
                    log.warning("The API server can't be told of this node, trying on: %s", error)
                trouble = str(error)
                self._forget_client()
                pause = _AWAY
            except Exception:
                # A fault in one beat must not leave the host without its agent.
                log.exception("A beat failed")
                self._forget_client()
                pause = _AWAY
            else:
                if trouble is not None:
                    log.info("The API server knows of this node again")
                trouble = None
            stop.wait(pause)
        self._take_leave()
        self._forget_client()
        self._leftovers.close()

    def beat(self) -> float:
        """Tell the server what the host has and runs, do what it says, return the seconds until the next.

        :raises ScaleApiError: if the server can't be reached or refuses.
        """
        if self._client is None:
            self._client = self._connect()
        folders = scratch_folders(self._settings.work_dir)
        running = self._leftovers.running()
        crash_points.reach("agent.beat.before")
        answer = self._client.node_beat(self._report(running, folders))
        crash_points.reach("agent.beat.after")
        self._obey(answer)
        return max(answer.interval, 0.1)

    def _report(
        self, running: tuple[int, ...], folders: tuple[int, ...], *, is_leaving: bool = False
    ) -> NodeBeat:
        if self._resources is None or time.monotonic() >= self._next_look:
            held = [Scratch(self._settings.work_dir, number) for number in folders]
            self._resources = host.resources(self._settings.work_dir, held, gpus=self._settings.gpus)
            self._next_look = time.monotonic() + _RESOURCES_LOOK
        return NodeBeat(
            agent_id=self.agent_id,
            hostname=self.hostname,
            port=self._port,
            cpus=self._resources.cpus,
            mem_mib=self._resources.mem_mib,
            disk_mib=self._resources.disk_mib,
            executions=running,
            work_dir_executions=folders,
            gpus=self._resources.gpus,
            run=self._run,
            is_leaving=is_leaving,
        )

    def _obey(self, answer: NodeAnswer) -> None:
        for execution_id in answer.stop:
            log.info("Execution %s is not to run here any more: killing it", execution_id)
            self._leftovers.kill(execution_id)
        for execution_id in answer.forget:
            scratch = Scratch(self._settings.work_dir, execution_id)
            try:
                if scratch.root.exists():
                    crash_points.reach("agent.forget.before")
                    scratch.remove()
                    crash_points.reach("agent.forget.after")
                    log.info("Removed the scratch folder of execution %s", execution_id)
            except FileNotFoundError:
                continue  # its worker was quicker
            except OSError as error:
                log.warning("The scratch folder of execution %s stays: %s", execution_id, error)

    def _take_leave(self) -> None:
        """Say that this was the last beat: nothing new starts here from now on; what runs goes on."""
        try:
            if self._client is None:
                self._client = self._connect()
            folders = scratch_folders(self._settings.work_dir)
            self._client.node_beat(self._report(self._leftovers.running(), folders, is_leaving=True))
        except Exception as error:
            # Whatever it was, it must not keep the agent from ending: its silence says the same, later.
            log.warning("The API server was not told that this agent ends: %s", error)

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


def _log_server_port() -> int:
    """Return the port under which the host's worker serves its logs."""
    from airflow.configuration import conf

    return int(conf.getint("logging", "worker_log_server_port", fallback=8793))
