# SPDX-License-Identifier: Apache-2.0
"""The ``trigger_rule`` of a job type or recipe type, as requests and export documents give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from scale_airflow.definitions.documents import nested, text_of
from scale_airflow.definitions.faults import Faults, quote_all
from scale_airflow.definitions.trigger_rules import RULE_TYPES, TriggerConfiguration, parse_rule

PLACE = "/trigger_rule"


@dataclass(frozen=True, slots=True)
class TriggerRuleDocument:
    """A trigger rule to set, to change, or (``remove``) to take away.

    Without a ``configuration`` only ``is_active`` and ``name`` of the existing rule are changed; None leaves
    each as it is.
    """

    type: str | None = None
    configuration: TriggerConfiguration | None = None
    is_active: bool | None = None
    name: str | None = None
    remove: bool = False


UNKNOWN_RULE = "unknown"
"""Stands for the type of an existing rule that is not known yet: a rule without a type is taken as it is."""


def read_trigger_rule(
    document: Mapping[str, object], faults: Faults, *, existing: str | None, creating: bool = False
) -> TriggerRuleDocument | None:
    """Return the trigger rule of a type's document, or None if it has none or it has faults.

    :param document: the whole document of the job type or recipe type.
    :param existing: the type of the rule that the edited type has, which a rule given without a type keeps;
        None if there is no rule; :data:`UNKNOWN_RULE`.
    :param creating: whether the type is created, so that null does not remove anything.
    """
    if "trigger_rule" not in document:
        return None
    given = document["trigger_rule"]
    if given is None or given == {}:
        return None if creating else TriggerRuleDocument(remove=True)
    if not isinstance(given, dict):
        return None
    rule_type = text_of(given, "type") if "type" in given else existing
    has_configuration = "configuration" in given
    if has_configuration and rule_type is None and "type" not in given:
        message = f"A trigger rule with a configuration needs a type: one of {quote_all(RULE_TYPES)}."
        faults.add(PLACE, "trigger-rule.missing-type", message)
    if not has_configuration and ("type" in given or existing is None):
        message = "A trigger rule needs a type and a configuration."
        faults.add(PLACE, "trigger-rule.missing-configuration", message)
    configuration: TriggerConfiguration | None = None
    rule = RULE_TYPES.get(rule_type or "")
    if has_configuration and rule is not None and isinstance(given["configuration"], dict):
        configuration = nested(
            partial(parse_rule, rule.TYPE), given["configuration"], f"{PLACE}/configuration", faults
        )
    is_active = given.get("is_active")
    return TriggerRuleDocument(
        type=text_of(given, "type") if rule is None else rule.TYPE,
        configuration=configuration,
        is_active=is_active if isinstance(is_active, bool) else None,
        name=text_of(given, "name") or None,
    )
