# SPDX-License-Identifier: Apache-2.0
"""Reports of running executions: signs of life, completion, failure. Each is one transaction and may be
repeated; one for an execution that is over is ignored."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from dateutil.parser import isoparse
from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.config import settings
from scale_airflow.definitions.error_mapping import ErrorMapping
from scale_airflow.errors import Fault, Forbidden, InvalidDocument, NotFound
from scale_airflow.execution.order import (
    BeatAnswer,
    BeatReport,
    CompletionReport,
    FailureReport,
    ReportAnswer,
)
from scale_airflow.services import facts, products
from scale_airflow.services.jobs import complete_job, end_execution, error_named, retry_or_fail
from scale_airflow.services.locks import lock_execution, lock_job_of
from scale_airflow.services.lookup import MAX_ID
from scale_airflow.services.node_health import pause_if_failing
from scale_airflow.store.models import Job, JobExecution, utcnow


@dataclass(frozen=True, slots=True)
class Place:
    """Which job an execution is of, and which recipe that is of: it never changes."""

    job_id: int
    recipe_id: int | None


def authenticate(session: Session, execution_id: int, token: str) -> Place:
    """Check that a token is the one that the execution's latest claim handed out; return whose it is.

    :raises Forbidden: if there is no such execution, or the token is another one; the answer does not tell
        which part is wrong.
    """
    found = _find(session, execution_id)
    _require_token(execution_id, found[1] if found else None, token)
    assert found is not None
    return found[0]


def _find(session: Session, execution_id: int) -> tuple[Place, str | None] | None:
    """Return whose an execution is, and its token's hash."""
    if not 0 < execution_id <= MAX_ID:
        return None
    row = session.execute(
        select(JobExecution.job_id, Job.recipe_id, JobExecution.token_sha256)
        .join(Job, Job.id == JobExecution.job_id)
        .where(JobExecution.id == execution_id)
    ).one_or_none()
    return None if row is None else (Place(row.job_id, row.recipe_id), row.token_sha256)


def _require_token(execution_id: int, stored: str | None, token: str) -> None:
    given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    if stored is None or not hmac.compare_digest(stored, given):
        raise Forbidden(f"This token is not that of job execution {execution_id}.")


def beat(session: Session, execution_id: int, report: BeatReport) -> BeatAnswer:
    """Record that an execution is alive and how far it is; say whether it goes on."""
    execution = lock_execution(session, execution_id)
    if execution is None:
        raise NotFound(f"There is no job execution {execution_id}.")
    if execution.status != "RUNNING":
        return BeatAnswer(False, execution.message or f"The execution is {execution.status}.")
    if execution.stop_requested is not None:
        return BeatAnswer(False, "The execution is to be stopped.")
    execution.last_beat = utcnow()
    _note_progress(execution, report)
    return BeatAnswer(True)


def complete(
    session: Session,
    execution_id: int,
    report: CompletionReport,
    token: str | None = None,
    place: Place | None = None,
) -> ReportAnswer:
    """Commit what an execution produced: products, parse results and what follows from them, all at once.

    A report whose results the job's interface forbids is a failure of the job (error ``unknown``).

    :param token: what the report came with. It is checked once more: a new try may have claimed the execution
        while the report waited for its turn.
    :param place: what :func:`authenticate` has returned; looked up if not given.
    :raises Forbidden: if the token is another one by now.
    """
    job, execution = _locked(session, execution_id, token, place)
    if execution.status != "RUNNING":
        return _answer_again(job, execution)
    facts.interface_of(job.job_type_rev)  # read now: reading sends first what has changed
    _note_progress(execution, report)
    execution.job_exit_code = report.exit_code
    execution.environment = report.environment
    # Nothing is stored before the report was checked, so without results there is nothing to take back.
    has_results = report.outputs or report.parse_results
    try:
        with session.begin_nested() if has_results else nullcontext():
            _commit_results(session, job, execution, report)
    except InvalidDocument as error:
        return _fail(session, job, execution, "unknown", str(error))
    return ReportAnswer("done", f"Job {job.id} is COMPLETED.")


