# SPDX-License-Identifier: Apache-2.0
"""Trigger events: what happened, recorded before what it starts."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from scale_airflow.store.models import TriggerEvent, TriggerRule


def record_event(
    session: Session, kind: str, description: dict[str, Any], rule: TriggerRule | None = None
) -> TriggerEvent:
    """Record that something happened now."""
    event = TriggerEvent(type=kind, rule_id=rule.id if rule else None, description=description)
    session.add(event)
    session.flush()
    return event


def user_event(session: Session, username: str) -> TriggerEvent:
    """Record that a user asked for work."""
    return record_event(session, "USER", {"user": username})
