# SPDX-License-Identifier: Apache-2.0
"""``airflow scale metrics``: works out the metrics of days that are over, once more."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

from scale_airflow.cli.session import action, show
from scale_airflow.errors import Fault, InvalidRequest


@action
def metrics_command(args: Any) -> None:
    """Replace the metrics of each day from the first up to the last one; each is a transaction of its own."""
    from scale_airflow.services.audit import record_command
    from scale_airflow.services.metrics import compute_day
    from scale_airflow.store.session import transaction

    first, last = args.day, args.until or args.day
    _check(first, last)
    rows = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        with transaction(point="cli.metrics") as session:
            counted = compute_day(session, day)
            record_command(session, "compute_metrics", day=day.isoformat())
        rows.append({"day": day.isoformat(), "jobs": counted["job-types"], "ingests": counted["ingests"]})
    show(rows, args.output)


def _check(first: date, last: date) -> None:
    """Refuse days that are not over, or the wrong way around.

    :raises InvalidRequest: saying which.
    """
    if last < first:
        message = f"The last day, {last}, is before the first one, {first}."
        raise InvalidRequest(message, [Fault("until", message)])
    today = datetime.now(timezone.utc).date()
    if last >= today:
        message = f"{last} is not over yet: in UTC it is {today}."
        raise InvalidRequest(message, [Fault("day", message)])
