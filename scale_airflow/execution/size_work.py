# SPDX-License-Identifier: Apache-2.0
"""The node agent's third duty: once an hour it tells how full the disks of the workspaces are.

It looks in a thread of its own: a file server that does not answer keeps nothing else waiting.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable

from scale_airflow.config import Settings
from scale_airflow.definitions.workspace_configuration import WorkspaceConfiguration
from scale_airflow.errors import InvalidDocument, ScaleApiError, WorkspaceError
from scale_airflow.execution.order import WorkspaceRef
from scale_airflow.execution.workspace_sizes import SizesReport, WorkspaceSize
from scale_airflow.hooks.client import RuntimeClient
from scale_airflow.workspaces.mounts import local_directory, resolve

#: Seconds between two looks.
_HOUR = 3600.0
#: Seconds to wait after the server could not be told.
_AWAY = 60.0

log = logging.getLogger(__name__)


class SizeWork:
    """Measures the workspaces that this host sees.

    :param connect: returns a client of the API server.
    """

    def __init__(self, settings: Settings, connect: Callable[[], RuntimeClient]):
        self._settings = settings
        self._connect = connect

    def run(self, stop: threading.Event) -> None:
        """Measure every hour until ``stop`` is set."""
        while not stop.is_set():
            try:
                self.measure()
                pause = _HOUR
            except ScaleApiError as error:
                log.info("The sizes of workspaces can't be told to the API server, trying on: %s", error)
                pause = _AWAY
            except Exception:
                # A fault in one look must not be the last one.
                log.exception("The sizes of workspaces can't be measured")
                pause = _HOUR
            stop.wait(pause)

    def measure(self) -> None:
        """Measure once, and tell the API server.

        :raises ScaleApiError: if the server can't be reached or refuses.
        """
        client = self._connect()
        try:
            found = map(self._size_of, client.workspaces().workspaces)
            client.report_sizes(SizesReport(tuple(each for each in found if each is not None)))
        finally:
            client.close()

    def _size_of(self, workspace: WorkspaceRef) -> WorkspaceSize | None:
        try:
            place = WorkspaceConfiguration.parse(workspace.configuration).broker
            directory = resolve(local_directory(place, self._settings.mounts), self._settings.allowed_roots)
            usage = shutil.disk_usage(directory)
        except (InvalidDocument, WorkspaceError, OSError) as error:
            log.debug("This host can't measure the workspace %s: %s", workspace.name, error)
            return None
        return WorkspaceSize(workspace.id, usage.used, usage.total)
