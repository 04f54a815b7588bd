# SPDX-License-Identifier: Apache-2.0
"""Pages of Strike processes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.services.listing import Found, Window, fetch, order_fields, within
from scale_airflow.services.plot_data import STRIKE_FORM
from scale_airflow.services.work_lists import JOB_TYPE_FIELDS
from scale_airflow.store.models import Strike

STRIKE_FIELDS = order_fields(
    "id",
    "name",
    "title",
    "description",
    "is_active",
    "created",
    "last_modified",
    job=(
        "id",
        "status",
        "priority",
        "num_exes",
        "event__id",
        "error__id",
        "job_type_rev__id",
        *(f"job_type__{name}" for name in JOB_TYPE_FIELDS),
    ),
)


def list_strikes(session: Session, window: Window, *, names: Sequence[str] = ()) -> Found[Strike]:
    """Return a page of the Strike processes with these names, or of all; the range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    statement = within(select(Strike), Strike.last_modified, window)
    if names:
        statement = statement.where(Strike.name.in_(names))
    return fetch(session, statement, window, fields=STRIKE_FIELDS, default=("name",), options=STRIKE_FORM)
