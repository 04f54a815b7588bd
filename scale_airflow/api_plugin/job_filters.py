# SPDX-License-Identifier: Apache-2.0
"""Bodies that say which jobs are meant: for requests that change many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import Request
from sqlalchemy.orm import Session

from scale_airflow.api_plugin.bodies import Field, JsonBody, field_faults, refuse, require_object
from scale_airflow.api_plugin.errors import note
from scale_airflow.api_plugin.parameters import moment
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views.work import job
from scale_airflow.definitions.faults import Faults, pointer
from scale_airflow.errors import InvalidRequest
from scale_airflow.services.listing import Window
from scale_airflow.services.work_lists import JobFilter, JobTypeFilter, list_jobs

IGNORED = ("url", "page", "page_size", "order")
"""What real clients send along with their filters."""

_RANGE = "an ISO-8601 datetime with its zone, or an ISO-8601 duration, which means now minus it."
_FILTERS = (
    "started",
    "ended",
    "status",
    "job_ids",
    "job_type_ids",
    "job_type_names",
    "job_type_categories",
)


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
            "string", nullable=True, description="Only jobs in this state.", choices=tuple(statuses)
        ),
        "job_ids": _list("integer", "Only jobs with these identifiers.", example=[1, 2]),
        "job_type_ids": _list("integer", "Only jobs of the job types with these identifiers."),
        "job_type_names": _list("string", "Only jobs of job types with these names."),
        "job_type_categories": _list("string", "Only jobs of job types of these categories."),
    }


def _list(kind: str, description: str, example: Any = None) -> Field:
    return Field("array", nullable=True, description=description, example=example, items=Field(kind))


def read_filter(body: object, fields: Mapping[str, Field]) -> tuple[JobFilter, dict[str, Any]]:
    """Read which jobs are meant; return that, and the fields that are no filters.

    :param fields: those of :func:`filter_fields`, and others.
    :raises InvalidRequest: with every fault; also if there is no filter at all, which would mean every job,
        and for an empty list, which says nothing.
    """
    whole = require_object(body)
    faults = field_faults(whole, fields, ignored=IGNORED)
    given = {name: value for name, value in whole.items() if value is not None}
    for name in _FILTERS:
        if given.get(name) == []:
            faults.add(pointer(name), "", "This list is empty: it would mean no job. Leave it out.")
    started, ended = (_moment(given, name, faults) for name in ("started", "ended"))
    if started is not None and ended is not None and started >= ended:
        faults.add("/started", "", "The time range must start before it ends.")
    refuse(faults, body)
    wanted = JobFilter(
        given.get("status"),
        tuple(given.get("job_ids", ())),
        JobTypeFilter(
            tuple(given.get("job_type_ids", ())),
            tuple(given.get("job_type_names", ())),
            tuple(given.get("job_type_categories", ())),
        ),
        started,
        ended,
    )
    if wanted.means_all:
        faults.add("", "", f"Say which jobs are meant, by at least one of: {', '.join(_FILTERS)}.")
        refuse(faults, body)
    others = {name: given[name] for name in fields if name in given and name not in _FILTERS}
    return wanted, others


def meant_by(fields: Mapping[str, Field]) -> Callable[..., Any]:
    """Return a dependency that gives the body, and notes what :func:`read_filter` will refuse it for.

    So wrong query parameters do not hide what is wrong with the body.
    """

    def noted(request: Request, body: JsonBody) -> Any:
        try:
            read_filter(body, fields)
        except InvalidRequest as error:
            note(request, error.faults)
        return body

    return noted


def _moment(given: Mapping[str, Any], name: str, faults: Faults) -> Any:
    """Read a moment of the time range; None if it is not given, or wrong."""
    value = given.get(name)
    try:
        return moment(value) if isinstance(value, str) else None
    except ValueError as error:
        faults.add(pointer(name), "", str(error))
        return None


def listed(session: Session, job_ids: Sequence[int], window: Window) -> Reply:
    """Answer a page of jobs that a request has changed.

    It links no other page: to ask for one would be to change the jobs once more.
    """
    session.flush()
    found = list_jobs(session, JobFilter(job_ids=job_ids), window)
    return Reply(
        {"count": found.count, "next": None, "previous": None, "results": [job(each) for each in found.items]}
    )
