# SPDX-License-Identifier: Apache-2.0
"""Bodies that say which jobs are meant: for requests that change many at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from scale_airflow.api_plugin.bodies import Field, check_fields
from scale_airflow.api_plugin.parameters import MAX_ID, moment
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views.work import job
from scale_airflow.definitions.faults import describe, pointer
from scale_airflow.errors import Fault, InvalidRequest
from scale_airflow.services.listing import Window
from scale_airflow.services.work_lists import JobFilter, JobTypeFilter, list_jobs

IGNORED = ("url", "page", "page_size", "order")
"""What real clients send along with their filters."""

_RANGE = "an ISO-8601 datetime with its zone, or an ISO-8601 duration, which means now minus it."
_MOST_FAULTS = 20


def filter_fields(statuses: Sequence[str]) -> dict[str, Field]:
    """Return the fields by which jobs are chosen; null is as good as not given.

    :param statuses: the states that may be asked for.
    """
    return {
        "started": Field(
            "string",
            nullable=True,
            description=f"Only jobs that were modified from then on: {_RANGE}",
            example="PT3H0M0S",
        ),
        "ended": Field(
            "string", nullable=True, description=f"Only jobs that were modified up to then: {_RANGE}"
        ),
        "status": Field(
            "string", nullable=True, description=f"Only jobs in this state: {', '.join(statuses)}."
        ),
        "job_ids": Field(
            "array", nullable=True, description="Only jobs with these identifiers.", example=[1, 2]
        ),
        "job_type_ids": Field(
            "array", nullable=True, description="Only jobs of the job types with these identifiers."
        ),
        "job_type_names": Field(
            "array", nullable=True, description="Only jobs of job types with these names."
        ),
        "job_type_categories": Field(
            "array", nullable=True, description="Only jobs of job types of these categories."
        ),
    }


def read_filter(
    body: object, fields: Mapping[str, Field], statuses: Collection[str]
) -> tuple[JobFilter, dict[str, Any]]:
    """Read which jobs are meant; return that, and the fields that are no filters.

    :raises InvalidRequest: with every fault; also if there is no filter at all, which would mean every job,
        and for an empty list, which says nothing.
    """
    given = {
        name: value
        for name, value in check_fields(body, fields, ignored=IGNORED).items()
        if value is not None
    }
    faults: list[Fault] = []

    def values(name: str, is_right: Callable[[Any], bool], wanted: str) -> tuple[Any, ...]:
        found = given.pop(name, ())
        if found == []:
            faults.append(Fault(pointer(name), "This list is empty: it would mean no job. Leave it out."))
        for index, value in enumerate(found):
            if not is_right(value) and len(faults) < _MOST_FAULTS:
                message = f"This must be {wanted}, but it is {describe(value)}."
                faults.append(Fault(f"{pointer(name)}/{index}", message))
        return tuple(found)

    def time(name: str) -> Any:
        try:
            return moment(given.pop(name, ""))
        except ValueError as error:
            faults.append(Fault(pointer(name), str(error)))
            return None

    status = given.pop("status", None)
    if status is not None and status not in statuses:
        faults.append(Fault("/status", f"The status must be one of {', '.join(statuses)}."))
    wanted = JobFilter(
        status,
        values("job_ids", _is_id, "a whole number of at most 64 bits"),
        JobTypeFilter(
            values("job_type_ids", _is_id, "a whole number of at most 64 bits"),
            values("job_type_names", _is_text, "a string"),
            values("job_type_categories", _is_text, "a string"),
        ),
        time("started"),
        time("ended"),
    )
    if wanted.started is not None and wanted.ended is not None and wanted.started >= wanted.ended:
        faults.append(Fault("/started", "The time range must start before it ends."))
    if not faults and wanted.means_all:
        filters = ", ".join(name for name in fields if name not in given)
        faults.append(Fault("", f"Say which jobs are meant, by at least one of: {filters}."))
    if faults:
        raise InvalidRequest(" ".join(fault.message for fault in faults[:_MOST_FAULTS]), faults)
    return wanted, given


def listed(session: Session, job_ids: Sequence[int], window: Window) -> Reply:
    """Answer a page of jobs that a request has changed.

    It links no other page: to ask for one would be to change the jobs once more.
    """
    session.flush()
    found = list_jobs(session, JobFilter(job_ids=job_ids), window)
    return Reply(
        {"count": found.count, "next": None, "previous": None, "results": [job(each) for each in found.items]}
    )


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ID


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
