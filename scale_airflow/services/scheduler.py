# SPDX-License-Identifier: Apache-2.0
"""The scheduler's own switch: while it is paused, nothing new starts (specification: Scheduler Services)."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from scale_airflow.errors import NotFound
from scale_airflow.services.admission import hold_pauses
from scale_airflow.services.dispatch import wake
from scale_airflow.store.models import Scheduler, utcnow


def get_scheduler(session: Session, *, lock: bool = False) -> Scheduler:
    """Return the scheduler's state.

    :param lock: hold it against other changes until the end of the transaction.
    :raises NotFound: if Scale has not been initialized.
    """
    found = session.get(Scheduler, 1, with_for_update=lock or None, populate_existing=lock)
    if found is None:
        raise NotFound("There is no scheduler yet: run `airflow scale init`.")
    return found


def pause_scheduler(session: Session, *, is_paused: bool) -> Scheduler:
    """Pause the scheduler, or let it go on; running work is left alone, and so are the nodes' own pauses.

    Once this is committed nothing starts any more, not even what had asked before.

    :raises NotFound: if Scale has not been initialized.
    """
    hold_pauses(session, to_change=True)
    scheduler = get_scheduler(session, lock=True)
    scheduler.is_paused = is_paused
    session.flush()
    wake(session)
    return scheduler


def sign_tick(session: Session) -> None:
    """Note that the queue is looked at, for ``airflow scale check``; the scheduler's own state stays."""
    session.execute(update(Scheduler).values(last_tick=utcnow(), last_modified=Scheduler.last_modified))
