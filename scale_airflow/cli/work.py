# SPDX-License-Identifier: Apache-2.0
"""``airflow scale cancel`` and ``airflow scale requeue``: one job or thousands, after a look at which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from scale_airflow.cli.session import action, show
from scale_airflow.definitions.faults import quote
from scale_airflow.errors import Fault, InvalidRequest, NotFound

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from scale_airflow.services.job_choice import ChosenJob
    from scale_airflow.services.work_lists import JobFilter


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


def _change(args: Any, change: _Change) -> None:
    from scale_airflow.services.audit import record_command
    from scale_airflow.services.job_choice import look
    from scale_airflow.services.work_lists import JobFilter
    from scale_airflow.store.session import transaction

    with transaction() as session:
        before = look(session, _filter_of(session, args))
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
        after = look(session, JobFilter(job_ids=[row.id for row in before]))
    _tell(args.output, change, before, after)


def _filter_of(session: Session, args: Any) -> JobFilter:
    """Read which jobs are meant.

    :raises InvalidRequest: with everything that is wrong: no job type or error of that name, a time that
        can't be read; or if nothing says which.
    """
    from scale_airflow.services.job_choice import errors_unknown, job_types_named
    from scale_airflow.services.work_lists import JobFilter, JobTypeFilter

    type_ids, wrong_types = job_types_named(session, args.job_type) if args.job_type else ([], [])
    faults = [Fault("--job-type", message) for message in wrong_types]
    faults += [Fault("--error", message) for message in errors_unknown(session, args.error or ())]
    started = _moment("--started", args.started, faults)
    ended = _moment("--ended", args.ended, faults)
    if started is not None and ended is not None and started >= ended:
        faults.append(Fault("--started", "The start must be before the end, --ended."))
    _refuse(faults)
    job_types = JobTypeFilter(ids=type_ids)
    wanted = JobFilter(args.status, args.job_ids or (), job_types, started, ended, args.error or ())
    if wanted.means_all:
        raise InvalidRequest(
            "Say which jobs: by their ids, --job-type, --status, --error, --started or --ended."
        )
    return wanted


def _moment(option: str, value: str | None, faults: list[Fault]) -> Any:
    from scale_airflow.api_plugin.parameters import moment

    try:
        return None if value is None else moment(value)
    except ValueError as error:
        faults.append(Fault(option, f"{error} It is {quote(value or '')}."))
        return None


def _refuse(faults: Sequence[Fault]) -> None:
    if len(faults) == 1:
        raise InvalidRequest(f"{faults[0].path}: {faults[0].message}")
    if faults:
        raise InvalidRequest("Several options are wrong:", faults)


def _confirm(change: _Change, meant: Sequence[ChosenJob], *, skipped: int) -> None:
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


def _tell(output: str, change: _Change, before: Sequence[ChosenJob], after: Sequence[ChosenJob]) -> None:
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


def _groups(before: Sequence[ChosenJob], after: Sequence[ChosenJob]) -> list[dict[str, Any]]:
    now = {row.id: row.status for row in after}
    counts = Counter((row.job_type, row.version, row.status, now.get(row.id, row.status)) for row in before)
    return [
        {"job type": name, "version": version, "was": was, "is": now_is, "jobs": count}
        for (name, version, was, now_is), count in sorted(counts.items())
    ]


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"
