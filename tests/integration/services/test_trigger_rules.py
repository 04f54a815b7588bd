# SPDX-License-Identifier: Apache-2.0
"""Trigger rules of types: set, switched, replaced and removed; clock rules with a DAG of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, text

from scale_airflow.compiler import names
from scale_airflow.errors import InvalidDocument
from scale_airflow.services import installation, job_types, recipe_types, workspaces
from scale_airflow.store.models import JobType, TriggerRule

from .documents import interface, job_type, recipe_type, rule, workspace

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@pytest.fixture
def installed(session: Session) -> Session:
    """A database with a job type and a workspace."""
    installation.initialize(session)
    workspaces.create_workspace(session, workspace())
    return session


def create(session: Session, **changes: Any) -> JobType:
    made, _ = job_types.create_job_type(session, job_type(**changes), publish=False)
    return made


def edit(session: Session, made: JobType, document: dict[str, Any]) -> JobType:
    return job_types.edit_job_type(session, made.id, document, publish=False)[0]


def test_trigger_rule_is_set_switched_replaced_removed(installed: Session) -> None:
    made = create(installed, trigger_rule=rule())
    first = made.trigger_rule
    assert first is not None
    assert (first.type, first.name, first.is_active) == ("PARSE", "my-job", True)

    edit(installed, made, {"trigger_rule": {"is_active": False}})
    assert made.trigger_rule is first
    assert first.is_active is False

    edit(installed, made, {"trigger_rule": rule()})
    assert made.trigger_rule is first
    assert first.is_active is True

    edit(installed, made, {"trigger_rule": rule("INGEST", name="on arrival", is_active=False)})
    second = made.trigger_rule
    assert second is not None
    assert second is not first
    assert (second.type, second.name, second.is_active) == ("INGEST", "on arrival", False)
    assert first.archived is not None
    assert first.is_active is False

    edit(installed, made, {"trigger_rule": {}})
    assert made.trigger_rule is None
    assert second.archived is not None
    edit(installed, made, {"trigger_rule": None})
    assert (
        installed.scalar(select(func.count()).select_from(TriggerRule).where(TriggerRule.type != "CLOCK"))
        == 2
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"is_active": False},
        {"type": "PARSE"},
        {"configuration": rule()["configuration"]},
        {"type": "SOMETIMES", "configuration": {}},
        {"type": "PARSE", "configuration": {"data": {}}},
        [],
        "PARSE",
        {"is_active": "yes"},
    ],
)
def test_wrong_rules(installed: Session, wrong: Any) -> None:
    made = create(installed)
    with pytest.raises(InvalidDocument) as caught:
        edit(installed, made, {"trigger_rule": wrong})
    assert all(fault.path.startswith("/trigger_rule") for fault in caught.value.faults)


def test_interface_that_breaks_its_own_rule_is_refused(installed: Session) -> None:
    made = create(installed, trigger_rule=rule())
    with pytest.raises(InvalidDocument) as caught:
        edit(installed, made, {"interface": interface(input_name="renamed")})
    assert {fault.path for fault in caught.value.faults} == {"/interface"}
    edit(installed, made, {"interface": interface(input_name="renamed"), "trigger_rule": None})
    edit(installed, made, {"interface": interface(), "trigger_rule": rule()})
    assert made.revision_num == 3


def test_clock_rule_publishes_a_dag_of_its_own(installed: Session) -> None:
    create(installed)
    installed.commit()
    clock = {"version": "1.0", "event_type": "NIGHTLY", "schedule": "PT24H"}
    with pytest.raises(InvalidDocument, match="requires a file"):
        recipe_types.create_recipe_type(
            installed, recipe_type(trigger_rule={"type": "CLOCK", "configuration": clock})
        )
    installed.rollback()
    empty = {"version": "1.0", "input_data": [], "jobs": []}
    made, _ = recipe_types.create_recipe_type(
        installed,
        {
            "name": "nightly",
            "version": "1",
            "definition": empty,
            "trigger_rule": {"type": "CLOCK", "configuration": clock},
        },
    )
    installed.commit()
    assert made.trigger_rule is not None
    dag_id = names.clock_dag_id(made.trigger_rule.id, "nightly")
    stale = text("SELECT is_stale FROM dag WHERE dag_id = :dag_id")
    assert installed.execute(stale, {"dag_id": dag_id}).scalars().all() == [False]
    recipe_types.edit_recipe_type(installed, made.id, {"trigger_rule": {"is_active": False}})
    installed.commit()
    assert installed.execute(stale, {"dag_id": dag_id}).scalars().all() == [True]
    recipe_types.edit_recipe_type(installed, made.id, {"trigger_rule": {"is_active": True}})
    installed.commit()
    assert installed.execute(stale, {"dag_id": dag_id}).scalars().all() == [False]
