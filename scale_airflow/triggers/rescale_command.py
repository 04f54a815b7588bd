# SPDX-License-Identifier: Apache-2.0
"""Waits, without a worker slot, for the end of a command on a Rescale cluster."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from scale_airflow.errors import ScaleError
from scale_airflow.hooks.rescale_cluster import ClusterAddress, cluster_shell, run_command
from scale_airflow.triggers.settling import settled

DEFAULT_CONNECTION = "rescale_default"


class RescaleCommandTrigger(BaseTrigger):
    """Follows a command, which it starts if nobody has, and fires its exit code and last lines.

    A triggerer that restarts goes on with the command. It is ended when a user clears the task or marks it.

    :param name: of the command among those of the cluster.
    :param environment: variables for it.
    """

    def __init__(
        self,
        job_id: str,
        name: str,
        command: str,
        environment: dict[str, str],
        host_key: str = "",
        connection_id: str = DEFAULT_CONNECTION,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_id = job_id
        self.name = name
        self.command = command
        self.environment = environment
        self.host_key = host_key
        self.connection_id = connection_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on."""
        return (
            "scale_airflow.triggers.rescale_command.RescaleCommandTrigger",
            {
                "job_id": self.job_id,
                "name": self.name,
                "command": self.command,
                "environment": self.environment,
                "host_key": self.host_key,
                "connection_id": self.connection_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire once: ``{"exit_code": …, "last_lines": […]}`` or ``{"error": …}``."""
        begun = time.monotonic()
        try:
            async with cluster_shell(self._address, self.connection_id) as shell:
                result = await run_command(
                    shell,
                    self.name,
                    self.command,
                    self.environment,
                    lambda line: self.log.info("%s", line),
                )
        except ScaleError as error:
            await settled(begun)
            yield TriggerEvent({"error": str(error)})
            return
        await settled(begun)
        yield TriggerEvent({"exit_code": result.exit_code, "last_lines": list(result.last_lines)})

    async def on_kill(self) -> None:
        """End the command: the user has cleared the task, or marked it."""
        async with cluster_shell(self._address, self.connection_id) as shell:
            await shell.end(self.name)

    @property
    def _address(self) -> ClusterAddress:
        return ClusterAddress(self.job_id, self.host_key)
