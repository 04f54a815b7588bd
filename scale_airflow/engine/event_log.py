# SPDX-License-Identifier: Apache-2.0
"""Airflow's own event log: what its page "Audit Log" and ``GET /api/v2/eventLogs`` show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_EVENT_LENGTH = 60
_OWNER_LENGTH = 500


def add_event(session: Session, event: str, owner: str, extra: Mapping[str, Any]) -> None:
    """Write one entry into the log, in the caller's transaction.

    :param event: what was done; at most 60 characters.
    :param owner: who did it; what is longer than Airflow keeps is cut.
    :param extra: more about it, as JSON.
    :raises ValueError: for a longer event.
    """
    from airflow.models.log import Log

    if len(event) > _EVENT_LENGTH:
        raise ValueError(f"{event!r} is longer than the {_EVENT_LENGTH} characters that an event may have.")
    name = owner[:_OWNER_LENGTH]
    session.add(Log(event=event, owner=name, owner_display_name=name, extra=json.dumps(extra)))
