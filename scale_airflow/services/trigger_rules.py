# SPDX-License-Identifier: Apache-2.0
"""The trigger rule of a job type or recipe type: set, switched on and off, removed.

Events refer to rules, so a rule's configuration never changes: another one makes another rule and archives
the one before. What a type's document may say about its rule is read by
:mod:`scale_airflow.definitions.trigger_rule_document`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.compiler.dag_files import clock_dag_file
from scale_airflow.definitions.faults import Faults
from scale_airflow.definitions.input_data import WorkspaceFacts
from scale_airflow.definitions.job_interface import InterfaceInput
from scale_airflow.definitions.trigger_rule_document import PLACE, TriggerRuleDocument
from scale_airflow.definitions.trigger_rules import TriggerConfiguration, parse_rule
from scale_airflow.errors import DocumentWarning, InvalidDocument
from scale_airflow.services.publications import Publications
from scale_airflow.store.models import JobType, RecipeType, TriggerRule, Workspace, utcnow


def check_existing(
    rule: TriggerRule | None,
    change: TriggerRuleDocument | None,
    inputs: Sequence[InterfaceInput],
    workspaces: dict[str, WorkspaceFacts],
    *,
    has_outputs: bool,
    place: str,
    faults: Faults,
) -> list[DocumentWarning]:
    """Check that the rule a type has still fits it when something else of the type changes; return warnings.

    :param change: what becomes of the rule; one that is replaced or removed needs to fit nothing.
    :param place: pointer of what changes, to which the faults belong.
    """
    if change is not None and (change.remove or change.configuration is not None):
        return []
    if rule is None:
        if change is not None:
            message = "There is no trigger rule to change; give a type and a configuration for one."
            faults.add(PLACE, "trigger-rule.no-rule", message)
        return []
    try:
        kept = parse_rule(rule.type, rule.configuration)
        return kept.check(inputs, workspaces, has_outputs=has_outputs)
    except InvalidDocument as error:
        for fault in error.faults:
            message = f"The trigger rule that is there would not fit any more: {fault.message}"
            faults.add(place, fault.rule, message)
        return []


def store_rule(
    session: Session,
    owner: JobType | RecipeType,
    change: TriggerRuleDocument | None,
    publications: Publications,
) -> bool:
    """Carry out a change of a type's rule that was checked; return whether anything changed."""
    if change is None:
        return False
    if change.remove:
        return _remove(session, owner, publications)
    if change.configuration is not None:
        return _set(session, owner, change, change.configuration, publications)
    rule = owner.trigger_rule
    assert rule is not None
    before = (rule.is_active, rule.name)
    if change.is_active is not None:
        rule.is_active = change.is_active
    rule.name = change.name or rule.name
    return _publish_if(before != (rule.is_active, rule.name), owner, rule, publications)


def _set(
    session: Session,
    owner: JobType | RecipeType,
    change: TriggerRuleDocument,
    configuration: TriggerConfiguration,
    publications: Publications,
) -> bool:
    name, is_active = change.name or owner.name, change.is_active is not False
    document = dict(configuration.document)
    current = owner.trigger_rule
    if current is not None:
        if (current.type, current.name, current.configuration) == (configuration.TYPE, name, document):
            has_changed = current.is_active != is_active
            current.is_active = is_active
            return _publish_if(has_changed, owner, current, publications)
        _remove(session, owner, publications)
    rule = TriggerRule(type=configuration.TYPE, name=name, is_active=is_active, configuration=document)
    session.add(rule)
    session.flush()
    owner.trigger_rule = rule
    session.flush()
    return _publish_if(True, owner, rule, publications)


def _remove(session: Session, owner: JobType | RecipeType, publications: Publications) -> bool:
    rule = owner.trigger_rule
    if rule is None:
        return False
    rule.is_active, rule.archived = False, utcnow()
    owner.trigger_rule = None
    session.flush()
    return _publish_if(True, owner, rule, publications)


def _publish_if(
    has_changed: bool, owner: JobType | RecipeType, rule: TriggerRule, publications: Publications
) -> bool:
    """A clock rule fires through a DAG of its own, which is there while the rule is active."""
    if has_changed and rule.type == "CLOCK":
        if rule.is_active:
            schedule, title = rule.configuration["schedule"], owner.title or owner.name
            publications.add(clock_dag_file(rule.id, rule.name, schedule, title=title, start=utcnow()))
        else:
            publications.hide(names.clock_dag_id(rule.id, rule.name))
    return has_changed


def workspaces_by_name(session: Session) -> dict[str, WorkspaceFacts]:
    """Return all workspaces by their names."""
    rows = session.execute(select(Workspace.id, Workspace.name, Workspace.is_active))
    return {row.name: WorkspaceFacts(row.id, row.name, row.is_active) for row in rows}


def rule_document(rule: TriggerRule | None) -> dict[str, Any] | None:
    """Return a rule as the document that makes it again."""
    if rule is None:
        return None
    return {
        "type": rule.type,
        "name": rule.name,
        "is_active": rule.is_active,
        "configuration": rule.configuration,
    }
