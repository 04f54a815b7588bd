# SPDX-License-Identifier: Apache-2.0
"""The runtime endpoint of clock rules."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

from dateutil.parser import isoparse
from fastapi import APIRouter, Depends, Path

from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.runtime_access import raw_body, read_message, require_secret
from scale_airflow.definitions.documents import load_json
from scale_airflow.errors import InvalidRequest
from scale_airflow.execution.ingest.messages import TaskIdentity
from scale_airflow.services import clock, daily_metrics
from scale_airflow.store.session import transaction

log = logging.getLogger(__name__)

router = APIRouter(prefix="/runtime/clock", tags=["Runtime"])

RuleId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The clock rule.")]


@router.post("/{rule_id}/fire/", dependencies=[Depends(require_secret)])
def fire(rule_id: RuleId, body: Annotated[bytes, Depends(raw_body)]) -> Reply:
    """Record that a clock rule's scheduled moment has come."""
    document: Any = load_json(body)
    text = document.get("scheduled") if isinstance(document, dict) else None
    scheduled = None
    if isinstance(text, str):
        with suppress(ValueError, OverflowError):
            scheduled = isoparse(text)
    if scheduled is None or scheduled.tzinfo is None:
        raise InvalidRequest('The body must be {"scheduled": "<ISO 8601 date and time with a zone>"}.')
    with transaction(point="clock.fire") as session:
        message = clock.fire(session, rule_id, scheduled)
    return Reply({"message": message})


@router.post("/{rule_id}/metrics/", dependencies=[Depends(require_secret)])
def compute_metrics(rule_id: RuleId, body: Annotated[bytes, Depends(raw_body)]) -> Reply:
    """Work out the metrics of the next day that waits for it.

    That a day has begun is committed first, so that it shows, and counts as a try, whatever dies. Its metrics
    and its end are one transaction.
    """
    asking = read_message(TaskIdentity, body)
    with transaction(point="runtime.begin_metrics") as session:
        turn = daily_metrics.begin_next(session, rule_id, asking)
    if turn.execution_id is None:
        return Reply({"day": None, "wait": turn.wait, "is_again": turn.is_again, "failed": turn.failed})
    try:
        with transaction(point="runtime.compute_metrics") as session:
            result = daily_metrics.finish(session, turn.execution_id)
    except Exception as error:
        # Whatever it was, it is this day's alone: it is recorded with its job, and the others go on.
        log.exception("Execution %s of daily metrics failed", turn.execution_id)
        with transaction(point="runtime.fail_metrics") as session:
            result = daily_metrics.fail(session, turn.execution_id, error)
    return Reply(asdict(result))