def _commit_results(session: Session, job: Job, execution: JobExecution, report: CompletionReport) -> None:
    results = products.store_products(session, job, execution, report)
    execution.results = results.to_document()
    execution.results_manifest = report.manifest
    execution.warnings = [*execution.warnings, *report.warnings]
    if execution.unswept == 1:
        execution.unswept = 0  # no other worker can have stored what this report does not name
    end_execution(execution, "COMPLETED")
    complete_job(session, job, results)
    products.publish(session, job, execution)
    products.apply_parse_results(session, job, execution, report.parse_results)
    session.flush()


def fail(
    session: Session,
    execution_id: int,
    report: FailureReport,
    token: str | None = None,
    place: Place | None = None,
) -> ReportAnswer:
    """Record a failed execution; say whether the job is retried.

    :param token: as for :func:`complete`.
    :param place: likewise.
    :raises Forbidden: if the token is another one by now.
    """
    job, execution = _locked(session, execution_id, token, place)
    if execution.status != "RUNNING":
        return _answer_again(job, execution)
    _note_progress(execution, report)
    execution.job_exit_code = report.exit_code
    execution.environment = report.environment
    execution.results_manifest = report.manifest
    name = report.error_name or _mapped_error(job, report.exit_code)
    return _fail(session, job, execution, name, report.message)


def lose_execution(
    session: Session, job: Job, execution: JobExecution, message: str, *, error_name: str = "mesos-lost"
) -> None:
    """End a running execution whose worker can't report any more, as a system error; both are locked."""
    execution.is_given_up = True
    _fail(session, job, execution, error_name, message)


def _locked(
    session: Session, execution_id: int, token: str | None, place: Place | None
) -> tuple[Job, JobExecution]:
    if place is None:
        found = _find(session, execution_id)
        if found is None:
            raise NotFound(f"There is no job execution {execution_id}.")
        place = found[0]
    job = lock_job_of(session, place.job_id, place.recipe_id)
    execution = lock_execution(session, execution_id)
    assert execution is not None
    if token is not None:
        _require_token(execution_id, execution.token_sha256, token)
    return job, execution


def _answer_again(job: Job, execution: JobExecution) -> ReportAnswer:
    """Answer a report on an execution that is over as the first one was: its answer may have got lost."""
    text = f"Job execution {execution.id} is {execution.status} already."
    if execution.status == "COMPLETED":
        return ReportAnswer("done", text)
    if execution.status != "FAILED" or execution.is_given_up:
        return ReportAnswer("ignored", text)
    if job.num_exes > execution.exe_num:
        return ReportAnswer("retry", f"{text} Try {job.num_exes} of job {job.id} follows.")
    return ReportAnswer("failed", f"{text} Job {job.id} is {job.status}.")


def _fail(session: Session, job: Job, execution: JobExecution, error_name: str, message: str) -> ReportAnswer:
    error = error_named(session, error_name)
    end_execution(execution, "FAILED", error=error, message=message)
    has_used_up = job.num_exes >= job.max_tries  # a long-running one is tried on all the same
    session.flush()
    is_retried = retry_or_fail(session, job, error)
    session.flush()
    if error.category == "SYSTEM" and has_used_up and execution.node_id is not None:
        pause_if_failing(session, execution.node_id, settings())
    if is_retried:
        return ReportAnswer(
            "retry", f"{error.title} ({error.name}): try {job.num_exes} of job {job.id} follows."
        )
    return ReportAnswer("failed", f"{error.title} ({error.name}, {error.category}): job {job.id} is FAILED.")


def _mapped_error(job: Job, exit_code: int | None) -> str:
    mapped = ErrorMapping.parse(job.job_type.error_mapping).error_name(exit_code)
    return mapped or "unknown"


def _note_progress(execution: JobExecution, report: BeatReport | CompletionReport | FailureReport) -> None:
    """Record how far an execution is, and the arguments of its command once they are known."""
    for name, value in report.times.to_dict().items():
        if value is not None:
            setattr(execution, name, _moment(name, value))
    if report.command_arguments is not None:
        execution.command_arguments = report.command_arguments


def _moment(name: str, value: str) -> datetime:
    try:
        moment = isoparse(value)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidDocument(
            "report", [Fault(f"/times/{name}", f"{value!r} is not an ISO 8601 date and time with a zone")]
        )
    return moment
