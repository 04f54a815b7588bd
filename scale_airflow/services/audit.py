# SPDX-License-Identifier: Apache-2.0
"""Who changed what: every change that a user makes stands in Airflow's event log.

The entry is written in the transaction of the change itself, so neither is there without the other. It says
which things were changed by their ids, and which of their fields; the content of documents stays out of it,
and with it any secret in them.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from scale_airflow.engine.event_log import add_event

PREFIX = "scale."
"""What the name of each of our events begins with."""

_MOST_ITEMS = 1000
_MOST_CHARACTERS = 500


def record(session: Session, who: str, what: str, **about: Any) -> None:
    """Write into the event log what somebody does in this transaction.

    :param who: the user's name.
    :param what: the action, e.g. ``edit_job``; the event's name is this after :data:`PREFIX`.
    :param about: ids of what is changed, names of the changed fields, and values that are no documents. Of a
        list, the first 1000 items are written, and how many there were.
    """
    extra: dict[str, Any] = {}
    for name, value in about.items():
        if isinstance(value, list | tuple) and len(value) > _MOST_ITEMS:
            extra[f"{name}_count"] = len(value)
        extra[name] = _brief(value)
    add_event(session, PREFIX + what, who, extra)


def record_command(session: Session, what: str, **about: Any) -> None:
    """Write into the event log what a command line does in this transaction, as the system's user."""
    record(session, _system_user(), what, command="airflow scale", **about)


def fields_of(document: object) -> list[str]:
    """Return the names of a document's fields, which may be told where its content may not."""
    return sorted(document) if isinstance(document, dict) else []


def names_in(document: object) -> dict[str, list[str]]:
    """Return the names, with their versions, of what a valid configuration document holds, by its kind."""
    if not isinstance(document, dict):
        return {}
    return {
        kind: [" ".join(str(each[key]) for key in ("name", "version") if key in each) for each in entries]
        for kind, entries in document.items()
        if isinstance(entries, list)
    }


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run with an id that has no name
        return "unknown"


def _brief(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MOST_CHARACTERS else f"{value[:_MOST_CHARACTERS]}…"
    if isinstance(value, list | tuple):
        return [_brief(each) for each in value[:_MOST_ITEMS]]
    if isinstance(value, Mapping):
        return {_brief(str(name)): _brief(each) for name, each in value.items()}
    return value
