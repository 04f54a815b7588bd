# SPDX-License-Identifier: Apache-2.0
"""Trigger rules: a new source file, or one that was parsed, starts jobs and recipes.

Rules are evaluated in the transaction that commits the file. What a rule starts may be refused (an input
forbids the file's media type, a workspace is not active); then the event says why, and nothing else fails.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from scale_airflow.definitions.trigger_rules import IngestRule, ParseRule, parse_rule
from scale_airflow.errors import InvalidDocument, InvalidRequest, ScaleError
from scale_airflow.services import facts
from scale_airflow.services.events import record_event
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.store.models import (
    Ingest,
    Job,
    JobExecution,
    JobType,
    Recipe,
    RecipeType,
    ScaleFile,
    TriggerEvent,
    TriggerRule,
    Workspace,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActiveRule:
    """A rule that counts now, with its parsed configuration and the one type that it starts."""

    rule: TriggerRule
    configuration: IngestRule | ParseRule
    job_type: JobType | None
    recipe_type: RecipeType | None


def active_rules(session: Session, kind: Literal["INGEST", "PARSE"]) -> list[ActiveRule]:
    """Return the active rules of one kind whose types are not archived (paused types count), in their order.

    One look at the database; whoever commits many files in one transaction passes the answer on.
    """
    rows = session.execute(
        select(TriggerRule, JobType, RecipeType)
        .outerjoin(JobType, (JobType.trigger_rule_id == TriggerRule.id) & JobType.is_active)
        .outerjoin(RecipeType, (RecipeType.trigger_rule_id == TriggerRule.id) & RecipeType.is_active)
        .where(
            TriggerRule.type == kind,
            TriggerRule.is_active,
            TriggerRule.archived.is_(None),
            or_(JobType.id.is_not(None), RecipeType.id.is_not(None)),
        )
        .order_by(TriggerRule.id)
    )
    found = []
    for rule, job_type, recipe_type in rows:
        configuration = _parsed(rule)
        if configuration is not None:
            found.append(ActiveRule(rule, configuration, job_type, recipe_type))
    return found


def evaluate_ingest(
    session: Session,
    *,
    source_file: ScaleFile,
    ingest: Ingest,
    rules: Sequence[ActiveRule] | None = None,
) -> list[Job | Recipe]:
    """Start what the INGEST rules say for a file that was just ingested; return what was started.

    :param rules: what :func:`active_rules` answered in this transaction.
    """
    if rules is None:
        rules = active_rules(session, "INGEST")
    return _evaluate(session, rules, source_file, {"ingest_id": ingest.id})


def evaluate_parse(
    session: Session,
    *,
    source_file: ScaleFile,
    job_exe: JobExecution,
    rules: Sequence[ActiveRule] | None = None,
) -> list[Job | Recipe]:
    """Start what the PARSE rules say for a source file that was just parsed; return what was started.

    :param job_exe: the execution whose results parsed it; its id is the event's ``parse_id``.
    """
    if rules is None:
        rules = active_rules(session, "PARSE")
    return _evaluate(session, rules, source_file, {"parse_id": job_exe.id})


def _evaluate(
    session: Session, rules: Sequence[ActiveRule], file: ScaleFile, cause: Mapping[str, Any]
) -> list[Job | Recipe]:
    started: list[Job | Recipe] = []
    for active in rules:
        if not active.configuration.matches(file.media_type, file.data_type):
            continue
        description = {"version": "1.0", **cause, "file_id": file.id, "file_name": file.file_name}
        event = record_event(session, active.rule.type, description, active.rule)
        try:
            # What was begun before the refusal goes back; the event stays.
            with session.begin_nested():
                started.append(_start(session, active, file, event))
        except ScaleError as error:
            event.description = {**description, "refused": str(error)}
            log.warning("Trigger rule %s started nothing for file %s: %s", active.rule.id, file.id, error)
    return started


def _start(session: Session, active: ActiveRule, file: ScaleFile, event: TriggerEvent) -> Job | Recipe:
    workspace = _workspace(session, active.configuration.workspace_name)
    given = [{"name": active.configuration.input_data_name, "file_id": file.id}]
    if active.job_type is not None:
        interface = facts.interface_of(facts.current_revision(session, active.job_type))
        outputs = [{"name": output.name, "workspace_id": workspace.id} for output in interface.outputs]
        data = {"version": "1.0", "input_data": given, "output_data": outputs}
        return queue_job(session, job_type=active.job_type, data=data, event=event)
    assert active.recipe_type is not None
    recipe_data = {"version": "1.0", "input_data": given, "workspace_id": workspace.id}
    return queue_recipe(session, recipe_type=active.recipe_type, data=recipe_data, event=event)


def _workspace(session: Session, name: str) -> Workspace:
    workspace = session.scalar(select(Workspace).where(Workspace.name == name))
    if workspace is None or not workspace.is_active:
        state = "is not active" if workspace else "does not exist"
        raise InvalidRequest(f"The rule's workspace {name} {state}.")
    return workspace


def _parsed(rule: TriggerRule) -> IngestRule | ParseRule | None:
    try:
        parsed = _parse(rule.id, rule.last_modified, rule.type, facts.Uncompared(rule.configuration))
    except InvalidDocument as error:
        log.error("Trigger rule %s is ignored: %s", rule.id, error)
        return None
    return parsed


# An edited rule has a new moment of change, so it is parsed anew.
@lru_cache(maxsize=4096)
def _parse(rule_id: int, changed: datetime, kind: str, document: facts.Uncompared) -> IngestRule | ParseRule:
    parsed = parse_rule(kind, document.value)
    assert isinstance(parsed, (IngestRule, ParseRule))
    return parsed
