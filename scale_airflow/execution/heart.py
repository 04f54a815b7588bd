# SPDX-License-Identifier: Apache-2.0
"""The regular sign of life of a running execution, and the word from the server that it must stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.order import BeatAnswer, BeatReport

INTERVAL = 5.0
"""Seconds between two beats; canceled jobs are killed sooner, by the node's agent."""
GATHER = 0.5
"""Seconds for which news are gathered: short phases cost one request together, and a short job none."""
FENCED = (401, 403, 404, 409, 410)
"""Statuses that say: another try has the execution, or nobody has it any more."""

log = logging.getLogger(__name__)


class Heart:
    """Beats from a thread of its own until stopped; a server that is away does not stop anything.

    :param beat: sends one beat.
    :param report: returns what the next beat says.
    :param on_stop: called once with the reason when the server says that the execution is not to go on, or
        is over.
    :param on_fenced: called once with the reason when the server takes this worker's word no more: another
        try has the execution now.
    """

    def __init__(
        self,
        beat: Callable[[BeatReport], BeatAnswer],
        report: Callable[[], BeatReport],
        on_stop: Callable[[str], None],
        on_fenced: Callable[[str], None],
        *,
        interval: float = INTERVAL,
    ):
        self._beat = beat
        self._report = report
        self._on_stop = on_stop
        self._on_fenced = on_fenced
        self._interval = interval
        self._gather = min(GATHER, interval)
        self._now = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scale-heart", daemon=True)

    def start(self) -> None:
        """Send the first beat soon (the claim was the sign of life until then), and go on."""
        self._thread.start()

    def hurry(self) -> None:
        """Send the next beat soon, because there is something new to tell."""
        self._now.set()

    def stop(self) -> None:
        """Send no more beats, and take no notice of the answer to one that is under way."""
        self._stopping.set()
        self._now.set()

    def _run(self) -> None:
        away = False
        while not self._stopping.wait(self._gather):
            self._now.clear()
            try:
                answer = self._beat(self._report())
            except ScaleApiError as error:
                if self._stopping.is_set():
                    return
                if error.status in FENCED:
                    self._on_fenced(f"The API server no longer takes this worker's word: {error}")
                    return
                if not away:
                    log.warning("The API server can't be told that the job runs, trying on: %s", error)
                away = True
            else:
                if away:
                    log.info("The API server is back")
                away = False
                if not answer.continue_ and not self._stopping.is_set():
                    self._on_stop(answer.reason or "The API server wants this execution to stop.")
                    return
            self._now.wait(self._interval)
