# SPDX-License-Identifier: Apache-2.0
"""The runtime endpoints of file work: what node agents are to move and remove in workspaces."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.runtime_access import raw_body, read_message, require_secret
from scale_airflow.config import settings
from scale_airflow.execution.file_duties import (
    DutyAnswer,
    DutyRequest,
    DutyResult,
    SweepAnswer,
    SweepQuestion,
)
from scale_airflow.services import file_duties
from scale_airflow.store.session import transaction

router = APIRouter(
    prefix="/runtime/file-duties",
    tags=["Runtime"],
    dependencies=[Depends(require_secret)],
)

Body = Annotated[bytes, Depends(raw_body)]


@router.post("/")
def take(body: Body) -> Reply:
    """Give an agent what it is to do next."""
    request = read_message(DutyRequest, body)
    current = settings()
    with transaction(point="file_duties.take") as session:
        duties = file_duties.take(session, request, current)
    return Reply(DutyAnswer(duties, current.agent_beat_interval).to_dict())


@router.post("/result/")
def record(body: Body) -> Reply:
    """Take note of what became of one."""
    result = read_message(DutyResult, body)
    with transaction(point="file_duties.record") as session:
        file_duties.record(session, result)
    return Reply({})


@router.post("/sweep/")
def choose(body: Body) -> Reply:
    """Say which files of a swept folder belong to nothing."""
    question = read_message(SweepQuestion, body)
    with transaction(point="file_duties.choose") as session:
        remove = file_duties.choose(session, question)
    return Reply(SweepAnswer(tuple(remove)).to_dict())
