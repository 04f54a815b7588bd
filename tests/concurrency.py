# SPDX-License-Identifier: Apache-2.0
"""Several transactions at once: actions that start together, and one that is watched while it waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from scale_airflow.store.session import transaction

PATIENCE = 60.0
_LOOK = 0.02

_WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


def at_once(actions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Start all actions together, each in a thread of its own; return their results or their errors."""
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        start.wait(timeout=PATIENCE)
        try:
            return action()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def apart(action: Callable[[Session], Any]) -> Callable[[], Any]:
    """The action in a transaction of its own, as an API server does it."""

    def run() -> Any:
        with transaction() as session:
            return action(session)

    return run


def no_errors(results: list[Any]) -> list[Any]:
    """Give the results back, of which none may be an error."""
    assert not [result for result in results if isinstance(result, Exception)], results
    return results


class Aside:
    """An action in a thread of its own, which the test watches: it ends, or waits for a lock.

    ::

        with Aside(session, action) as aside:
            assert aside.until_stuck()  # it waits for what the test's own transaction holds
            session.commit()
        assert aside.result() == ...

    :param session: the test's own, which is rolled back where the test fails meanwhile.
    """

    def __init__(self, session: Session, action: Callable[[], Any]):
        self._session = session
        self._pool = ThreadPoolExecutor(1)
        self._action = action
        self._future: Future[Any] | None = None

    def __enter__(self) -> Aside:
        self._future = self._pool.submit(self._action)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._session.rollback()
        self._pool.shutdown(wait=True)

    def until_stuck(self) -> bool:
        """Wait until the action waits for a lock (True) or has ended without (False)."""
        from airflow import settings

        assert self._future is not None
        assert settings.engine is not None
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._future.done():
                return False
            with settings.engine.connect() as connection:
                if connection.execute(_WAITING).scalar_one():
                    return True
            time.sleep(_LOOK)
        raise AssertionError("the action neither ends nor waits for a lock")

    def result(self) -> Any:
        """Return what the action returned; raise what it raised."""
        assert self._future is not None
        return self._future.result(timeout=PATIENCE)
