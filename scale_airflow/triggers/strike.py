# SPDX-License-Identifier: Apache-2.0
"""StrikeTrigger: wakes the sensor of a Strike process when its directory shows something new.

The file system's notifications say it at once; a sweep every few seconds sees what these don't tell (files
that were there before, other clients' writes on network file systems, a lost notification). The trigger
decides nothing about files: the sensor looks again itself.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from watchfiles import Change, watch

from scale_airflow import crash_points
from scale_airflow.config import CONNECTION_ID
from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.ingest.directory import list_files
from scale_airflow.execution.ingest.messages import ListedFile, ProgressRequest, Transferred
from scale_airflow.execution.ingest.watch import digest_of, is_transferring
from scale_airflow.hooks.async_client import AsyncScaleClient
from scale_airflow.hooks.scale import ScaleHook
from scale_airflow.hooks.strike_client import report_progress

_DEBOUNCE_MS = 50
_STEP_MS = 20
_CHUNK = 500

log = logging.getLogger(__name__)


class StrikeTrigger(BaseTrigger):
    """Fires when the directory differs, in a way that matters, from what the sensor left.

    :param directory: what to watch; None while the Strike process is not active.
    :param digest: what the sensor left, see :func:`~scale_airflow.execution.ingest.watch.digest_of`.
    :param version: of the Strike process's configuration; the trigger fires when the server has another one.
    :param interval: seconds between two sweeps.
    :param retry_after: seconds after which it fires in any case; None for never.
    :param delay: seconds before the first look at the directory.
    """

    def __init__(
        self,
        *,
        strike_id: int,
        directory: str | None,
        transfer_suffix: str,
        digest: str,
        version: str,
        interval: float,
        retry_after: float | None = None,
        delay: float = 0.0,
        scale_conn_id: str = CONNECTION_ID,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self.strike_id = strike_id
        self.directory = directory
        self.transfer_suffix = transfer_suffix
        self.digest = digest
        self.version = version
        self.interval = interval
        self.retry_after = retry_after
        self.delay = delay
        self.scale_conn_id = scale_conn_id
        self._sizes: dict[str, int] = {}
        self._is_warned = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to build the trigger again."""
        return (
            "scale_airflow.triggers.strike.StrikeTrigger",
            {
                "strike_id": self.strike_id,
                "directory": self.directory,
                "transfer_suffix": self.transfer_suffix,
                "digest": self.digest,
                "version": self.version,
                "interval": self.interval,
                "retry_after": self.retry_after,
                "delay": self.delay,
                "scale_conn_id": self.scale_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch until there is something to do, then fire once."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(await ScaleHook(self.scale_conn_id).async_client())
            reason = await self.wait(client)
            crash_points.reach("trigger.strike.fire.before")
            yield TriggerEvent({"reason": reason, "digest": self.digest})

    async def wait(self, client: AsyncScaleClient) -> str:
        """Return, in words, what the sensor should look at."""
        await asyncio.sleep(self.delay)
        loop = asyncio.get_running_loop()
        give_up = None if self.retry_after is None else loop.time() + self.retry_after
        next_report = loop.time() + self.interval
        # Notifications begin before the first sweep, so that nothing falls in between.
        with _Notifications(self.directory, self.transfer_suffix) as notifications:
            while True:
                notifications.forget()
                files = await self._list()
                if files is None:
                    reason = "the directory can't be read here"
                    # Perhaps only this host does not have it: the sensor's worker finds out.
                    give_up = give_up or loop.time() + 6 * self.interval
                elif digest_of(files, self.transfer_suffix) != self.digest:
                    return "the directory has changed"
                else:
                    reason = "something is to be tried again"
                if give_up is not None and loop.time() >= give_up:
                    return reason
                if loop.time() >= next_report:
                    if await self._report(client, files or ()):
                        return "the Strike process was changed"
                    next_report = loop.time() + self.interval
                until = next_report if give_up is None else min(next_report, give_up)
                await notifications.wait(max(0.0, until - loop.time()))

    async def _list(self) -> list[ListedFile] | None:
        if self.directory is None:
            return []
        try:
            return await asyncio.to_thread(list_files, Path(self.directory))
        except OSError as error:
            if not self._is_warned:
                log.warning("The Strike directory %s can't be read: %s", self.directory, error.strerror)
                self._is_warned = True
            return None

    async def _report(self, client: AsyncScaleClient, files: Iterable[ListedFile]) -> bool:
        """Report transfers that grew; tell whether the sensor should read the configuration again."""
        sizes = {
            file.name.removesuffix(self.transfer_suffix): file.size
            for file in files
            if is_transferring(file.name, self.transfer_suffix)
        }
        grown = [Transferred(name, size) for name, size in sizes.items() if self._sizes.get(name) != size]
        is_changed = False
        try:
            for start in range(0, max(1, len(grown)), _CHUNK):
                request = ProgressRequest(self.version, tuple(grown[start : start + _CHUNK]))
                answer = await report_progress(client, self.strike_id, request)
                is_changed = is_changed or answer.is_changed
        except ScaleApiError as error:
            # The next report says it again.
            log.info("The progress of transfers could not be reported: %s", error)
            return False
        self._sizes = sizes
        return is_changed


class _Notifications:
    """The file system's notifications of one directory, as an event; growing transfers don't count.

    A thread of its own waits for them: the event loop's few threads belong to all triggers.
    """

    def __init__(self, directory: str | None, transfer_suffix: str):
        self._directory = directory
        self._suffix = transfer_suffix
        self._loop = asyncio.get_running_loop()
        self._seen = asyncio.Event()
        self._stop = threading.Event()

    def __enter__(self) -> _Notifications:
        if self._directory is not None:
            threading.Thread(target=self._watch, name="strike-notifications", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()

    def forget(self) -> None:
        """Forget what was seen: a sweep follows."""
        self._seen.clear()

    async def wait(self, timeout: float) -> None:
        """Wait for a notification, at most so many seconds."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._seen.wait(), timeout)

    def _watch(self) -> None:
        assert self._directory is not None
        try:
            for changes in watch(
                self._directory,
                watch_filter=self._matters,
                recursive=False,
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                stop_event=self._stop,
                raise_interrupt=False,
            ):
                if changes:
                    self._loop.call_soon_threadsafe(self._seen.set)
        except (OSError, RuntimeError) as error:
            # No notifications here, or no more of them, or the loop is gone: sweeps go on.
            if not self._stop.is_set():
                log.info("No notifications for %s: %s", self._directory, error)

    def _matters(self, change: Change, path: str) -> bool:
        return change is not Change.modified or not is_transferring(Path(path).name, self._suffix)
