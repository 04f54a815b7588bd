# SPDX-License-Identifier: Apache-2.0
"""The threads of a transfer: each with connections of its own, all gone when it ends, however it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from scale_airflow.rescale.transfers.connections import ByteConnection
from scale_airflow.rescale.transfers.schedule import Schedule, Stopped


def run_crew(
    schedule: Schedule,
    connections: Sequence[ByteConnection],
    foreman: Callable[[], None] | None = None,
) -> None:
    """Let one worker a connection do what the schedule has for it, until all is done.

    :param foreman: adds work to the schedule meanwhile, in this thread; ends when there is no more to add.
    :raises BaseException: the first that a worker or the foreman raises, when all have ended.
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
        schedule.wait()
    finally:
        schedule.stop()
        for connection in connections:
            connection.abort()
        for thread in begun:
            thread.join()
        for connection in connections:
            connection.close()
    if schedule.failure is not None:
        raise schedule.failure
