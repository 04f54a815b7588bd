# SPDX-License-Identifier: Apache-2.0
"""The threads of a transfer: each with connections of its own, all gone when it ends, however it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from scale_airflow.rescale.transfers.connections import ByteConnection
from scale_airflow.rescale.transfers.schedule import Schedule, Stopped

GRACE = 5.0
"""Seconds for answers to what was sent already, so that it is known what has to be deleted."""


def run_crew(
    schedule: Schedule,
    connections: Sequence[ByteConnection],
    tick: Callable[[], None],
    foreman: Callable[[], None] | None = None,
) -> None:
    """Let one worker a connection do what the schedule has for it, until all is done.

    :param tick: called now and then in this thread.
    :param foreman: adds work to the schedule meanwhile, in this thread; ends when there is no more to add.
    :raises BaseException: the first that a worker, the foreman or ``tick`` raises, when all have ended.
    """

    def work(number: int) -> None:
        try:
            while (task := schedule.next(number)) is not None:
                task()
        except Stopped:
            return
        except BaseException as error:
            schedule.fail(error)

    threads = [
        threading.Thread(target=work, args=(number,), name=f"transfer {number}", daemon=True)
        for number in range(len(connections))
    ]
    begun: list[threading.Thread] = []
    try:
        for thread in threads:
            thread.start()
            begun.append(thread)
        try:
            if foreman is not None:
                foreman()
        except Stopped:
            pass
        finally:
            schedule.complete()
        schedule.wait(tick)
    finally:
        schedule.stop()
        for at_once in (False, True):
            for connection in connections:
                connection.abort(at_once=at_once)
            until = time.monotonic() + GRACE
            for thread in begun:
                thread.join(None if at_once else max(0.0, until - time.monotonic()))
        for connection in connections:
            connection.close()
    if schedule.failure is not None:
        raise schedule.failure
