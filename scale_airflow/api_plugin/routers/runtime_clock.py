# SPDX-License-Identifier: Apache-2.0
"""The runtime endpoint of clock rules."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from dateutil.parser import isoparse
from fastapi import APIRouter, Depends, Path

from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.runtime_access import raw_body, require_secret
from scale_airflow.definitions.documents import load_json
from scale_airflow.errors import InvalidRequest
from scale_airflow.services import clock
from scale_airflow.store.session import transaction

router = APIRouter(prefix="/runtime/clock", tags=["Runtime"], include_in_schema=False)


@router.post("/{rule_id}/fire/", dependencies=[Depends(require_secret)])
def fire(
    rule_id: Annotated[int, Path(ge=1, le=2**63 - 1)], body: Annotated[bytes, Depends(raw_body)]
) -> Reply:
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
