# SPDX-License-Identifier: Apache-2.0
"""The node agent's second duty: it moves and removes files of workspaces as the API server says.

It does so in a thread of its own, so that copying a large file keeps no beat waiting.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Collection, Sequence

from scale_airflow import crash_points
from scale_airflow.config import Settings
from scale_airflow.errors import ScaleApiError, ScaleError
from scale_airflow.execution.file_duties import (
    DutyOrder,
    DutyOutcome,
    DutyRequest,
    DutyResult,
    SweepQuestion,
)
from scale_airflow.hooks.client import RuntimeClient
from scale_airflow.workspaces.broker import PathTaken
from scale_airflow.workspaces.confined import MissingPath
from scale_airflow.workspaces.mounts import broker_for

#: Seconds to wait after the server could not be asked.
_AWAY = 5.0

log = logging.getLogger(__name__)


class FileWork:
    """Does what is due on the workspaces that this host sees.

    :param connect: returns a client of the API server; called again after an error.
    """

    def __init__(self, settings: Settings, connect: Callable[[], RuntimeClient], agent_id: str):
        self._settings = settings
        self._connect = connect
        self._client: RuntimeClient | None = None
        self._agent_id = agent_id
        self._process = secrets.token_hex(8)

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        away = False
        while not stop.is_set():
            try:
                pause = self.round(stop)
                away = False
            except ScaleApiError as error:
                if not away:
                    log.warning("The API server can't be asked for file work, trying on: %s", error)
                away, pause = True, _AWAY
                self.close()
            except Exception:
                # A fault in one round must not leave the files of this host to nobody.
                log.exception("A round of file work failed")
                pause = _AWAY
                self.close()
            stop.wait(pause)
        self.close()

    def round(self, stop: threading.Event | None = None) -> float:
        """Do what is due now; return the seconds until it is worth asking again.

        :raises ScaleApiError: if the server can't be reached or refuses.
        """
        if self._client is None:
            self._client = self._connect()
        while True:
            answer = self._client.file_duties(DutyRequest(self._agent_id, self._process))
            for order in answer.duties:
                if stop is not None and stop.is_set():
                    return 0.0
                crash_points.reach("agent.file_duty.before")
                outcome, message = self._do(self._client, order)
                crash_points.reach("agent.file_duty.after")
                self._client.file_duty_result(
                    DutyResult(self._agent_id, self._process, order.id, outcome, message)
                )
            if not answer.duties:
                return max(answer.interval, 0.1)

    def _do(self, client: RuntimeClient, order: DutyOrder) -> tuple[DutyOutcome, str | None]:
        try:
            perform(order, self._settings, lambda paths: self._ask(client, order, paths))
        except PathTaken as error:
            return "taken", str(error)
        except MissingPath as error:
            return "missing", str(error)
        except ScaleApiError:
            raise
        except ScaleError as error:
            return "failed", str(error)
        return "done", None

    def _ask(self, client: RuntimeClient, order: DutyOrder, paths: Sequence[str]) -> tuple[str, ...]:
        question = SweepQuestion(self._agent_id, self._process, order.id, tuple(paths))
        return client.file_duty_sweep(question).remove

    def close(self) -> None:
        """Close the connection to the API server."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def perform(order: DutyOrder, settings: Settings, choose: Callable[[Sequence[str]], Collection[str]]) -> None:
    """Do one thing to a workspace; doing it again is no harm.

    :param choose: says which files of a swept folder go.
    :raises PathTaken: if other content is in the way.
    :raises MissingPath: if the file is not there.
    :raises WorkspaceError: if the workspace can't be used on this host.
    """
    broker = broker_for(
        order.workspace.configuration, mounts=settings.mounts, allowed_roots=settings.allowed_roots
    )
    if order.kind == "MOVE" and order.target is not None:
        broker.add_name(order.path, order.target, checksum=order.checksum)
    elif order.kind == "SWEEP":
        removed = broker.sweep(order.path, choose)
        if removed:
            log.info("Removed %s files that belong to nothing from %s", removed, order.path)
    elif order.target is not None:
        broker.drop_name(order.path, order.target)
    else:
        broker.delete(order.path)
