# SPDX-License-Identifier: Apache-2.0
"""Job execution services: the tries of jobs, and their logs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import StreamingResponse

from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.filters import JobTypesDep
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import ordered_by, page_of
from scale_airflow.api_plugin.parameters import Identifier, Lines, Moment, OneOf, PathId
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views import work
from scale_airflow.services import work_details, work_lists
from scale_airflow.services.listing import Window
from scale_airflow.services.log_parts import LogPart
from scale_airflow.store.models import EXECUTION_STATUSES
from scale_airflow.store.session import transaction

Stream = Annotated[Literal["stdout", "stderr"], Path(description="Which of both: stdout or stderr.")]

_TAIL = "Only the last lines, this many."
_SINCE = (
    "Only what arrived from then on: an ISO-8601 datetime with its zone, or an ISO-8601 duration, which "
    "means now minus it."
)


async def log_part(
    since: Annotated[Moment, Query(description=_SINCE)] = None,
    tail: Annotated[Lines, Query(description=_TAIL)] = None,
) -> LogPart:
    """Read which part of the logs is wanted."""
    return LogPart(since, tail)


PartDep = Annotated[LogPart, Depends(log_part)]

router = APIRouter(tags=["Job executions"], dependencies=[Depends(requires("GET", "Scale Jobs"))])


@router.get("/job-executions/", summary="Job execution list")
def list_executions(
    request: Request,
    window: Annotated[Window, ordered_by(work_lists.EXECUTION_FIELDS)],
    job_types: JobTypesDep,
    status: Annotated[
        str | None, OneOf(*EXECUTION_STATUSES), Query(description="Only executions with this status.")
    ] = None,
    node_id: Annotated[
        list[Identifier], Query(description="Only executions on the node with this identifier; repeatable.")
    ] = [],  # noqa: B006 - FastAPI copies it
) -> Reply:
    """Return all executions, in the order of `last_modified` unless another is asked for."""
    with transaction() as session:
        found = work_lists.list_executions(
            session, window, status=status, job_types=job_types, node_ids=tuple(node_id)
        )
        return page_of(request, window, found, work.execution)


@router.get("/job-executions/{execution_id}/", summary="Job execution details")
def get_execution(execution_id: PathId, links: LinksDep) -> Reply:
    """Return an execution with its job, node, environment, resources and results."""
    with transaction() as session:
        return Reply(work.execution_details(work_details.execution_details(session, execution_id), links))


@router.get("/job-executions/{execution_id}/logs/", summary="Job execution logs")
def get_logs(execution_id: PathId, part: PartDep) -> Reply:
    """Return an execution with its stdout and stderr: what there is so far while it runs.

    They are whole unless `since` or `tail`, which the specification does not have, ask for a part.
    """
    with transaction() as session:
        execution = work_details.execution_in_list_form(session, execution_id)
        return Reply(
            {
                **work.execution(execution),
                "is_finished": execution.status not in ("QUEUED", "RUNNING"),
                "stdout": part.text(session, execution_id, "stdout"),
                "stderr": part.text(session, execution_id, "stderr"),
            }
        )


@router.get("/job-executions/{execution_id}/logs/{stream}/", summary="Job execution log as text")
def get_log(execution_id: PathId, stream: Stream, part: PartDep) -> StreamingResponse:
    """Return what an execution wrote to one of its streams, as plain text."""
    with transaction() as session:
        work_details.execution_in_list_form(session, execution_id)
    headers = {"Content-Security-Policy": "sandbox; default-src 'none'"}
    return StreamingResponse(
        _pieces(execution_id, stream, part), media_type="text/plain; charset=utf-8", headers=headers
    )


def _pieces(execution_id: int, stream: str, part: LogPart) -> Iterator[bytes]:
    with transaction() as session:
        yield from part.read(session, execution_id, stream)
