# SPDX-License-Identifier: Apache-2.0
"""Has what was left running on other systems ended, beside the tick: their answers may take their time."""

from __future__ import annotations

import logging
import threading

from scale_airflow.services.remote_jobs import Leftover, State, end_leftovers

log = logging.getLogger(__name__)


class RemoteEndings:
    """One look at a time, in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Begin to end what is due, unless that is under way."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=_look, name="scale-remote", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the end of what is under way."""
        if self._thread is not None:
            self._thread.join(seconds)


def _look() -> None:
    try:
        end_leftovers(_end)
    except Exception:
        # The database may be away; the tick has this looked at again.
        log.exception("What executions have left running on other systems can't be looked for now")


def _end(leftover: Leftover) -> State:
    # Not at the top: few installations ever need Rescale's client in their API server.
    from scale_airflow.execution.remote_leftovers import end_marked
    from scale_airflow.hooks.rescale import RescaleHook

    hook = RescaleHook(leftover.connection, purpose="Scale")
    try:
        is_quiet = end_marked(hook.client, leftover.marker, leftover.since, force=leftover.force)
    finally:
        hook.close()
    return "none" if is_quiet else "stopping"
