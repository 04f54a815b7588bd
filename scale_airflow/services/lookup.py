# SPDX-License-Identifier: Apache-2.0
"""Find one row by the id that a request names, and the locks under which types are changed."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.errors import NotFound
from scale_airflow.store.base import Base

MAX_ID = 2**63 - 1
"""The largest id that the database can hold; a request may name any number."""

Row = TypeVar("Row", bound=Base)


def by_id(session: Session, model: type[Row], row_id: int, what: str, *, lock: bool = False) -> Row:
    """Return the row with this id.

    :param what: the kind of thing, for the message, e.g. ``"job type"``.
    :param lock: hold it against other changes until the end of the transaction, and read it anew.
        References to it can still be made.
    :raises NotFound: if there is none.
    """
    found: Row | None = None
    if 0 < row_id <= MAX_ID:
        options: dict[str, Any] = {"with_for_update": {"key_share": True, "of": model}} if lock else {}
        found = session.get(model, row_id, populate_existing=lock, **options)
    if found is None:
        raise NotFound(f"There is no {what} with the id {row_id}.")
    return found


def lock_name(session: Session, kind: str, *name: str) -> None:
    """Wait until no other transaction decides about the thing of this name; hold it to the end of this one.

    :param kind: what sort of thing, e.g. ``"recipe type"``.
    """
    key = json.dumps([kind, *name])
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
