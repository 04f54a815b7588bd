# SPDX-License-Identifier: Apache-2.0
"""``airflow scale cancel`` and ``airflow scale requeue``: one job or thousands, after a look at which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from scale_airflow.cli.session import action, show
from scale_airflow.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from scale_airflow.services.work_lists import JobFilter, JobTypeFilter


@action
def cancel_command(args: Any) -> None:
    """Cancel jobs; what runs of them is killed."""
    from scale_airflow.services.cancel import CANCELABLE, cancel_jobs
    from scale_airflow.store.session import transaction

    def cancel(session: Session, wanted: JobFilter) -> list[int]:
        return cancel_jobs(session, wanted).changed

    begin = partial(transaction, point="cli.cancel")
    _change(args, _Change("cancel", "canceled", CANCELABLE, begin, cancel))


@action
def requeue_command(args: Any) -> None:
    """Give FAILED and CANCELED jobs one more try."""
    from scale_airflow.services.requeue import REQUEUEABLE, requeue_jobs
    from scale_airflow.store.session import transaction

    def requeue(session: Session, wanted: JobFilter) -> list[int]:
        return requeue_jobs(session, wanted, priority=args.priority).changed

    begin = partial(transaction, point="cli.requeue")
    _change(args, _Change("requeue", "requeued", REQUEUEABLE, begin, requeue))


@dataclass(frozen=True, slots=True)
class _Change:
    """What is done to jobs.

    :param verb: as in "12 jobs to cancel"; ``done`` as in "12 jobs were canceled".
    :param statuses: what a job may be for it.
    :param begin: opens the transaction in which it is done.
    :param act: does it, and returns the ids of the jobs that it changed.
    """

    verb: str
    done: str
    statuses: Sequence[str]
    begin: Callable[[], AbstractContextManager[Session]]
    act: Callable[[Session, JobFilter], list[int]]


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    job_type: str
    version: str
    status: str


def _change(args: Any, change: _Change) -> None:
    from scale_airflow.services.audit import record_command
    from scale_airflow.services.work_lists import JobFilter
    from scale_airflow.store.session import transaction

    with transaction() as session:
        before = _look(session, _filter_of(session, args))
    meant = [row for row in before if row.status in change.statuses]
    if not before:
        raise NotFound("No job matches.")
    if args.dry_run or not meant:
        _tell(args.output, change, before, before)
        if args.output == "table":
            why = "--dry-run" if args.dry_run else f"none of the jobs is {' or '.join(change.statuses)}"
            print(f"Nothing was changed: {why}.")
        return
    if not args.yes:
        _confirm(change, meant, skipped=len(before) - len(meant))
    with change.begin() as session:
        # Those that were shown, and no others that have come since.
        changed = change.act(session, JobFilter(job_ids=[row.id for row in meant]))
        record_command(session, f"{change.verb}_jobs", job_ids=changed)
    with transaction() as session:
        after = _look(session, JobFilter(job_ids=[row.id for row in before]))
    _tell(args.output, change, before, after)


def _filter_of(session: Session, args: Any) -> JobFilter:
    """Read which jobs are meant.

    :raises InvalidRequest: if nothing says so, or a time can't be read.
    :raises NotFound: if there is no such job type or error.
    """
    from scale_airflow.services.work_lists import JobFilter

    wanted = JobFilter(
        status=args.status,
        job_ids=args.job_ids or (),
        job_types=_job_types(session, args.job_type or ()),
        started=_moment("--started", args.started),
        ended=_moment("--ended", args.ended),
        error_names=_errors(session, args.error or ()),
    )
    if wanted.means_all:
        raise InvalidRequest(
            "Say which jobs: by their ids, --job-type, --status, --error, --started or --ended."
        )
    if wanted.started is not None and wanted.ended is not None and wanted.started >= wanted.ended:
        raise InvalidRequest("--started must be before --ended.")
    return wanted


def _moment(option: str, value: str | None) -> Any:
    from scale_airflow.api_plugin.parameters import moment

    try:
        return None if value is None else moment(value)
    except ValueError as error:
        raise InvalidRequest(f"{option} {value}: {error}") from None


def _job_types(session: Session, names: Iterable[str]) -> JobTypeFilter:
    from sqlalchemy import select

    from scale_airflow.services.work_lists import JobTypeFilter
    from scale_airflow.store.models import JobType

    ids: list[int] = []
    for text in names:
        name, colon, version = text.partition(":")
        query = select(JobType.id).where(JobType.name == name)
        found = session.scalars(query.where(JobType.version == version) if colon else query).all()
        if not found:
            rows = session.execute(select(JobType.name, JobType.version).order_by(JobType.name)).all()
            known = [f"{row.name}:{row.version}" for row in rows] + sorted({row.name for row in rows})
            raise NotFound(f"There is no job type {text!r}.{_hint(text, known)}")
        ids += found
    return JobTypeFilter(ids=ids)


def _errors(session: Session, names: Sequence[str]) -> Sequence[str]:
    from sqlalchemy import select

    from scale_airflow.store.models import ErrorModel

    known = set(session.scalars(select(ErrorModel.name)))
    for name in names:
        if name not in known:
            raise NotFound(f"There is no error {name!r}.{_hint(name, sorted(known))}")
    return names


def _hint(name: str, known: Sequence[str]) -> str:
    from scale_airflow.definitions.faults import nearest

    near = nearest(name, known)
    return f" Did you mean {near!r}?" if near else ""


def _look(session: Session, wanted: JobFilter) -> list[_Row]:
    from sqlalchemy import select

    from scale_airflow.store.models import Job, JobType

    query: Any = select(Job.id, JobType.name, JobType.version, Job.status)
    query = query.join(JobType, JobType.id == Job.job_type_id).where(JobType.is_system.is_(False))
    return [_Row(*row) for row in session.execute(wanted.applied(query).order_by(Job.id)).all()]


def _confirm(change: _Change, meant: Sequence[_Row], *, skipped: int) -> None:
    """Ask the user, who sees what would be changed.

    :raises InvalidRequest: if the answer is no, or nobody is there to give one.
    """
    show(_groups(meant, meant), "table")
    more = f" ({skipped} more match, and stay as they are)" if skipped else ""
    try:
        answer = input(f"{change.verb.capitalize()} {_jobs(len(meant))}{more}? [y/N] ")
    except EOFError:
        raise InvalidRequest(
            "Nobody is there to confirm it: say --yes, or look first with --dry-run."
        ) from None
    if answer.strip().lower() not in ("y", "yes"):
        raise InvalidRequest("Nothing was changed.")


def _tell(output: str, change: _Change, before: Sequence[_Row], after: Sequence[_Row]) -> None:
    """Print what became of the jobs: a table by job type and state, or every job for programs."""
    now = {row.id: row.status for row in after}
    if output != "table":
        rows = [
            {
                "id": row.id,
                "job_type": row.job_type,
                "version": row.version,
                "before": row.status,
                "after": now.get(row.id),
            }
            for row in before
        ]
        show(rows, output)
        return
    show(_groups(before, after), output)
    changed = sum(row.status != now.get(row.id) for row in before)
    if changed:
        left = len(before) - changed
        more = f" {_jobs(left)} {'stays' if left == 1 else 'stay'} as before." if left else ""
        print(f"{_jobs(changed)} {'was' if changed == 1 else 'were'} {change.done}.{more}")


def _groups(before: Sequence[_Row], after: Sequence[_Row]) -> list[dict[str, Any]]:
    now = {row.id: row.status for row in after}
    counts = Counter((row.job_type, row.version, row.status, now.get(row.id, row.status)) for row in before)
    return [
        {"job type": name, "version": version, "was": was, "is": now_is, "jobs": count}
        for (name, version, was, now_is), count in sorted(counts.items())
    ]


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"
