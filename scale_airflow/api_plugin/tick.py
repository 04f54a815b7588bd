# SPDX-License-Identifier: Apache-2.0
"""The tick: one thread of one API server, elected by an advisory lock, that dispatches and reconciles."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from scale_airflow.api_plugin.remote_endings import RemoteEndings
from scale_airflow.config import Settings, settings
from scale_airflow.engine.publishing import claim_origin
from scale_airflow.errors import InstallationError
from scale_airflow.services.dispatch import BATCH, CHANNEL, dispatch
from scale_airflow.services.housekeeping import hide_old_revisions, show_cleared_revisions
from scale_airflow.services.reconcile import BATCH as REPAIRS
from scale_airflow.services.reconcile import reconcile, reconcile_outcomes
from scale_airflow.services.repairs import prune
from scale_airflow.services.scheduler import sign_tick
from scale_airflow.services.system_clock import publish_rules, record_load
from scale_airflow.services.tallies import merge
from scale_airflow.store.base import utcnow
from scale_airflow.store.listening import Listener
from scale_airflow.store.session import transaction

log = logging.getLogger(__name__)

#: The key of the advisory lock: "scale" in ASCII.
LOCK_KEY = 0x7363616C65
#: How long to wait before trying again to be the one that ticks, or to reach the database.
_RETRY_SECONDS = 2.0
_TIDY_SECONDS = 60.0
_OUTCOMES_SECONDS = 30.0
_MERGE_SECONDS = 5.0
_REMOTE_SECONDS = 5.0
#: From one look at the queue to the next, however many ask for one: what is queued meanwhile is seen at once.
_PACE_SECONDS = 0.1


class Tick:
    """Runs from :meth:`start` to :meth:`stop`; survives the database being away."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        # Written to by stop(), so that a wait for the database's notifications ends at once.
        self._bell, self._ring = socket.socketpair()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to tick in a thread of its own.

        Where this runs, DAGs are published: the generated files of this host are the originals.
        """
        try:
            claim_origin()
        except InstallationError as error:
            log.error("%s", error)  # Airflow itself must come up all the same
        self._thread = threading.Thread(target=self._run, name="scale-tick", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it: a transaction that has begun is finished."""
        self._stop.set()
        self._ring.send(b"!")
        if self._thread is not None:
            self._thread.join(timeout=30)
        self._bell.close()
        self._ring.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._hold_office()
            except InstallationError as error:
                log.error("Scale's tick can't work: %s", error)
            except Exception:
                # Whatever it was (the database restarts, Airflow refuses), the tick must come back.
                log.exception("Scale's tick failed; it starts again in %g seconds", _RETRY_SECONDS)
            self._stop.wait(_RETRY_SECONDS)

    def _hold_office(self) -> None:
        """Tick for as long as this process holds the lock."""
        with Listener("scale-tick") as listener:
            if not listener.try_lock(LOCK_KEY):
                return
            listener.listen(CHANNEL)
            log.info("Scale's tick runs in this process")
            reconciled = looked_back = tidied = merged = ended = float("-inf")
            endings = RemoteEndings()
            load_due: datetime | None = None
            while not self._stop.is_set():
                found = settings()
                began = time.monotonic()
                _dispatch_all(found)
                now = time.monotonic()
                if now - reconciled >= found.reconcile_interval:
                    _repair_all(reconcile, point="tick.reconcile")
                    with transaction(point="tick.show_revisions") as session:
                        show_cleared_revisions(session)
                        sign_tick(session)
                    reconciled = now
                if now - looked_back >= _OUTCOMES_SECONDS:
                    _repair_all(reconcile_outcomes, point="tick.reconcile_ended_runs")
                    looked_back = now
                if now - merged >= _MERGE_SECONDS:
                    with transaction(point="tick.merge_tallies") as session:
                        merge(session)
                    merged = now
                if now - ended >= _REMOTE_SECONDS:
                    endings.look()
                    ended = now
                if now - tidied >= _TIDY_SECONDS:
                    with transaction(point="tick.tidy") as session:
                        hide_old_revisions(session)
                        prune(session)
                    _publish_own_rules()
                    tidied = now
                if load_due is None or utcnow() >= load_due:
                    load_due = _record_load()
                listener.wait(found.tick_interval, self._bell)
                self._stop.wait(max(0.0, began + _PACE_SECONDS - time.monotonic()))


def _publish_own_rules() -> None:
    """See to the DAG of Scale's own clock rule; what comes of it keeps nothing else from being done."""
    try:
        with transaction(point="tick.publish_rules") as session:
            publish_rules(session)
    except Exception:
        log.exception("The DAG of daily metrics can't be published; it is tried again in a minute")


def _record_load() -> datetime:
    """Record the load if it is time for it; return when to look again, soon if it failed."""
    soon = utcnow() + timedelta(seconds=_TIDY_SECONDS)
    try:
        with transaction(point="tick.record_load") as session:
            return record_load(session) or soon
    except Exception:
        log.exception("The load can't be recorded; it is tried again in a minute")
        return soon


def _repair_all(look: Callable[[Session], int], *, point: str) -> None:
    while True:
        with transaction(point=point) as session:
            repaired = look(session)
        if repaired < REPAIRS:
            return


def _dispatch_all(found: Settings) -> None:
    while True:
        with transaction(point="tick.dispatch") as session:
            taken = dispatch(session, found)
        if taken < BATCH:
            return
