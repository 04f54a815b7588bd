# SPDX-License-Identifier: Apache-2.0
"""Scale's own clock rules, which belong to no type: they keep the load, and have daily metrics worked out.

The load is recorded by the tick itself, so that it needs no worker. Daily metrics have a DAG.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.compiler.dag_files import metrics_dag_file
from scale_airflow.definitions.clock import due, latest_fire, next_fire, parse_schedule
from scale_airflow.definitions.trigger_rules import ClockRule
from scale_airflow.engine import publishing
from scale_airflow.services import clock, daily_metrics
from scale_airflow.services.dag_files import publish
from scale_airflow.store.models import (
    DagFileRow,
    JobType,
    RecipeType,
    TriggerEvent,
    TriggerRule,
    utcnow,
)

JOB_LOAD = "scale-job-load"


def own_rule(session: Session, name: str) -> TriggerRule | None:
    """Return the clock rule of this name that belongs to no type, or None."""
    return session.scalars(
        select(TriggerRule)
        .where(
            TriggerRule.type == "CLOCK",
            TriggerRule.name == name,
            TriggerRule.archived.is_(None),
            ~select(JobType.id).where(JobType.trigger_rule_id == TriggerRule.id).exists(),
            ~select(RecipeType.id).where(RecipeType.trigger_rule_id == TriggerRule.id).exists(),
        )
        .order_by(TriggerRule.id)
        .limit(1)
    ).one_or_none()


def record_load(session: Session, now: datetime | None = None) -> datetime | None:
    """Record the load if the hour of the rule has come and nobody has yet.

    :returns: when to look again; None if there is no rule, or it is not active.
    """
    now = now or utcnow()
    rule = own_rule(session, JOB_LOAD)
    if rule is None or not rule.is_active:
        return None
    period = parse_schedule(ClockRule.parse(rule.configuration).schedule)
    last = session.execute(
        select(func.max(TriggerEvent.occurred)).where(TriggerEvent.rule_id == rule.id)
    ).scalar()
    if due(period, last, now):
        clock.fire(session, rule.id, latest_fire(period, now))
    return next_fire(period, now)


def publish_rules(session: Session) -> bool:
    """Make the DAG that has daily metrics worked out be there while its rule is active, else hide it.

    :returns: whether anything had to be done.
    """
    rule = own_rule(session, daily_metrics.NAME)
    if rule is None:
        return False
    if not rule.is_active:
        return bool(publishing.hide([names.clock_dag_id(rule.id, rule.name)], session))
    schedule = ClockRule.parse(rule.configuration).schedule
    dag_file = metrics_dag_file(rule.id, rule.name, schedule, start=rule.created)
    known = session.execute(select(DagFileRow.id).where(DagFileRow.file_name == dag_file.file_name)).first()
    if known is not None and not publishing.hidden_dags([dag_file.dag_id], session):
        return False
    publish(session, dag_file)
    publishing.show([dag_file.dag_id], session)
    return True
