# SPDX-License-Identifier: Apache-2.0
"""Recipe types: revisions, the job types they run, trigger rules, and DAG files that people bring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from scale_airflow.compiler import names
from scale_airflow.errors import InvalidDocument, NotFound
from scale_airflow.services import facts, installation, job_types, recipe_types, workspaces
from scale_airflow.store.models import RecipeType, RecipeTypeJobType, RecipeTypeRevision

from .documents import definition, interface, job_type, recipe_type, rule, workspace

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@pytest.fixture
def installed(session: Session) -> Session:
    """A database with two job types and a workspace."""
    installation.initialize(session)
    workspaces.create_workspace(session, workspace())
    for name in ("my-job", "other-job"):
        job_types.create_job_type(session, job_type(name), publish=False)
    return session


def create(session: Session, **changes: Any) -> RecipeType:
    return recipe_types.create_recipe_type(session, recipe_type(**changes), publish=False)[0]


def edit(session: Session, made: RecipeType, document: dict[str, Any]) -> RecipeType:
    return recipe_types.edit_recipe_type(session, made.id, document, publish=False)[0]


def used(session: Session, made: RecipeType) -> list[str]:
    return [each.name for each in recipe_types.job_types_of(session, made)]


def test_create(installed: Session) -> None:
    made = create(installed, trigger_rule=rule("INGEST"))
    assert (made.title, made.description, made.revision_num, made.is_active) == ("my-recipe", None, 1, True)
    assert used(installed, made) == ["my-job"]
    assert made.trigger_rule is not None
    assert (made.trigger_rule.type, made.trigger_rule.name) == ("INGEST", "my-recipe")
    revision = facts.current_recipe_revision(installed, made)
    assert revision.dag_id == names.recipe_dag_id("my-recipe", "1.0", 1)
    assert revision.definition == definition(("my-job", "1.0"))
    with pytest.raises(InvalidDocument, match="already"):
        create(installed)
    with pytest.raises(InvalidDocument, match="already") as caught:
        create(installed, runs=(("my-jbo", "1.0"),))
    assert [fault.rule for fault in caught.value.faults] == [
        "recipe-type.exists",
        "recipe-definition.unknown-job-type",
    ]


def test_recipe_without_jobs(installed: Session) -> None:
    made = create(installed, runs=())
    assert used(installed, made) == []


def test_new_definition_is_a_new_revision(installed: Session) -> None:
    made = create(installed)
    edit(installed, made, {"title": "New", "definition": made.definition})
    assert (made.title, made.revision_num) == ("New", 1)
    edit(installed, made, {"definition": definition(("my-job", "1.0"), ("other-job", "1.0"))})
    assert made.revision_num == 2
    assert used(installed, made) == ["my-job", "other-job"]
    edit(installed, made, {"definition": definition(("other-job", "1.0"))})
    assert made.revision_num == 3
    assert used(installed, made) == ["other-job"]
    count = select(func.count()).select_from(RecipeTypeRevision)
    assert installed.scalar(count.where(RecipeTypeRevision.recipe_type_id == made.id)) == 3


def test_every_fault_at_once(installed: Session) -> None:
    document = recipe_type(
        runs=(("my-jbo", "1.0"), ("my-job", "2.0"), ("scale-ingest", "1.0")),
        trigger_rule=rule(input_name="x"),
    )
    with pytest.raises(InvalidDocument) as caught:
        recipe_types.create_recipe_type(installed, document, publish=False)
    faults = {fault.path: fault.message for fault in caught.value.faults}
    assert 'Did you mean "my-job"?' in faults["/definition/jobs/0/job_type"]
    assert '"1.0"' in faults["/definition/jobs/1/job_type"]
    assert "Scale's own" in faults["/definition/jobs/2/job_type"]
    assert "/trigger_rule/configuration/data/input_data_name" in faults


def test_definition_that_breaks_its_rule_is_refused(installed: Session) -> None:
    made = create(installed, trigger_rule=rule())
    with pytest.raises(InvalidDocument) as caught:
        edit(installed, made, {"definition": {"version": "1.0", "input_data": [], "jobs": []}})
    assert {fault.path for fault in caught.value.faults} == {"/definition"}
    edit(
        installed, made, {"definition": {"version": "1.0", "input_data": [], "jobs": []}, "trigger_rule": {}}
    )
    assert (made.revision_num, made.trigger_rule) == (2, None)


def test_wrong_edits(installed: Session) -> None:
    made = create(installed)
    with pytest.raises(InvalidDocument):
        edit(installed, made, {"name": "other"})
    with pytest.raises(InvalidDocument):
        edit(installed, made, {"surprise": 1})
    with pytest.raises(InvalidDocument, match="trigger_rule"):
        edit(installed, made, {"trigger_rule": {"is_active": True}})
    with pytest.raises(NotFound):
        recipe_types.edit_recipe_type(installed, 2**64, {})


def test_validation_keeps_nothing(installed: Session) -> None:
    assert recipe_types.validate_recipe_type(installed, recipe_type(trigger_rule=rule())) == []
    assert recipe_types.find_recipe_type(installed, "my-recipe", "1.0") is None
    job_types.edit_job_type(
        installed,
        next(iter(recipe_types.Interfaces(installed, [("my-job", "1.0")]).job_types.values())).id,
        {"interface": interface(input_data=[{"name": "input_file", "type": "file", "media_types": ["a/b"]}])},
        publish=False,
    )
    warnings = recipe_types.validate_recipe_type(installed, recipe_type())
    assert [(each.id, each.details) for each in warnings] == [
        ("media_type", "Invalid media type for data input: input_file -> image/png")
    ]
    assert installed.scalar(select(func.count()).select_from(RecipeTypeJobType)) == 0


def test_definitions_of_users_become_revisions(installed: Session) -> None:
    installed.commit()
    first = definition(("my-job", "1.0"))
    second = definition(("my-job", "1.0"), ("other-job", "1.0"))

    def ensure(document: Any, title: str | None = None) -> RecipeTypeRevision:
        return recipe_types.ensure_recipe_type(
            installed, name="mine", version="1.0.0", title=title, definition=document, dag_id="my_dag"
        )

    made = ensure(first, "Mine")
    assert (made.revision_num, made.recipe_type.title) == (1, "Mine")
    assert ensure(first).id == made.id
    assert ensure(second).revision_num == 2
    assert ensure(first).id == made.id, "an older definition is its own revision still"
    assert made.recipe_type.revision_num == 2
    assert made.recipe_type.title == "Mine"
    with pytest.raises(InvalidDocument, match="my_dag"):
        ensure(definition(("nothing", "1.0")))
