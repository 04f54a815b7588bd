# SPDX-License-Identifier: Apache-2.0
"""Pages of trigger rules, each with the one type that it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, defer, lazyload

from scale_airflow.services.listing import Found, Window, among, fetch, order_fields, within
from scale_airflow.services.lookup import by_id
from scale_airflow.store.models import JobType, RecipeType, TriggerRule

RULE_TYPES = ("INGEST", "PARSE", "CLOCK")
RULE_FIELDS = order_fields("id", "type", "name", "is_active", "created", "archived", "last_modified")


@dataclass(frozen=True, slots=True)
class OwnedRule:
    """A trigger rule, and what it starts; neither for one that was replaced or removed, or is Scale's own."""

    rule: TriggerRule
    job_type: JobType | None
    recipe_type: RecipeType | None


def list_rules(
    session: Session,
    window: Window,
    *,
    kind: str | None = None,
    names: Sequence[str] = (),
    is_active: bool | None = None,
) -> Found[OwnedRule]:
    """Return a page of the trigger rules that are meant; the window's range is of ``last_modified``.

    :raises InvalidRequest: for a field that can't be ordered by, or a page past the end.
    """
    statement = within(select(TriggerRule), TriggerRule.last_modified, window)
    if kind is not None:
        statement = statement.where(TriggerRule.type == kind)
    if names:
        statement = statement.where(TriggerRule.name.in_(names))
    if is_active is not None:
        statement = statement.where(TriggerRule.is_active.is_(is_active))
    found = fetch(session, statement, window, fields=RULE_FIELDS, default=("last_modified",))
    return Found(found.count, _owned(session, found.items))


def get_rule(session: Session, rule_id: int) -> OwnedRule:
    """Return a trigger rule, archived ones included.

    :raises NotFound: if there is none with this id.
    """
    (found,) = _owned(session, [by_id(session, TriggerRule, rule_id, "trigger rule")])
    return found


def _owned(session: Session, rules: Sequence[TriggerRule]) -> list[OwnedRule]:
    ids = [rule.id for rule in rules]
    job_types, recipe_types = _owners(session, JobType, ids), _owners(session, RecipeType, ids)
    return [OwnedRule(rule, job_types.get(rule.id), recipe_types.get(rule.id)) for rule in rules]


def _owners(session: Session, model: Any, rule_ids: Sequence[int]) -> Mapping[int, Any]:
    documents = [model.interface, model.error_mapping] if model is JobType else [model.definition]
    query = select(model).where(among(model.trigger_rule_id, rule_ids))
    rows = session.scalars(query.options(*map(defer, documents), lazyload(model.trigger_rule)))
    return {row.trigger_rule_id: row for row in rows}
