# SPDX-License-Identifier: Apache-2.0
"""Clock rules: a scheduled moment becomes an event, and the event a job or recipe, exactly once."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.definitions.trigger_rules import ClockRule
from scale_airflow.errors import InvalidDocument, InvalidRequest, NotFound
from scale_airflow.services import daily_metrics, facts, load
from scale_airflow.services.events import record_event
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.store.models import (
    JobType,
    RecipeType,
    TriggerEvent,
    TriggerRule,
    Workspace,
)


def fire(session: Session, rule_id: int, scheduled: datetime) -> str:
    """Record that a rule's scheduled moment has come and start what the rule belongs to.

    Doing it again for the same moment changes nothing. What can't be started never fails the clock: the
    event keeps the reason.

    :returns: one sentence that says what happened.
    :raises NotFound: if there is no such clock rule.
    """
    rule = session.scalars(
        select(TriggerRule).where(TriggerRule.id == rule_id, TriggerRule.type == "CLOCK").with_for_update()
    ).one_or_none()
    if rule is None:
        raise NotFound(f"There is no clock rule {rule_id}.")
    if not rule.is_active:
        return f"Clock rule {rule.name} is not active: nothing starts."
    moment = scheduled.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    configuration = ClockRule.parse(rule.configuration)
    if _has_fired(session, rule, moment):
        return f"Clock rule {rule.name} has fired for {moment} already."
    event = record_event(session, configuration.event_type, {"version": "1.0", "scheduled": moment}, rule)
    try:
        with session.begin_nested():
            started = _start(session, rule, configuration, event, scheduled)
    except (InvalidDocument, InvalidRequest) as error:
        event.description = {**event.description, "refused": str(error)}
        return f"Clock rule {rule.name} fired for {moment}, but nothing could start: {error}"
    return f"Clock rule {rule.name} fired for {moment}: {started}."


def _has_fired(session: Session, rule: TriggerRule, moment: str) -> bool:
    query = select(TriggerEvent.id).where(
        TriggerEvent.rule_id == rule.id, TriggerEvent.description["scheduled"].astext == moment
    )
    return session.execute(query.limit(1)).first() is not None


def _start(
    session: Session, rule: TriggerRule, configuration: ClockRule, event: TriggerEvent, scheduled: datetime
) -> str:
    workspace_id = None
    if configuration.workspace_name is not None:
        workspace_id = session.execute(
            select(Workspace.id).where(Workspace.name == configuration.workspace_name)
        ).scalar()
    inputs = [{"name": given.name, "value": given.value} for given in configuration.inputs]
    data: dict[str, Any] = {"version": "1.0", "input_data": inputs}
    job_type = session.scalars(select(JobType).where(JobType.trigger_rule_id == rule.id)).one_or_none()
    if job_type is not None:
        interface = facts.interface_of(facts.current_revision(session, job_type))
        data["output_data"] = [
            {"name": output.name, "workspace_id": workspace_id} for output in interface.outputs
        ]
        job = queue_job(session, job_type=job_type, data=data, event=event)
        return f"job {job.id} of {job_type.name} {job_type.version} is queued"
    recipe_type = session.scalars(
        select(RecipeType).where(RecipeType.trigger_rule_id == rule.id)
    ).one_or_none()
    if recipe_type is None:
        return _start_own(session, rule, event, scheduled)
    if workspace_id is not None:
        data["workspace_id"] = workspace_id
    recipe = queue_recipe(session, recipe_type=recipe_type, data=data, event=event)
    return f"recipe {recipe.id} of {recipe_type.name} {recipe_type.version} is queued"


def _start_own(session: Session, rule: TriggerRule, event: TriggerEvent, scheduled: datetime) -> str:
    """Do what one of Scale's own rules is for; each is known by its name."""
    match rule.name:
        case "scale-job-load":
            measured = event.occurred.replace(second=0, microsecond=0)
            return f"{load.record_load(session, measured)} jobs wait or run"
        case daily_metrics.NAME:
            today = scheduled.astimezone(timezone.utc).date()
            days = [str(job.input_signature) for job in daily_metrics.queue_missing(session, event, today)]
            return f"the metrics of {', '.join(days)} are queued" if days else "no day's metrics are missing"
    return "it belongs to no type, so nothing starts"
