# SPDX-License-Identifier: Apache-2.0
"""Jobs as people choose them: by the names of job types and errors, after a look at which they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.definitions.faults import quote, with_choice
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import ErrorModel, Job, JobType


@dataclass(frozen=True, slots=True)
class ChosenJob:
    """What a person is shown of a job.

    :param job_type: the name of its type; ``version`` is that of the type.
    """

    id: int
    job_type: str
    version: str
    status: str


def job_types_named(session: Session, names: Iterable[str]) -> tuple[list[int], list[str]]:
    """Return the ids of the job types that are called so, and a sentence on each name that none has.

    System job types are left out: nobody cancels or requeues their jobs by hand.

    :param names: ``name`` for all versions of it, or ``name:version``.
    """
    ids_of: dict[str, list[int]] = {}
    for row in session.execute(
        select(JobType.id, JobType.name, JobType.version)
        .where(JobType.is_system.is_(False))
        .order_by(JobType.id)
    ):
        ids_of.setdefault(row.name, []).append(row.id)
        ids_of.setdefault(f"{row.name}:{row.version}", []).append(row.id)
    found: list[int] = []
    wrong: list[str] = []
    for name in dict.fromkeys(names):
        if name in ids_of:
            found += ids_of[name]
        else:
            wrong.append(with_choice(f"There is no job type {quote(name)}.", "job types", name, ids_of))
    return found, wrong


def errors_unknown(session: Session, names: Sequence[str]) -> list[str]:
    """Return a sentence on each of these names that no error has."""
    if not names:
        return []
    known = set(session.scalars(select(ErrorModel.name)))
    return [
        with_choice(f"There is no error {quote(name)}.", "errors", name, known)
        for name in dict.fromkeys(names)
        if name not in known
    ]


def look(session: Session, wanted: JobFilter) -> list[ChosenJob]:
    """Return the jobs that are meant as they are now, in the order of their ids; none of the system's own."""
    query: Any = (
        select(Job.id, JobType.name, JobType.version, Job.status)
        .join(JobType, JobType.id == Job.job_type_id)
        .where(JobType.is_system.is_(False))
    )
    return [ChosenJob(*row) for row in session.execute(wanted.applied(query).order_by(Job.id))]
