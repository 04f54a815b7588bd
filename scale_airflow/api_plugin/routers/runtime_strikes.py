# SPDX-License-Identifier: Apache-2.0
"""The runtime endpoints of Strike processes: their sensors, triggers and ingest tasks.

The workers' secret, and a task that Airflow runs now, may look and take a batch; the batch's own token
reports on its files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path
from sqlalchemy.orm import Session

from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.runtime_access import raw_body, read_message, require_secret, require_token
from scale_airflow.execution.ingest.messages import (
    BatchRequest,
    ClearedRequest,
    Done,
    FinishRequest,
    MovedRequest,
    PlanRequest,
    ProgressRequest,
    SettleRequest,
    StoredRequest,
    SweepRequest,
    WatchRequest,
)
from scale_airflow.execution.wire import Message
from scale_airflow.services import ingest, ingest_plans, ingest_results, sweeps
from scale_airflow.store.session import transaction

router = APIRouter(prefix="/runtime/strikes", tags=["Runtime"])

RequestT = TypeVar("RequestT", bound=Message)
Service = Callable[[Session, int, RequestT], Message | None]
StrikeId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The Strike process.")]
Body = Annotated[bytes, Depends(raw_body)]
Execution = Annotated[int, Depends(require_token)]
_SECRET: list[Any] = [Depends(require_secret)]


@router.post("/{strike_id}/watch/", dependencies=_SECRET)
def watch(strike_id: StrikeId, body: Body) -> Reply:
    """Begin a look at the directory."""
    return _answer(sweeps.watch, strike_id, WatchRequest, body, point="strike.watch")


@router.post("/{strike_id}/sweep/", dependencies=_SECRET)
def sweep(strike_id: StrikeId, body: Body) -> Reply:
    """Record what a part of the directory's listing shows."""
    return _answer(sweeps.sweep, strike_id, SweepRequest, body, point="strike.sweep")


@router.post("/{strike_id}/moved/", dependencies=_SECRET)
def moved(strike_id: StrikeId, body: Body) -> Reply:
    """Record what became of moves."""
    return _answer(sweeps.moved, strike_id, MovedRequest, body, point="strike.moved")


@router.post("/{strike_id}/settle/", dependencies=_SECRET)
def settle(strike_id: StrikeId, body: Body) -> Reply:
    """End a look at the directory."""
    return _answer(sweeps.settle, strike_id, SettleRequest, body, point="strike.settle")


@router.post("/{strike_id}/progress/", dependencies=_SECRET)
def progress(strike_id: StrikeId, body: Body) -> Reply:
    """Record how far transfers are."""
    return _answer(sweeps.progress, strike_id, ProgressRequest, body, point="strike.progress")


@router.post("/{strike_id}/batch/", dependencies=_SECRET)
def batch(strike_id: StrikeId, body: Body) -> Reply:
    """Give an ingest task files to store."""
    return _answer(ingest.begin_batch, strike_id, BatchRequest, body, point="strike.batch")


@router.post("/{strike_id}/cleared/", dependencies=_SECRET)
def cleared(strike_id: StrikeId, body: Body) -> Reply:
    """Record what was cleared out of the directory."""
    return _answer(ingest.record_cleared, strike_id, ClearedRequest, body, point="strike.cleared")


@router.post("/{strike_id}/batch/{execution_id}/plan/")
def plan(strike_id: StrikeId, execution_id: Execution, body: Body) -> Reply:
    """Decide where files with these contents go."""
    return _answer(ingest_plans.plan, execution_id, PlanRequest, body, point="strike.plan")


@router.post("/{strike_id}/batch/{execution_id}/stored/")
def stored(strike_id: StrikeId, execution_id: Execution, body: Body) -> Reply:
    """Commit what became of files."""
    return _answer(ingest_results.commit_results, execution_id, StoredRequest, body, point="strike.stored")


@router.post("/{strike_id}/batch/{execution_id}/finish/")
def finish(strike_id: StrikeId, execution_id: Execution, body: Body) -> Reply:
    """End the batch's job."""
    return _answer(ingest.finish_batch, execution_id, FinishRequest, body, point="strike.finish")


def _answer(
    service: Service[RequestT], number: int, kind: type[RequestT], body: bytes, *, point: str
) -> Reply:
    """Read the request, serve it in one transaction, and write the answer."""
    request = read_message(kind, body)
    with transaction(point=point) as session:
        answer = service(session, number, request) or Done()
    return Reply(answer.to_dict())
