# SPDX-License-Identifier: Apache-2.0
"""What runs on this host for job executions: containers found by label, processes by their environment."""

from __future__ import annotations

import contextlib
import logging
import time

import requests
from docker import APIClient
from docker.errors import DockerException, NotFound

from scale_airflow import crash_points
from scale_airflow.config import Settings
from scale_airflow.execution.backends.container_options import AGENT_LABEL, EXECUTION_LABEL
from scale_airflow.execution.backends.docker import connect
from scale_airflow.execution.processes import kill_processes, process_executions

#: After the engine could not be reached, it is not asked again for so many seconds.
_ENGINE_PAUSE = 10.0

log = logging.getLogger(__name__)


class Leftovers:
    """Finds and kills the executions of this host, whoever started them.

    :param agent_id: the label of the containers that belong to this host's agent.
    """

    def __init__(self, settings: Settings, agent_id: str):
        self._settings = settings
        self._agent_id = agent_id
        self._client: APIClient | None = None
        self._engine_away_until = 0.0
        self._last_containers: dict[int, list[str]] = {}

    def running(self) -> tuple[int, ...]:
        """Return the executions that have a container or a process here.

        While the engine can't be reached, the containers seen last count as still there: nothing is declared
        gone that may still run.
        """
        return tuple(sorted({*self._containers(), *process_executions(self._settings.work_dir)}))

    def kill(self, execution_id: int) -> None:
        """Kill an execution's container and processes, and remove the container; harmless if it is gone."""
        for container_id in self._containers().get(execution_id, ()):
            try:
                crash_points.reach("agent.remove_container.before")
                self._engine().remove_container(container_id, force=True, v=True)
                crash_points.reach("agent.remove_container.after")
            except NotFound:
                continue
            except (DockerException, requests.RequestException) as error:
                log.warning("The container of execution %s can't be killed yet: %s", execution_id, error)
                self._engine_failed()
        crash_points.reach("agent.kill_processes.before")
        kill_processes(self._settings.work_dir, execution_id)
        crash_points.reach("agent.kill_processes.after")

    def _containers(self) -> dict[int, list[str]]:
        if self._settings.backend == "process" and not self._last_containers:
            return {}
        if time.monotonic() < self._engine_away_until:
            return self._last_containers
        try:
            found = self._engine().containers(
                all=True, filters={"label": [EXECUTION_LABEL, f"{AGENT_LABEL}={self._agent_id}"]}
            )
        except (DockerException, requests.RequestException) as error:
            log.warning("The Docker engine can't be asked: %s", error)
            self._engine_failed()
            return self._last_containers
        seen: dict[int, list[str]] = {}
        for entry in found:
            label = str((entry.get("Labels") or {}).get(EXECUTION_LABEL, ""))
            if label.isdigit():
                seen.setdefault(int(label), []).append(entry["Id"])
        self._last_containers = seen
        return seen

    def _engine(self) -> APIClient:
        if self._client is None:
            self._client = connect(self._settings.docker_url)
        return self._client

    def _engine_failed(self) -> None:
        self._engine_away_until = time.monotonic() + _ENGINE_PAUSE
        self.close()

    def close(self) -> None:
        """Close the connection to the engine."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()
