# SPDX-License-Identifier: Apache-2.0
"""What was put right between Airflow and Scale: one line in the log and one row for each repair."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from scale_airflow.store.models import Job, Repair, utcnow

log = logging.getLogger(__name__)

#: What is repaired (how-to page "What the reconciler repairs"): what was done to the job or to its task.
Kind = Literal[
    "job-canceled-run-deleted",
    "job-canceled-task-ended",
    "job-canceled-task-success",
    "job-requeued-task-cleared",
    "task-set-success",
    "task-set-failed",
    "task-cleared",
    "task-tried-again",
    "task-priority",
]

#: How long the rows are kept, and how many of them at most.
KEPT_FOR = timedelta(days=30)
KEPT = 100_000


def record(
    session: Session,
    kind: Kind,
    job: Job | None,
    *,
    before: str,
    after: str,
    text: str,
    execution_id: int | None = None,
) -> None:
    """Remember a repair, and say it in the log.

    :param job: whose task it was; None for a task that stands for no job, as a Strike process's.
    :param execution_id: of the execution that it ended or began, if any.
    """
    job_id = None if job is None else job.id
    session.add(
        Repair(kind=kind, job_id=job_id, job_exe_id=execution_id, before=before, after=after, text=text)
    )
    log.warning(
        "repair kind=%s job=%s execution=%s before=%r after=%r: %s",
        kind,
        "-" if job_id is None else job_id,
        "-" if execution_id is None else execution_id,
        before,
        after,
        text,
    )


@dataclass(frozen=True, slots=True)
class RepairReport:
    """The repairs of some time.

    :param counts: how many of each kind, the most frequent first.
    :param latest: the latest of them, newest first.
    """

    counts: dict[str, int]
    latest: list[Repair]


def report(session: Session, *, since: datetime, latest: int = 5) -> RepairReport:
    """Return what was repaired since then."""
    counted = session.execute(
        select(Repair.kind, func.count().label("count"))
        .where(Repair.occurred >= since)
        .group_by(Repair.kind)
        .order_by(func.count().desc(), Repair.kind)
    )
    rows = session.scalars(
        select(Repair)
        .where(Repair.occurred >= since)
        .order_by(Repair.occurred.desc(), Repair.id.desc())
        .limit(latest)
    )
    return RepairReport({row[0]: row[1] for row in counted}, list(rows))


def prune(session: Session) -> int:
    """Forget what was repaired long ago, and what is beyond :data:`KEPT`.

    :returns: how many repairs were forgotten.
    """
    newest = session.execute(select(func.max(Repair.id))).scalar() or 0
    gone = session.scalars(
        delete(Repair)
        .where((Repair.occurred < utcnow() - KEPT_FOR) | (Repair.id <= newest - KEPT))
        .returning(Repair.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())


def summary(session: Session, *, since: datetime) -> list[tuple[str, str]]:
    """Say in sentences what was repaired since then: how many of each kind, then the latest of them.

    :returns: what each is about, ``repairs`` or ``repair``, and the sentence.
    """
    found = report(session, since=since)
    if not found.counts:
        return [("repairs", "Airflow and Scale agreed; nothing was repaired in the last day.")]
    counted = ", ".join(f"{count} {kind}" for kind, count in found.counts.items())
    lines = [("repairs", f"Repaired in the last day: {counted}.")]
    for repair in found.latest:
        moment = repair.occurred.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        job = "" if repair.job_id is None else f"job {repair.job_id}"
        execution = "" if repair.job_exe_id is None else f", execution {repair.job_exe_id}"
        subject = f" {job}{execution}:" if job else ""
        lines.append(
            (
                "repair",
                f"{moment} {repair.kind}:{subject} {repair.before} -> {repair.after}. {repair.text}",
            )
        )
    return lines
