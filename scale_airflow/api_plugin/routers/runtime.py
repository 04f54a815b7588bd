# SPDX-License-Identifier: Apache-2.0
"""The runtime endpoints: what workers, triggers and node agents say to the API server.

They take only the secret of the workers' connection, which may claim, and the tokens that claims hand out.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import PlainTextResponse

from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.runtime_access import (
    ExecutionId,
    bearer,
    raw_body,
    read_message,
    require_secret,
)
from scale_airflow.config import settings
from scale_airflow.execution.order import (
    BeatReport,
    ClaimRequest,
    CompletionReport,
    FailureReport,
    LogChunk,
    NodeBeat,
)
from scale_airflow.services import claims, dag_files, executions, logs, nodes, storage_checks
from scale_airflow.store.session import transaction

router = APIRouter(prefix="/runtime", tags=["Runtime"])

Body = Annotated[bytes, Depends(raw_body)]
Token = Annotated[str, Depends(bearer)]
_SECRET: list[Any] = [Depends(require_secret)]


@router.post("/claim/", dependencies=_SECRET)
def claim(body: Body) -> Reply:
    """Give a running task its job execution, with a token for this execution alone."""
    request = read_message(ClaimRequest, body)
    with transaction(point="runtime.claim") as session:
        answer = claims.claim(session, request, settings())
    return Reply(answer.to_dict())


@router.post("/reserve/", dependencies=_SECRET)
def reserve(body: Body) -> Reply:
    """Reserve room for a waiting task if there is any."""
    request = read_message(ClaimRequest, body)
    with transaction(point="runtime.reserve") as session:
        answer = claims.reserve(session, request, settings())
    return Reply(answer.to_dict())


@router.post("/executions/{execution_id}/log/")
def append_log(execution_id: ExecutionId, token: Token, body: Body) -> Reply:
    """Keep a piece of what an execution wrote."""
    with transaction(point="runtime.append_log") as session:
        executions.authenticate(session, execution_id, token)
        chunk = read_message(LogChunk, body)
        takes_more = logs.append_log(session, execution_id, chunk, settings().max_log_bytes)
    return Reply({"more": takes_more})


@router.post("/executions/{execution_id}/beat/")
def beat(execution_id: ExecutionId, token: Token, body: Body) -> Reply:
    """Record that an execution is alive; say whether it goes on."""
    with transaction(point="runtime.beat") as session:
        executions.authenticate(session, execution_id, token)
        report = read_message(BeatReport, body)
        answer = executions.beat(session, execution_id, report)
    return Reply(answer.to_dict())


@router.post("/executions/{execution_id}/complete/")
def complete(execution_id: ExecutionId, token: Token, body: Body) -> Reply:
    """Commit the results of an execution."""
    with transaction(point="runtime.complete") as session:
        place = executions.authenticate(session, execution_id, token)
        report = read_message(CompletionReport, body)
        answer = executions.complete(session, execution_id, report, token, place)
    return Reply(answer.to_dict())


@router.post("/executions/{execution_id}/fail/")
def fail(execution_id: ExecutionId, token: Token, body: Body) -> Reply:
    """Record that an execution failed; say whether the job is retried."""
    with transaction(point="runtime.fail") as session:
        place = executions.authenticate(session, execution_id, token)
        report = read_message(FailureReport, body)
        answer = executions.fail(session, execution_id, report, token, place)
    return Reply(answer.to_dict())


@router.post("/nodes/beat/", dependencies=_SECRET)
def node_beat(body: Body) -> Reply:
    """Record that a host's agent is alive; say what is to be killed and forgotten there."""
    report = read_message(NodeBeat, body)
    with transaction(point="runtime.node_beat") as session:
        answer = nodes.beat(session, report, settings())
    return Reply(answer.to_dict())


@router.get("/places/", dependencies=_SECRET)
def list_places() -> Reply:
    """List the directories of workspaces and Strike processes, which a worker's host should have."""
    with transaction() as session:
        return Reply(storage_checks.places_of(session))


@router.get("/dag-files/", dependencies=_SECRET)
def list_dag_files(
    after: Annotated[
        int,
        Query(ge=0, le=2**63 - 1, description="Only files that were published after the one with this id."),
    ] = 0,
) -> Reply:
    """List the generated DAG files that were published after the one with this id."""
    with transaction() as session:
        listed = dag_files.list_files(session, after)
    return Reply({"files": [asdict(entry) for entry in listed]})


@router.get("/dag-files/{file_name}/", dependencies=_SECRET)
def read_dag_file(
    file_name: Annotated[str, Path(description="Its name, as it is listed.")],
) -> PlainTextResponse:
    """Give the text of a generated DAG file."""
    with transaction() as session:
        return PlainTextResponse(dag_files.read_file(session, file_name))
